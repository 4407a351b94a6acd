"""Rollouts, and resampling with them, that begin late in an answer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from smc_decode import Lookahead, SMCConfig, events, run, sample
from smc_decode.engines import TableEngine
from smc_decode.potentials import FunctionPotential
from tests.enumeration import MODELS
from tests.harness import config_of, engine_of, pool, potential_of

WAYS = {
    "late": {"lookahead": {"rollouts": 2, "start": 0.6}},
    "late, not reused": {"lookahead": {"rollouts": 2, "start": 0.6, "reuse": False}},
    "late, chosen by value": {"lookahead": {"rollouts": 3, "start": 0.5, "choice": "weighted"}, "ess_threshold": 1.0},
    "late, not recycled": {"lookahead": {"rollouts": 2, "start": 0.6, "recycle": False}, "ess_threshold": 1.0},
    "late, moved": {"lookahead": {"rollouts": 2, "start": 0.6}, "rejuvenation": {"steps": 1}},
    "as by default": {"lookahead": {"rollouts": 2, "start": 0.75}, "proposal_draws": "systematic"},
    "in two passes": {
        "lookahead": {"rollouts": 2, "start": 0.75},
        "first_pass_size": 3,
        "later_passes": "rest",
    },
    "late by what earlier passes were long": {"lookahead": {"rollouts": 2, "start": 0.8}, "first_pass_size": 2},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["tempered-eos-product", "powered-eos-product"])
def test_late_lookahead_estimates_z_and_the_posterior(name, way):
    model = MODELS[name]
    pooled = pool(model, runs=500, **WAYS[way])
    assert abs(pooled.deviation) < 4
    assert pooled.distance(model.posterior) < 0.1


@pytest.mark.parametrize(
    ("start", "length", "block"),
    [(0.0, None, 0), (0.75, None, 2), (0.5, None, 1), (0.75, 8, 1), (0.75, 4, 0), (0.75, 1, 0), (0.9, 15, 2)],
)
def test_rollouts_begin_at_the_end_of_the_block_that_is_nearest(start, length, block):
    config = config_of(MODELS["tempered-eos-product"], max_tokens=16, block_size=4, lookahead={"start": start})
    assert config.first_lookahead(length) == block


async def test_nothing_is_looked_ahead_or_resampled_before_the_start():
    model = MODELS["tempered-no-eos-telescoping"]
    settings = {"lookahead": {"rollouts": 2, "start": 0.7}, "ess_threshold": 1.0}
    config = config_of(model, **settings)
    told = [event async for event in run(engine_of(model), (), potential_of(model), config, seed=1)]
    assert config.first_lookahead() == 1
    assert {event.block for event in told if isinstance(event, events.RolledOut)} == {1}
    assert {event.block for event in told if isinstance(event, events.Resampled)} == {1}


async def test_a_later_pass_knows_how_long_answers_are():
    """Answers of two tokens or so where sixteen are allowed: the first pass looks ahead too late, the second not."""
    engine = TableEngine(lambda tokens: np.log([0.5, 0.25, 0.25]), 3, 0)
    config = SMCConfig(
        max_tokens=16, block_size=1, n_particles=32, first_pass_size=16, lookahead=Lookahead(rollouts=2, start=0.6)
    )
    blocks, passes = [], 0
    async for event in run(engine, (), None, config, seed=1):
        passes += isinstance(event, events.BlockExtended) and event.block == 0
        if isinstance(event, events.RolledOut) and event.tokens:
            blocks.append((passes, event.block))
    assert min(block for number, block in blocks if number == 2) < 3
    assert not [block for number, block in blocks if number == 1 and block < 9]


@pytest.mark.parametrize("name", ["tempered-eos-product", "powered-eos-product"])
async def test_moves_before_the_first_rollouts_compare_prefixes_without_estimates(name):
    """Where the floor's scale is known from the start, moves begin before the rollouts do."""
    model = MODELS[name]
    scale = max(model.log_potential(tokens) for tokens in model.log_gamma)
    potential = FunctionPotential(model.log_psi, model.kind, log_scale=scale)
    look = {"rollouts": 2, "start": 0.5, "floor": 1.0}
    config = config_of(model, n_particles=4, lookahead=look, rejuvenation={"steps": 1})
    engine, ratios = engine_of(model), []
    for seed in range(500):
        result = await sample(engine, (), potential, config, seed=seed)
        ratios.append(math.exp(result.log_z - model.log_z))
    assert abs(np.mean(ratios) - 1.0) < 4 * np.std(ratios) / math.sqrt(len(ratios))
