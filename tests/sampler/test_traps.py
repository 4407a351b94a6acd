"""The known wrong formulas, put in on purpose: the statements of test_exactness.py must go red with each.

A test of an estimator that no wrong formula can fail proves nothing. Each slip takes the place of a step of Algorithm
1 (``amend``), and is no more than that: the rest of the run is the sampler's own.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from smc_decode.laws import lookahead
from smc_decode.sampler.extend import as_it_is
from tests.enumeration import MODELS, Model, mod_logits
from tests.harness import RUNS, pool


def rare_success(tokens, finished):
    """psi = 0 for all but a fifth of the mass: most pairs of rollouts fail."""
    return 0.0 if sum(tokens) % 5 == 2 else -math.inf


RARE = Model("rare", mod_logits(4, -1.0), 4, 6, 2, alpha=1.0, kind="terminal", log_psi=rare_success)
LOOKAHEAD = {"rollouts": 2}
FEW = 600
"""Runs that show a large bias."""


def test_lookahead_as_it_is_passes_on_the_traps_model():
    assert abs(pool(RARE, lookahead=LOOKAHEAD, n_particles=16, runs=FEW).deviation) < 4


def test_trap_a_lookahead_of_zero_kills_live_particles():
    pooled = pool(RARE, lookahead={"rollouts": 2, "floor": 0.0, "reuse": False}, n_particles=16, runs=FEW)
    assert pooled.ratios.mean() < 0.9
    assert pooled.deviation < -6


def changed(state, change):
    """The state with every particle changed."""
    return replace(state, particles=tuple(map(change, state.particles)))


def redrawn_denominator(algorithm):
    """Divides by a fresh estimate of L^_{k-1}: the stored one times independent noise of mean one."""
    fresh = np.random.default_rng(0)

    def noisy(particle):
        noise = math.log(fresh.choice([0.25, 1.75])) if particle.rollouts else 0.0
        return replace(particle, log_importance=particle.log_importance + noise)

    async def weigh(state):
        return await algorithm.weigh(changed(state, noisy))

    return replace(algorithm, weigh=weigh)


def test_trap_a_redrawn_denominator_biases_z():
    pooled = pool(MODELS["tempered-eos-product"], lookahead=LOOKAHEAD, runs=FEW, amend=redrawn_denominator)
    assert abs(pooled.deviation) > 6


def estimated_start(put_back):
    """L^_0 of each particle estimated from rollouts of the prompt. ``put_back``: with what its weight begins, given
    that estimate and one that is drawn anew."""

    async def estimate(algorithm, state):
        prompts = replace(state, extensions=tuple(map(as_it_is, state.particles)))
        estimated, _ = await algorithm.look_ahead(prompts)
        return [extension.log_value for extension in estimated.extensions]

    def amend(algorithm):
        async def extend(state):
            if state.block == 0:
                first, anew = await estimate(algorithm, state), await estimate(algorithm, state)
                triples = zip(state.particles, first, anew, strict=True)
                particles = [replace(p, log_importance=a, log_weight=put_back(a, b)) for p, a, b in triples]
                state = replace(state, particles=tuple(particles))
            return await algorithm.extend(state)

        return replace(algorithm, extend=extend)

    return amend


FIRST_LOOKAHEADS = {
    "that multiplies": (lambda first, anew: first, False),
    "that is forgotten": (lambda first, anew: 0.0, True),
    "that another one stands in for": (lambda first, anew: anew, True),
}


@pytest.mark.parametrize(("put_back", "biased"), FIRST_LOOKAHEADS.values(), ids=FIRST_LOOKAHEADS)
def test_trap_an_estimated_first_lookahead_must_multiply_z(put_back, biased):
    settings = {"lookahead": {"rollouts": 1, "reuse": False}, "n_particles": 4}
    pooled = pool(MODELS["tempered-eos-product"], amend=estimated_start(put_back), **settings)
    assert (abs(pooled.deviation) > 6) if biased else (abs(pooled.deviation) < 4)


def best_rollout(algorithm):
    """Every particle goes on with the best of its rollouts, and its weight does not know."""

    def best(particle):
        if not particle.rollouts:
            return particle
        chosen = max(particle.rollouts, key=lambda rollout: rollout.log_value)
        return replace(particle, rollouts=(chosen,) * len(particle.rollouts))

    async def extend(state):
        return await algorithm.extend(changed(state, best))

    return replace(algorithm, extend=extend)


def test_trap_the_best_rollout_as_next_block_without_its_weight_biases_z():
    pooled = pool(MODELS["tempered-eos-product"], lookahead=LOOKAHEAD, runs=FEW, amend=best_rollout)
    assert abs(pooled.deviation) > 6


def fresh_surplus(algorithm):
    """One copy takes the rollout, the others draw anew: how many draw anew depends on the rollout's value."""

    async def extend(state):
        seen = set()

        def first_only(particle):
            if id(particle.rollouts) in seen:
                return replace(particle, rollouts=())
            seen.add(id(particle.rollouts))
            return particle

        return await algorithm.extend(changed(state, first_only))

    return replace(algorithm, extend=extend)


def test_trap_fresh_blocks_for_surplus_copies_bias_z():
    settings = {"lookahead": {"rollouts": 1}, "ess_threshold": 1.0, "n_particles": 8}
    assert abs(pool(RARE, runs=FEW, amend=fresh_surplus, **settings).deviation) > 4


def test_trap_moves_only_where_the_population_was_resampled_bias_z():
    """The trigger depends on what is moved; at N = 2 that is a fifth of Z. The schedule of ``always`` does not."""
    model = MODELS["tempered-no-eos-telescoping"]
    settings = {"n_particles": 2, "ess_threshold": 0.75}
    adaptive = pool(model, runs=2 * RUNS, rejuvenation={"steps": 3, "when": "resampled"}, **settings)
    scheduled = pool(model, rejuvenation={"steps": 3, "when": "always"}, **settings)
    assert adaptive.deviation > 6
    assert abs(scheduled.deviation) < 4


def forgotten_evidence(algorithm):
    """Weights reset to one at resampling, the evidence so far forgotten."""

    def resample(state):
        resampled, event = algorithm.resample(state)
        if event is not None:
            resampled = changed(resampled, lambda particle: replace(particle, log_weight=0.0))
        return resampled, event

    return replace(algorithm, resample=resample)


def test_trap_log_z_must_keep_the_evidence_of_every_resampling():
    pooled = pool(MODELS["powered-eos-product"], ess_threshold=1.0, runs=FEW, amend=forgotten_evidence)
    assert abs(pooled.deviation) > 6


def test_trap_reevaluating_a_finished_sequence_changes_the_target():
    model = MODELS["tempered-eos-product"]

    def again(algorithm):
        async def weigh(state):
            weighed, event = await algorithm.weigh(state)

            def once_more(particle):
                trajectory = particle.trajectory
                if not trajectory.finished or len(trajectory) > state.block * model.block_size:
                    return particle
                more = model.log_psi(trajectory.token_ids, True)
                return replace(particle, log_weight=particle.log_weight + more)

            return changed(weighed, once_more), event

        return replace(algorithm, weigh=weigh)

    assert abs(pool(model, ess_threshold=0.0, runs=FEW, amend=again).deviation) > 6


def test_the_floor_is_what_keeps_a_failing_particle_alive():
    failing = lookahead.log_rollout_value(-math.inf, 0.0, 0.0, math.log(0.1))
    assert failing == pytest.approx(math.log(0.1))
    assert lookahead.log_rollout_value(-math.inf, 0.0, 0.0, -math.inf) == -math.inf
