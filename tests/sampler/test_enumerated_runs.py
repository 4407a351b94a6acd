"""Whole runs, summed over all that can happen in them: E[Z^] = Z and E[mean w 1{x}] = gamma(x), to rounding.

What test_exactness.py shows by sampling on larger models, here without any noise on the smallest ones.
"""

import math
from collections import defaultdict

import pytest

from smc_decode import events
from tests.choices import play, traces
from tests.enumeration import Model, mod_logits, soft
from tests.harness import config_of

TINY = {
    model.name: model
    for model in [
        Model("tempered", mod_logits(2), 2, 3, 1, log_psi=soft),
        Model("powered", mod_logits(2), 2, 3, 1, target="powered", kind="telescoping", log_psi=soft),
        Model(
            "powered-unmatched",
            mod_logits(2),
            2,
            3,
            2,
            target="powered",
            log_psi=soft,
            settings={"proposal_temperature": 0.8},
        ),
        Model("tempered-unmatched", mod_logits(2), 2, 3, 1, log_psi=soft, settings={"proposal_temperature": 0.8}),
    ]
}
PLAIN = {"n_particles": 2, "selection": "best", "draft_draws": False}


async def expectations(model, **settings):
    """E[Z^] and E[mean_i w_i 1{x_i = x}] of every sequence x, and how many traces there were."""
    config = config_of(model, **{**PLAIN, **settings})
    total, z, masses, count = 0.0, 0.0, defaultdict(float), 0
    async for probability, (_, result) in traces(lambda choices: play(choices, model, config)):
        total += probability
        z += probability * math.exp(result.log_z)
        for particle in result.particles:
            masses[particle.token_ids] += probability * math.exp(particle.log_weight) / len(result.particles)
        count += 1
    assert total == pytest.approx(1.0, abs=1e-12)
    return z, masses, count


def gammas(model):
    return {x: math.exp(value) for x, value in model.log_gamma.items()}


async def check(model, **settings):
    z, masses, count = await expectations(model, **settings)
    assert count >= 4
    assert z == pytest.approx(math.exp(model.log_z), rel=1e-10)
    assert masses == pytest.approx(gammas(model), rel=1e-10)


SETTINGS = {
    "multinomial, always": {"resampling": "multinomial", "ess_threshold": 1.0},
    "systematic, always": {"ess_threshold": 1.0},
    "stratified, where the ESS is low": {"resampling": "stratified", "ess_threshold": 0.9},
    "one rollout, reused": {"ess_threshold": 1.0, "lookahead": {"rollouts": 1}},
    "one rollout, not reused, cold": {
        "ess_threshold": 0.0,
        "lookahead": {"rollouts": 1, "reuse": False, "temperature": 0.3},
    },
    "two rollouts of one particle": {"n_particles": 1, "lookahead": {"rollouts": 2}},
    "one rollout, late": {"ess_threshold": 1.0, "lookahead": {"rollouts": 1, "start": 0.6}},
    "one rollout that is not recycled": {"ess_threshold": 1.0, "lookahead": {"rollouts": 1, "recycle": False}},
    "passes of one particle each": {"first_pass_size": 1},
    "passes with a rollout": {"first_pass_size": 1, "lookahead": {"rollouts": 1}},
    "passes with a rollout that is not recycled": {
        "first_pass_size": 1,
        "lookahead": {"rollouts": 1, "recycle": False},
    },
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("name", TINY)
async def test_the_expected_weight_of_every_sequence_is_its_gamma(name, settings):
    await check(TINY[name], **settings)


# ---- the anytime posterior ----------------------------------------------------------------------------------------

AT_ONCE = 1e-12
"""A share of the posterior that some answer always has: the run ends after the first block, whatever was drawn."""
COLD = {"rollouts": 1, "reuse": False, "temperature": 0.3}
LOOKAHEADS = {
    f"{name}{how}": {"n_particles": n, "lookahead": {**look, "early_stop": AT_ONCE, "recycle": recycle}}
    for how, recycle in [("", True), (", not recycled", False)]
    for name, n, look in [
        ("one rollout of two particles", 2, {"rollouts": 1}),
        ("two rollouts of one particle", 1, {"rollouts": 2}),
        ("one rollout, not reused, cold", 1, COLD),
    ]
}


@pytest.mark.parametrize("settings", LOOKAHEADS.values(), ids=LOOKAHEADS)
@pytest.mark.parametrize("name", TINY)
async def test_rollouts_that_become_the_population_are_properly_weighted_and_carry_the_evidence(name, settings):
    """The weights of the anytime posterior, as a run that ends early returns them."""
    await check(TINY[name], **settings)


@pytest.mark.parametrize("settings", LOOKAHEADS.values(), ids=LOOKAHEADS)
@pytest.mark.parametrize("name", TINY)
async def test_the_anytime_posterior_weighs_answers_for_the_target(name, settings):
    """Its weights are normalised; times the evidence that the run ends with, they are gamma in expectation."""
    model, masses = TINY[name], defaultdict(float)
    config = config_of(model, **{**PLAIN, **settings})
    async for probability, (told, result) in traces(lambda choices: play(choices, model, config)):
        posteriors = [event.answers for event in told if isinstance(event, events.Posterior)]
        # where every sequence is complete after the first block there is nothing to look ahead to
        [answers] = posteriors or [[(particle.token_ids, particle.weight) for particle in result.particles]]
        weights = [weight for _, weight in answers]
        assert sum(weights) == pytest.approx(1.0)
        assert not posteriors or weights == sorted(weights, reverse=True)
        for tokens, weight in answers:
            masses[tokens] += probability * weight * math.exp(result.log_z)
    assert masses == pytest.approx(gammas(model), rel=1e-10)
