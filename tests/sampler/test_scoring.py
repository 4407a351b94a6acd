"""Asking the potential: each prefix once, and complete sequences while the engine still works on others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import numpy as np
import pytest

from smc_decode import Lookahead, SMCConfig, sample
from smc_decode.engines import TableEngine
from smc_decode.engines.base import Continuation, Extend
from smc_decode.potentials.base import Evaluation, PotentialError, Prefix


class OneByOne(TableEngine):
    """Continuations arrive one after the other, with other work in between; shorter ones first."""

    working = False

    async def extend(self, requests: Sequence[Extend]) -> AsyncGenerator[tuple[int, Continuation], None]:
        self.working = True
        drawn = [answer async for answer in super().extend(requests)]
        for answer in sorted(drawn, key=lambda each: len(each[1].token_ids)):
            yield answer
            await asyncio.sleep(0.001)
        self.working = False


class Judge:
    """A potential that notes whether the engine was at work when it was asked, and how often."""

    name, kind, log_scale, needs_logprobs = "judge", "telescoping", 0.0, False

    def __init__(self, engine: TableEngine, *, cacheable: bool = True, fails: bool = False) -> None:
        self._engine = engine
        self._fails = fails
        self.cacheable = cacheable
        self.asked: list[tuple[int, ...]] = []
        self.meanwhile = 0

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        self.meanwhile += getattr(self._engine, "working", False)
        self.asked += [prefix.token_ids for prefix in batch]
        if self._fails and any(prefix.finished for prefix in batch):
            return [Evaluation(float("nan"))] * len(batch)
        await asyncio.sleep(0)
        return [Evaluation(0.3 * sum(prefix.token_ids)) for prefix in batch]


def coin(tokens: tuple[int, ...]) -> np.ndarray:
    return np.log([0.3, 0.3, 0.4])


SETTINGS = (
    SMCConfig(n_particles=8, block_size=4, max_tokens=12),
    SMCConfig(n_particles=8, block_size=4, max_tokens=12, lookahead=Lookahead(rollouts=2)),
    SMCConfig(n_particles=6, block_size=4, max_tokens=12, rejuvenation={"steps": 1}),
)


@pytest.mark.parametrize("config", SETTINGS)
async def test_complete_sequences_are_judged_while_others_are_drawn_and_nothing_else_changes(config: SMCConfig) -> None:
    slow, quick = OneByOne(coin, 3, 0), TableEngine(coin, 3, 0)
    early, late = Judge(slow), Judge(quick)
    with_early = await sample(slow, (), early, config, seed=4)  # type: ignore[arg-type]
    without = await sample(quick, (), late, config, seed=4)  # type: ignore[arg-type]
    assert early.meanwhile > 0
    assert late.meanwhile == 0
    assert [p.token_ids for p in with_early.particles] == [p.token_ids for p in without.particles]
    assert with_early.log_z == without.log_z
    assert with_early.usage == without.usage
    assert sorted(early.asked) == sorted(late.asked)
    assert len(set(early.asked)) == len(early.asked) == with_early.usage.reward_calls


async def test_a_potential_that_depends_on_more_than_the_prefix_is_asked_about_all_at_once() -> None:
    engine = OneByOne(coin, 3, 0)
    judge = Judge(engine, cacheable=False)
    await sample(engine, (), judge, SETTINGS[0], seed=4)  # type: ignore[arg-type]
    assert judge.meanwhile == 0


async def test_what_is_wrong_with_an_early_answer_is_an_error_of_the_run() -> None:
    engine = OneByOne(coin, 3, 0)
    with pytest.raises(PotentialError, match="nan"):
        await sample(engine, (), Judge(engine, fails=True), SETTINGS[0], seed=4)  # type: ignore[arg-type]


async def test_a_run_that_is_cancelled_leaves_no_question_open() -> None:
    engine = OneByOne(coin, 3, 0)
    judge = Judge(engine)
    running = asyncio.ensure_future(sample(engine, (), judge, SETTINGS[1], seed=4))  # type: ignore[arg-type]
    while not judge.meanwhile:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not [task for task in others if "_evaluate" in repr(task)]
