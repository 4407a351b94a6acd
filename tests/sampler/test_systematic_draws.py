"""Systematic draws: each particle's own law stays q, so what is linear in the population stays exact."""

import asyncio
import random

import numpy as np
import pytest
from pydantic import ValidationError

from smc_decode import SMCConfig, sample
from smc_decode.engines import TableEngine
from smc_decode.engines.base import Extend
from smc_decode.sampler import proposal
from tests.enumeration import MODELS
from tests.harness import engine_of, pool

SETTINGS = {
    "prefix only": {},
    "never resampled": {"ess_threshold": 0.0},
    "two rollouts, chosen by weight": {"lookahead": {"rollouts": 2, "choice": "weighted"}},
    "two rollouts and moves": {"lookahead": {"rollouts": 2}, "rejuvenation": {"steps": 1, "every": 2}},
    "growing passes": {"first_pass_size": 2},
}
CASES = [("tempered-eos-product", settings) for settings in SETTINGS] + [
    ("powered-eos-product", "two rollouts and moves"),
    ("powered-no-eos-psi-1", "prefix only"),
    ("tempered-tau-unmatched", "two rollouts and moves"),
    ("tempered-hard-zeros", "prefix only"),
    ("tempered-terminal-01", "never resampled"),
]


@pytest.mark.parametrize(("name", "settings"), CASES)
def test_z_stays_unbiased_and_the_pooled_population_is_the_posterior(name, settings):
    pooled = pool(MODELS[name], 800, n_particles=6, proposal_draws="systematic", **SETTINGS[settings])
    assert abs(pooled.deviation) < 4
    assert pooled.distance(MODELS[name].posterior) < 0.09


@pytest.mark.parametrize("name", ["tempered-eos-product", "powered-no-eos-psi-1"])
def test_z_varies_less_than_with_independent_draws(name):
    spread = {
        draws: pool(MODELS[name], 300, n_particles=24, ess_threshold=0.0, proposal_draws=draws).spread
        for draws in ("independent", "systematic")
    }
    assert spread["systematic"] < 0.8 * spread["independent"]


def test_trap_a_lattice_that_is_not_turned_biases_z(monkeypatch):
    monkeypatch.setattr(proposal, "lattice", lambda shift, n: [(i + 0.95) / n for i in range(n)])
    settings = {"n_particles": 2, "ess_threshold": 0.0, "proposal_draws": "systematic"}
    assert abs(pool(MODELS["tempered-no-eos-telescoping"], 300, **settings).deviation) > 6


def test_particles_that_share_a_prefix_are_spread_over_it():
    law = np.log([0.25, 0.5, 0.125, 0.125])
    engine = TableEngine(lambda tokens: law, 4)
    config = SMCConfig(n_particles=8, block_size=1, max_tokens=1, proposal_draws="systematic")
    for seed in range(20):
        drawn = [p.token_ids[0] for p in asyncio.run(sample(engine, (), None, config, seed=seed)).particles]
        assert [drawn.count(token) for token in range(4)] == [2, 4, 1, 1]


async def test_an_engine_draws_the_same_sequence_from_a_code_whatever_its_seed():
    engine = engine_of(MODELS["powered-no-eos-psi-1"])
    length = MODELS["powered-no-eos-psi-1"].max_tokens
    rng = random.Random(1)
    for _ in range(30):
        code, drawn = rng.random(), []
        for seed in (1, 2):
            request = Extend(await engine.open(()), length, seed=seed, code=code)
            drawn += [continuation.token_ids async for _, continuation in engine.extend([request])]
        assert drawn[0] == drawn[1]


def test_sweeps_refuse_them():
    with pytest.raises(ValidationError, match="independent"):
        SMCConfig(n_sweeps=2, proposal_draws="systematic")
