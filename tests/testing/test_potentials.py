"""The contract checker finds what is broken, and says where; potentials that keep the contract pass."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from smc_decode.potentials import (
    Evaluation,
    FunctionPotential,
    FunctionReward,
    Potential,
    Prefix,
    Reward,
    RewardFailure,
    RewardSource,
)
from smc_decode.testing import ContractError, check_potential

TOKENS = [(1, 2, 3, 0), (3, 3), (0,), ()]


class Judged(Potential):
    """A potential from a function of the batch."""

    name = "judged"
    kind = "telescoping"

    def __init__(self, judge: Callable[[Sequence[Prefix]], Any], **declared: Any) -> None:
        self._judge = judge
        vars(self).update(declared)

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        answer: list[Evaluation] = self._judge(batch)
        return answer


def each(value: Callable[[Prefix], Any]) -> Callable[[Sequence[Prefix]], list[Any]]:
    return lambda batch: [value(prefix) for prefix in batch]


def flat(prefix: Prefix) -> Evaluation:
    return Evaluation(0.5 * len(prefix.token_ids))


@pytest.mark.parametrize("kind", ["product", "telescoping", "terminal"])
async def test_a_potential_that_keeps_the_contract_passes(kind: Any) -> None:
    await check_potential(FunctionPotential(lambda tokens, finished: sum(tokens) / 3 - 1, kind), TOKENS)
    await check_potential(FunctionPotential(None, kind, log_scale=0.0))


async def test_a_reward_source_is_tried_as_the_potential_that_it_makes() -> None:
    await check_potential(FunctionReward(lambda text, finished: 1 / (1 + len(text))))
    with pytest.raises(AssertionError, match=r"'long' .*1\.5: a reward is a number in \[0, 1\]"):
        await check_potential(FunctionReward(lambda text, finished: 1.5, name="long"))


async def test_a_hard_constraint_that_is_decided_for_good_passes() -> None:
    def no_twos(tokens: tuple[int, ...], finished: bool) -> float:
        return -math.inf if 2 in tokens else 0.0

    for kind in ("product", "telescoping"):
        await check_potential(FunctionPotential(no_twos, kind, log_scale=0.0), TOKENS)


BROKEN: dict[str, tuple[Any, str]] = {
    "too few": (lambda batch: [Evaluation(0.0)] * (len(batch) - 1), "values for"),
    "something for nothing": (lambda batch: [Evaluation(0.0)] * max(1, len(batch)), "gave 1 values for 0"),
    "none": (lambda batch: None, "gave None"),
    "floats": (each(lambda prefix: 0.0), "gave 0.0, which is no Evaluation"),
    "nan": (each(lambda prefix: Evaluation(math.nan)), "nan"),
    "infinite": (each(lambda prefix: Evaluation(math.inf)), "inf"),
    "too large": (each(lambda prefix: Evaluation(1e301)), "overflow"),
    "text": (each(lambda prefix: Evaluation("1.0")), "'1.0': a log-value is a number"),  # type: ignore[arg-type]
    "reward nan": (each(lambda prefix: Evaluation(0.0, math.nan)), "shows the reward nan"),
    "bound nan": (each(lambda prefix: Evaluation(0.0, at_most=math.nan)), "nan for at_most"),
    "raises": (each(lambda prefix: prefix.token_ids[0]), "'judged' raised IndexError"),
    "order": (lambda batch: [Evaluation(float(i)) for i in range(len(batch))], "order of a batch"),
    "sorted": (lambda batch: sorted(map(flat, batch), key=lambda e: e.log_value), "order of a batch"),
    "shared": (lambda batch: [Evaluation(float(len(batch)))] * len(batch), "a prefix that comes twice|of its own"),
    "logprobs": (each(lambda prefix: Evaluation(sum(prefix.logprobs or ()))), "must declare needs_logprobs"),
    "detail": (each(lambda prefix: Evaluation(0.0, detail={"seen": {1, 2}})), "the detail at .* is no JSON"),
    "bound": (each(lambda prefix: Evaluation(0.0, len(prefix.token_ids) / 9, at_most=0.0)), r"at_most is 0\.0 at"),
    "dead and back": (each(lambda prefix: Evaluation(0.0 if prefix.finished else -math.inf)), "R is 0 at the prefix"),
    "dead within": (
        each(lambda prefix: Evaluation(-math.inf if len(prefix.token_ids) == 2 else 0.0)),
        r"R is 0 at the prefix \(1, 2\) and positive at the prefix \(1, 2, 3\)",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
async def test_what_is_broken_is_named(case: str) -> None:
    judge, says = BROKEN[case]
    with pytest.raises(ContractError, match=says):
        await check_potential(Judged(judge), TOKENS)


async def test_an_answer_that_changes_with_time_must_be_declared() -> None:
    count = itertools.count()

    def judge(batch: Sequence[Prefix]) -> list[Evaluation]:
        return [Evaluation(float(next(count))) for _ in batch]

    with pytest.raises(AssertionError, match=r"determinism: .* must not be cacheable"):
        await check_potential(Judged(judge, cacheable=True), TOKENS)
    report = await check_potential(Judged(judge, cacheable=False), TOKENS)
    assert "determinism" in report.left_out
    assert {"values", "empty batch", "at_most"} <= set(report.tried)


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"kind": "sum"}, "kind 'sum' is none"),
        ({"log_scale": math.inf}, "log_scale inf"),
        ({"log_scale": 1.0}, r"log-potential 2\.0, more than log_scale 1\.0"),
        ({"log_scale": 1.0, "kind": "terminal"}, "more than log_scale"),
        ({"log_scale": 2.5, "kind": "product"}, r"log-potential 5\.0, more than log_scale 2\.5"),
    ],
)
async def test_what_is_declared_must_be_so(declared: dict[str, Any], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        await check_potential(Judged(each(flat), **declared), TOKENS)


async def test_a_terminal_potential_is_asked_about_complete_answers_only() -> None:
    asked: list[Prefix] = []

    def judge(batch: Sequence[Prefix]) -> list[Evaluation]:
        asked.extend(batch)
        return [Evaluation(0.0) for _ in batch]

    await check_potential(Judged(judge, kind="terminal"))
    assert all(prefix.finished for prefix in asked)


async def test_the_failure_of_a_reward_is_not_held_against_its_contract() -> None:
    class Down(RewardSource):
        async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
            raise RewardFailure("judge unreachable")

    with pytest.raises(RewardFailure, match="unreachable"):
        await check_potential(Down())
