import asyncio

import pytest

from smc_decode import sample
from smc_decode.engines import TableEngine
from tests.enumeration import MODELS, mod_logits
from tests.harness import config_of, engine_of, potential_of

MODEL = MODELS["tempered-eos-product"]


@pytest.mark.parametrize("limit", [3, 10, 25, 60])
@pytest.mark.parametrize(
    "settings", [{}, {"lookahead": {"rollouts": 2}}, {"rejuvenation": {"steps": 2}}, {"block_size": 6}]
)
async def test_no_more_tokens_are_drawn_than_the_budget_holds(limit, settings):
    config = config_of(MODEL, max_total_tokens=limit, **settings)
    result = await sample(engine_of(MODEL), (), potential_of(MODEL), config, seed=0)
    assert result.usage.drawn <= limit
    if result.stopped == "max_total_tokens":
        assert result.log_z is None
        assert "max_total_tokens" in result.warnings[0]


async def test_a_budget_that_is_enough_changes_nothing():
    plain = await sample(engine_of(MODEL), (), potential_of(MODEL), config_of(MODEL), seed=0)
    config = config_of(MODEL, max_total_tokens=10_000, deadline_s=60)
    limited = await sample(engine_of(MODEL), (), potential_of(MODEL), config, seed=0)
    assert limited.particles == plain.particles
    assert limited.stopped == "complete"


class SlowEngine(TableEngine):
    """Draws the first ``quick`` continuations of a call at once, and never gets to the others."""

    def __init__(self, quick, calls):
        super().__init__(mod_logits(4), 4, 0)
        self.quick, self.calls = quick, calls

    async def extend(self, requests):
        self.calls -= 1
        async for index, continuation in super().extend(requests):
            if self.calls < 0 and index >= self.quick:
                await asyncio.Event().wait()
            yield index, continuation


async def test_at_the_deadline_the_population_of_the_last_whole_block_is_the_answer():
    config = config_of(MODEL, deadline_s=0.05)
    result = await sample(SlowEngine(quick=0, calls=1), (), potential_of(MODEL), config, seed=0)
    assert result.stopped == "deadline"
    assert result.blocks == 1
    assert result.log_z is None
    assert 1 <= len(result.answer.token_ids) <= 2


async def test_at_the_deadline_what_has_already_been_drawn_is_used():
    config = config_of(MODEL, deadline_s=0.05, block_size=6)
    result = await sample(SlowEngine(quick=3, calls=0), (), potential_of(MODEL), config, seed=0)
    assert result.stopped == "deadline"
    assert sum(particle.weight > 0 for particle in result.particles) == 3
    assert result.answer.finished
