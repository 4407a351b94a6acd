"""What a run asks of an engine, counted: an extra call a block shows here, and not in a clock."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.speed_meter import Meter, MeteredEngine, Work
from smc_decode import Lookahead, Rejuvenation, SMCConfig, sample
from smc_decode.engines import TableEngine
from smc_decode.potentials import FunctionPotential

N, B, T = 6, 3, 12
BLOCKS = T // B


def coin(tokens: tuple[int, ...]) -> np.ndarray:
    return np.log([0.25, 0.25, 0.5])


async def work_of(**values: object) -> Work:
    """A run in which nobody ends early, every block resamples, and every token is drawn."""
    meter = Meter()
    engine = MeteredEngine(TableEngine(coin, 3), meter)
    potential = FunctionPotential(lambda tokens, finished: math.log(1 + sum(tokens)), kind="telescoping")
    defaults: dict[str, object] = {"n_particles": N, "block_size": B, "max_tokens": T, "ess_threshold": 1.0}
    defaults["draft_draws"] = False
    await sample(engine, (), potential, SMCConfig.model_validate(defaults | values), seed=1)  # type: ignore[arg-type]
    return meter.work


async def test_a_block_is_one_call_for_the_whole_population() -> None:
    work = await work_of()
    assert (work.calls, work.requests, work.drawn, work.steps) == (BLOCKS, N * BLOCKS, N * T, T)


async def test_the_number_of_blocks_is_the_only_thing_that_a_block_size_changes() -> None:
    for block_size in (1, 2, 4, 6, 12):
        work = await work_of(block_size=block_size)
        assert (work.calls, work.drawn, work.steps) == (T // block_size, N * T, T)


@pytest.mark.parametrize("steps", [1, 2])
async def test_a_move_is_one_call_for_the_whole_population(steps: int) -> None:
    work = await work_of(rejuvenation=Rejuvenation(steps=steps))
    assert work.calls == BLOCKS * (1 + steps)
    assert work.requests == BLOCKS * N * (1 + steps)


@pytest.mark.parametrize("rollouts", [1, 3])
async def test_all_rollouts_of_a_block_are_one_call(rollouts: int) -> None:
    work = await work_of(lookahead=Lookahead(rollouts=rollouts, reuse=False))
    assert work.calls == BLOCKS + BLOCKS - 1  # none after the last block
    assert work.requests == N * BLOCKS + N * rollouts * (BLOCKS - 1)


async def test_with_reuse_only_the_first_block_and_the_rollouts_are_drawn() -> None:
    work = await work_of(lookahead=Lookahead(rollouts=2))
    assert work.calls == 1 + BLOCKS - 1
    # Two rollouts for everyone at first; then one is left of the chosen one, and one is drawn.
    assert work.requests == N + 2 * N + N * (BLOCKS - 2)
