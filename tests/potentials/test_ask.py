"""What a user's potential raises or returns becomes a typed error that names it, and nothing else gets through."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from smc_decode import SMCConfig, sample
from smc_decode.engines import TableEngine
from smc_decode.engines.base import EngineError
from smc_decode.potentials import (
    Evaluation,
    FunctionPotential,
    FunctionReward,
    MissingExtra,
    Potential,
    PotentialError,
    PotentialFault,
    Prefix,
    Reward,
    RewardFailure,
    RewardPotential,
    RewardRequestError,
    RewardSource,
)
from smc_decode.potentials.ask import ask
from tests.potentials.answers import answer

PREFIXES = [Prefix((1,), False), Prefix((1, 2), True)]


class Mine(Potential):
    name = "mine"

    def __init__(self, f: Callable[[Sequence[Prefix]], Any]) -> None:
        self._f = f

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        result: list[Evaluation] = self._f(batch)
        return result


def raising(error: BaseException) -> Callable[..., Any]:
    def f(*_: object) -> Any:
        raise error

    return f


RAISED = [
    ZeroDivisionError("x"),
    KeyError("x"),
    StopIteration(),
    RecursionError(),
    MemoryError(),
    SystemExit(3),
    OSError(),
]


@pytest.mark.parametrize("error", RAISED, ids=repr)
async def test_what_a_potential_raises_is_named_and_kept_as_the_cause(error: BaseException) -> None:
    for potential in (
        Mine(raising(error)),
        FunctionPotential(raising(error), name="mine"),
        RewardPotential(FunctionReward(raising(error), name="mine"), 4.0),
    ):
        prefixes = [answer("a"), answer("b", False)] if isinstance(potential, RewardPotential) else PREFIXES
        with pytest.raises(PotentialFault, match="'mine' raised ") as caught:
            await ask(potential, prefixes)
        cause = caught.value.__cause__
        assert cause is error or (isinstance(cause, RuntimeError) and cause.__cause__ is error)  # Python's own rule


async def test_an_async_function_that_raises_is_named_too() -> None:
    async def judge(text: str, finished: bool) -> float:
        raise SystemExit(1)

    with pytest.raises(PotentialError, match="reward 'mine' raised SystemExit"):
        await FunctionReward(judge, name="mine").rewards([answer("a")])


@pytest.mark.parametrize(
    "error",
    [
        PotentialError("p"), RewardFailure("r"), EngineError("e"), MissingExtra("m"), RewardRequestError("q", "smc"),
    ],
    ids=repr,
)  # fmt: skip
async def test_errors_that_are_typed_already_pass(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        await ask(Mine(raising(error)), PREFIXES)
    assert caught.value is error


async def test_a_class_without_a_name_is_called_by_its_class() -> None:
    class Nameless(Potential):
        async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
            raise ValueError

    with pytest.raises(PotentialError, match=r"potential '.*Nameless' raised ValueError"):
        await ask(Nameless(), PREFIXES)


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, 1e301, -1e301, 10**400, None, "1.0", b"1", 1j, [1.0], object(), np.array([1.0, 2.0])],
    ids=lambda value: f"{value!r:.20}",
)
async def test_what_is_no_log_value_is_refused(value: Any) -> None:
    with pytest.raises(PotentialError, match="'function' gave"):
        await FunctionPotential(lambda tokens, finished: value).evaluate(PREFIXES)
    with pytest.raises(PotentialError, match="'mine' gave"):
        await ask(Mine(lambda batch: [Evaluation(value)] * len(batch)), PREFIXES)


@pytest.mark.parametrize("value", [0, True, -math.inf, np.float32(0.5), np.int64(2), np.array(1.0), 1e300, -1e300])
async def test_numbers_of_other_libraries_are_log_values(value: Any) -> None:
    [first, _] = await ask(FunctionPotential(lambda tokens, finished: value), PREFIXES)
    assert type(first.log_value) is float
    assert first.log_value == float(value)


@pytest.mark.parametrize(
    "answers",
    [None, 3, "ab", [None, None], [0.0, 1.0], [Evaluation(0.0)], {0: 1, 1: 2}, iter([1, 2])],
    ids=lambda answers: type(answers).__name__,
)
async def test_what_is_no_list_of_evaluations_is_refused(answers: Any) -> None:
    with pytest.raises(PotentialError, match="'mine' gave"):
        await ask(Mine(lambda batch: answers), PREFIXES)


@pytest.mark.parametrize("value", [-0.1, 1.5, math.nan, math.inf, "0.5", None])
async def test_what_is_no_reward_is_refused(value: Any) -> None:
    class Source(RewardSource):
        name = "mine"

        async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
            return [Reward(value)] * len(batch)

    with pytest.raises(PotentialError, match="'mine'"):
        await ask(RewardPotential(Source(), 4.0), PREFIXES)
    with pytest.raises(PotentialError, match="reward 'mine' gave"):
        await FunctionReward(lambda text, finished: value, name="mine").rewards([answer("a")])


@pytest.mark.parametrize("scale", [math.nan, math.inf, -math.inf, 1e301])
def test_a_reward_scale_whose_sums_would_overflow_is_refused(scale: float) -> None:
    with pytest.raises(PotentialError, match="reward_scale must be finite"):
        RewardPotential(FunctionReward(lambda text, finished: 1.0), scale)


@pytest.mark.parametrize("kind", ["product", "telescoping", "terminal"])
@pytest.mark.parametrize(
    "f",
    [
        raising(ZeroDivisionError("x")),
        lambda tokens, finished: 1.7e308,
        lambda tokens, finished: (-1) ** len(tokens) * 1.7e308,
        lambda tokens, finished: math.nan,
    ],
    ids=["raises", "overflows", "swings", "nan"],
)
async def test_a_run_ends_with_the_typed_error_and_without_warnings(kind: Any, f: Any) -> None:
    engine = TableEngine(lambda tokens: np.zeros(3), 3, 0)
    config = SMCConfig(n_particles=4, block_size=1, max_tokens=4, lookahead={"rollouts": 1}, rejuvenation={"steps": 1})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PotentialError, match="'function'"):
            await sample(engine, (), FunctionPotential(f, kind), config, seed=0)


@pytest.mark.parametrize("kind", ["product", "telescoping", "terminal"])
async def test_the_largest_log_values_go_through_a_run(kind: Any) -> None:
    engine = TableEngine(lambda tokens: np.zeros(3), 3, 0)
    config = SMCConfig(n_particles=4, block_size=1, max_tokens=4, lookahead={"rollouts": 1}, rejuvenation={"steps": 1})
    swings = FunctionPotential(lambda tokens, finished: (-1) ** sum(tokens) * 2e299, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = await sample(engine, (), swings, config, seed=0)
    assert result.log_z is not None
    assert math.isfinite(result.log_z)
