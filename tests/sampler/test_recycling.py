"""Recycled rollouts: the pool is properly weighted however they are drawn, and wrong ways of pooling are seen."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from smc_decode import sample
from smc_decode.sampler.state import Pool
from tests.enumeration import MODELS
from tests.harness import RUNS, config_of, engine_of, pool, potential_of

WAYS = {
    "one rollout": {"lookahead": {"rollouts": 1}},
    "two": {"lookahead": {"rollouts": 2}},
    "eight": {"lookahead": {"rollouts": 8}},
    "not reused": {"lookahead": {"rollouts": 2, "reuse": False}},
    "moved": {"lookahead": {"rollouts": 2}, "rejuvenation": {"steps": 1}},
    "chosen by value": {"lookahead": {"rollouts": 3, "choice": "weighted"}},
    "as many as disagree": {"lookahead": {"rollouts": 6, "min_rollouts": 2}},
    "at a temperature of their own": {"lookahead": {"rollouts": 2, "temperature": 0.8}},
    "resampled at every block": {"lookahead": {"rollouts": 2}, "ess_threshold": 1.0},
    "in growing passes": {"lookahead": {"rollouts": 2}, "first_pass_size": 1},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["tempered-eos-product", "powered-eos-product"])
def test_the_pool_estimates_z_and_the_posterior(name, way):
    model = MODELS[name]
    pooled = pool(model, runs=RUNS // 2, **WAYS[way])
    assert abs(pooled.deviation) < 4
    assert pooled.distance(model.posterior) < 0.1


async def test_log_z_is_the_log_of_the_pooled_mean_and_equal_sequences_are_one_particle():
    model = MODELS["tempered-eos-product"]
    config = config_of(model, lookahead={"rollouts": 4})
    result = await sample(engine_of(model), (), potential_of(model), config, seed=3)
    assert result.log_z == pytest.approx(
        np.logaddexp.reduce([p.log_weight for p in result.particles]) - math.log(len(result.particles))
    )
    assert len({p.token_ids for p in result.particles}) == len(result.particles)
    assert all(p.finished for p in result.particles)


async def test_an_answer_that_only_a_rollout_found_is_not_lost_when_the_particles_die():
    """psi is 0 but for one sequence in a hundred: the particles of most passes die, and their rollouts live on."""
    model = replace(
        MODELS["tempered-terminal-01"], log_psi=lambda tokens, finished: 0.0 if tokens == (2, 3, 0) else -math.inf
    )
    engine, config = engine_of(model), config_of(model, lookahead={"rollouts": 4}, n_particles=4, selection="best")
    found = 0
    for seed in range(40):
        try:
            result = await sample(engine, (), potential_of(model), config, seed=seed)
        except Exception:
            continue
        found += result.answer.token_ids == (2, 3, 0)
    assert found > 10


def test_pooling_halves_the_variance_that_a_choice_among_rollouts_adds():
    model = MODELS["tempered-eos-product"]
    kept = pool(model, runs=RUNS // 2, lookahead={"rollouts": 4})
    thrown_away = pool(model, runs=RUNS // 2, lookahead={"rollouts": 4, "recycle": False})
    assert kept.spread < 0.8 * thrown_away.spread


# ---- wrong forms, put in on purpose ---------------------------------------------------------------------------


def amended(change):
    """Every pass with its pool changed by ``change(state before, pool after)``."""

    def amend(algorithm):
        async def recycle(state):
            after, event = await algorithm.recycle(state)
            return replace(after, pool=change(state, after.pool)), event

        return replace(algorithm, recycle=recycle)

    return amend


def test_trap_finished_particles_that_count_at_full_weight_in_every_block():
    def twice(state, after):
        if after is state.pool:
            return after
        again = tuple((p.trajectory, p.log_weight) for p in state.particles if p.alive and p.trajectory.finished)
        return Pool((*after.answers, *again), after.share)

    assert (
        abs(pool(MODELS["tempered-eos-product"], lookahead={"rollouts": 2}, runs=300, amend=amended(twice)).deviation)
        > 6
    )


def test_trap_the_floor_left_in_the_weights_of_rollouts():
    def with_floor(state, after):
        new = after.answers[len(state.pool.answers) :]
        raised = tuple((t, w + math.log1p(0.5 * math.exp(-(t.log_potential or 0.0)))) for t, w in new)
        return Pool((*state.pool.answers, *raised), after.share)

    pooled = pool(MODELS["tempered-eos-product"], lookahead={"rollouts": 2}, runs=300, amend=amended(with_floor))
    assert abs(pooled.deviation) > 6


def test_trap_shares_that_depend_on_what_they_weigh():
    """A block that says little of Z gets nine tenths of what is left, one that says much a tenth."""
    model = MODELS["tempered-eos-product"]

    def by_weight(state, after):
        new = after.answers[len(state.pool.answers) :]
        share, left = after.share - state.pool.share, 1.0 - state.pool.share
        said = np.logaddexp.reduce([w for _, w in new]) - math.log(share * len(state.particles)) if new else 0.0
        wanted = left * (0.9 if said < model.log_z else 0.1)
        moved = tuple((t, w + math.log(wanted / share)) for t, w in new)
        return Pool((*state.pool.answers, *moved), state.pool.share + wanted) if new else after

    settings = {"lookahead": {"rollouts": 1, "reuse": False}, "n_particles": 4}
    assert pool(model, runs=900, amend=amended(by_weight), **settings).deviation < -5
    assert abs(pool(model, runs=900, **settings).deviation) < 4


def test_what_is_kept_of_a_run_is_said_by_the_configuration():
    model = MODELS["tempered-eos-product"]
    assert config_of(model, lookahead={"rollouts": 2}).recycles
    assert not config_of(model, lookahead={"rollouts": 2, "horizon": 2}).recycles
    assert not config_of(model, lookahead={"rollouts": 2}, n_sweeps=2).recycles
    assert not config_of(model, lookahead={"rollouts": 2}, rejuvenation={"steps": 1, "mode": "paper"}).recycles


# ---- both ends of a move ------------------------------------------------------------------------------------------

MOVED = {
    "moved": {"rejuvenation": {"steps": 2}},
    "a chain": {"rejuvenation": {"steps": 4}, "n_particles": 1, "ess_threshold": 0.0},
    "moved, with rollouts": {"lookahead": {"rollouts": 2}, "rejuvenation": {"steps": 2}},
    "moved in growing passes": {"rejuvenation": {"steps": 1}, "first_pass_size": 1},
}


@pytest.mark.parametrize("way", MOVED)
@pytest.mark.parametrize("name", ["tempered-eos-product", "powered-eos-product"])
def test_both_ends_of_a_move_estimate_the_posterior(name, way):
    model = MODELS[name]
    pooled = pool(model, runs=900 if way == "a chain" else 375, **MOVED[way])
    assert abs(pooled.deviation) < 4
    # without resampling (a chain) the weights of whole runs are a lottery
    assert pooled.distance(model.posterior) < (0.2 if way == "a chain" else 0.1)


async def test_a_move_that_is_recycled_changes_no_weight_in_all():
    model = MODELS["tempered-eos-product"]
    for seed in range(5):
        sums = []
        for recycle in (True, False):
            config = config_of(model, rejuvenation={"steps": 2, "recycle": recycle})
            result = await sample(engine_of(model), (), potential_of(model), config, seed=seed)
            mean = np.logaddexp.reduce([p.log_weight for p in result.particles]) - math.log(len(result.particles))
            assert mean == pytest.approx(result.log_z)
            sums.append(result.log_z)
        assert sums[0] == pytest.approx(sums[1])


def test_trap_a_proposal_that_counts_as_much_as_what_it_would_replace():
    """Half and half, whatever the acceptance says."""

    def half(algorithm):
        def wrap(move):
            async def moved(state):
                after, event = await move(state)
                n = len(state.pool.answers)
                new = after.pool.answers[n:]
                halves = []
                for (old, a), (proposal, b) in zip(new[::2], new[1::2], strict=True):
                    both = np.logaddexp(a, b) - math.log(2.0)
                    halves += [(old, both), (proposal, both)]
                return replace(after, pool=Pool((*state.pool.answers, *halves), after.pool.share)), event

            return moved

        class Halved:
            inexact = None

            def __init__(self, move):
                self._move, self.due = move, move.due
                self._call = wrap(move)

            async def __call__(self, state):
                return await self._call(state)

        return replace(algorithm, moves=[Halved(move) for move in algorithm.moves])

    model = MODELS["powered-eos-product"]
    settings = {"rejuvenation": {"steps": 1}, "n_particles": 6}
    assert pool(model, runs=300, amend=half, **settings).distance(model.posterior) > 0.2
    assert pool(model, runs=300, **settings).distance(model.posterior) < 0.1
