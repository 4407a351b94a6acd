"""The known wrong formulas, put in on purpose: the statements of test_exactness.py must go red with each.

A test of an estimator that no wrong formula can fail proves nothing.
"""

import math

import numpy as np
import pytest

import smc_decode.sampler.run as sampler
from smc_decode.laws import lookahead
from smc_decode.laws.lookahead import Choice
from smc_decode.sampler import rollouts
from tests.enumeration import MODELS, Model, mod_logits
from tests.harness import pool


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


def test_trap_a_redrawn_denominator_biases_z(monkeypatch):
    """Dividing by a fresh estimate of L^_{k-1} instead of the stored one."""
    fresh = np.random.default_rng(0)
    honest = sampler.log_increment

    def redrawn(log_target, previous):
        # A fresh estimate with the same mean: the stored one times independent noise of mean one.
        return honest(log_target, previous + (math.log(fresh.choice([0.25, 1.75])) if previous != 0.0 else 0.0))

    monkeypatch.setattr(sampler, "log_increment", redrawn)
    pooled = pool(MODELS["tempered-eos-product"], lookahead=LOOKAHEAD, runs=FEW)
    assert abs(pooled.deviation) > 6


def test_trap_an_estimated_first_lookahead_must_multiply_z(monkeypatch):
    """Starting from an estimated L^_0 that is then forgotten scales Z^ by its inverse."""
    start = sampler.LiveParticle

    def with_first_lookahead(path, sequence, *args, **kwargs):
        particle = start(path, sequence, *args, **kwargs)
        if not path.token_ids and not args and not kwargs:
            particle.log_target = math.log(0.6)
        return particle

    monkeypatch.setattr(sampler, "LiveParticle", with_first_lookahead)
    pooled = pool(MODELS["tempered-eos-product"], lookahead=LOOKAHEAD, runs=FEW)
    assert pooled.ratios.mean() == pytest.approx(1 / 0.6, rel=0.05)


def test_trap_the_best_rollout_as_next_block_without_its_weight_biases_z(monkeypatch):
    def greedy(log_values, copies, rule, rng):
        return [Choice(int(np.argmax(log_values)), 0.0)] * copies

    monkeypatch.setattr(rollouts, "choose_rollouts", greedy)
    assert abs(pool(MODELS["tempered-eos-product"], lookahead=LOOKAHEAD, runs=FEW).deviation) > 6


def test_trap_fresh_blocks_for_surplus_copies_bias_z(monkeypatch):
    """One copy takes the rollout, the others draw anew: how many draw anew depends on the rollout's value."""
    honest = rollouts.Lookout.take_blocks

    async def first_copy_only(self, population, steps, end, rng):
        seen = set()
        for particle in population:
            if id(particle.rollouts) in seen:
                particle.rollouts = ()
            elif particle.rollouts:
                seen.add(id(particle.rollouts))
        await honest(self, population, steps, end, rng)

    monkeypatch.setattr(rollouts.Lookout, "take_blocks", first_copy_only)
    settings = {"lookahead": {"rollouts": 1}, "ess_threshold": 1.0, "n_particles": 4}
    assert abs(pool(RARE, runs=4000, **settings).deviation) > 4


def test_trap_moves_only_where_the_population_was_resampled_bias_z():
    """The trigger depends on what is moved; at N = 2 that is a fifth of Z. The schedule of ``always`` does not."""
    model = MODELS["tempered-no-eos-telescoping"]
    settings = {"n_particles": 2, "ess_threshold": 0.75}
    adaptive = pool(model, rejuvenation={"steps": 3, "when": "resampled"}, **settings)
    scheduled = pool(model, rejuvenation={"steps": 3, "when": "always"}, **settings)
    assert adaptive.deviation > 6
    assert abs(scheduled.deviation) < 4


def test_trap_log_z_must_keep_the_evidence_of_every_resampling(monkeypatch):
    """Weights reset to one at resampling, the evidence so far forgotten."""
    honest = sampler._Run._resample

    def forgetful(self, block, *, conditional=False):
        event = honest(self, block, conditional=conditional)
        for particle in self.population:
            particle.log_weight = 0.0
        return event

    monkeypatch.setattr(sampler._Run, "_resample", forgetful)
    assert abs(pool(MODELS["powered-eos-product"], ess_threshold=1.0, runs=FEW).deviation) > 6


def test_trap_reevaluating_a_finished_sequence_changes_the_target(monkeypatch):
    model = MODELS["tempered-eos-product"]
    honest = sampler._Run._weigh

    async def again(self, steps, block, *, last):
        await honest(self, steps, block, last=last)
        for particle in self.population:
            if particle.path.finished and len(particle.path) <= block * self.config.block_size:
                particle.log_weight += model.log_psi(particle.path.token_ids, True)

    monkeypatch.setattr(sampler._Run, "_weigh", again)
    assert abs(pool(model, ess_threshold=0.0, runs=FEW).deviation) > 6


def test_the_floor_is_what_keeps_a_failing_particle_alive():
    failing = lookahead.log_rollout_value(-math.inf, 0.0, 0.0, math.log(0.1))
    assert failing == pytest.approx(math.log(0.1))
    assert lookahead.log_rollout_value(-math.inf, 0.0, 0.0, -math.inf) == -math.inf
