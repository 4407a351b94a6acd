"""A reward that fails: the run goes on without it, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from smc_decode import SMCConfig, sample
from smc_decode.engines import TableEngine
from smc_decode.potentials import Evaluation, Potential, Prefix, RewardFailure, RewardGuard


class Flaky(Potential):
    name = "flaky"
    kind = "telescoping"
    log_scale = 3.0
    needs_logprobs = True
    down = False

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        if self.down:
            raise RewardFailure("judge unreachable")
        return [Evaluation(1.5, 0.5)] * len(batch)


@pytest.mark.parametrize(("policy", "known", "says"), [("keep", 1.5, "kept its last"), ("floor", 0.0, "counted as 0")])
async def test_prefixes_get_their_last_value_or_that_of_no_reward(policy: Any, known: float, says: str) -> None:
    inner = Flaky()
    guard = RewardGuard(inner, policy)
    assert (guard.warnings, guard.inexact) == ((), None)
    await guard.evaluate([Prefix((1, 2), False)])
    inner.down = True
    values = await guard.evaluate([Prefix((1, 2, 3), False), Prefix((9,), True)])
    assert [value.log_value for value in values] == [known, 0.0]
    assert guard.failures == 2
    assert guard.inexact is not None
    assert says in guard.warnings[0]
    assert "judge unreachable" in guard.warnings[0]


async def test_a_guard_declares_what_its_potential_declares() -> None:
    guard = RewardGuard(Flaky(), "keep")
    assert (guard.name, guard.kind, guard.log_scale, guard.cacheable, guard.needs_logprobs) == (
        "flaky", "telescoping", 3.0, True, True,
    )  # fmt: skip


async def test_other_errors_than_failures_of_the_reward_are_not_hidden() -> None:
    class Wrong(Flaky):
        async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
            raise KeyError("x")

    with pytest.raises(KeyError):
        await RewardGuard(Wrong(), "keep").evaluate([Prefix((1,), True)])


async def test_a_run_that_went_on_without_its_reward_says_that_it_is_not_exact() -> None:
    class FailsLater(Flaky):
        calls = 0

        async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
            self.calls += 1
            self.down = self.calls > 1
            return await super().evaluate(batch)

    engine = TableEngine(lambda tokens: np.zeros(3), 3)
    config = SMCConfig(n_particles=4, block_size=1, max_tokens=3)
    steady = await sample(engine, (), RewardGuard(Flaky(), "keep"), config, seed=0)
    failed = await sample(engine, (), RewardGuard(FailsLater(), "keep"), config, seed=0)
    assert (steady.exact, steady.inexact) == (True, ())
    assert not failed.exact
    assert "the reward failed for a part of the run" in failed.inexact[0]
