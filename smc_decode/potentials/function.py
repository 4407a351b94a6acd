"""Potentials and rewards from plain functions: of the generated tokens, or of the text."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, get_args

from smc_decode.potentials.ask import blaming
from smc_decode.potentials.base import (
    Evaluation,
    Potential,
    PotentialError,
    PotentialKind,
    Prefix,
    Reward,
    RewardSource,
    check_log_value,
    number,
)
from smc_decode.potentials.cache import gather


class FunctionPotential(Potential):
    """``f(tokens, finished) -> float`` as a potential, used as it is (no reward_scale).

    ``f`` returns log psi for ``product`` and ``terminal`` and log R for ``telescoping``; -inf is a dead particle, NaN
    and +inf raise PotentialError; what ``f`` raises is the cause of a PotentialFault. ``f`` None is psi = 1.
    """

    def __init__(
        self,
        f: Callable[[tuple[int, ...], bool], float] | None,
        kind: PotentialKind = "product",
        *,
        name: str = "function",
        log_scale: float | None = None,
        cacheable: bool = True,
    ) -> None:
        if kind not in get_args(PotentialKind):
            raise PotentialError(f"kind must be one of {', '.join(get_args(PotentialKind))}, got {kind!r}")
        self._f = f
        self.kind = kind
        self.name = name
        self.log_scale = log_scale
        self.cacheable = cacheable

    async def evaluate(self, batch: Sequence[Prefix]) -> list[Evaluation]:
        if self._f is None:
            return [Evaluation(0.0)] * len(batch)
        who = f"potential {self.name!r}"
        with blaming(who):
            values = [self._f(prefix.token_ids, prefix.finished) for prefix in batch]
            return [Evaluation(check_log_value(value, who)) for value in values]


Judgement = float | tuple[float, Mapping[str, Any]] | Reward
"""What a function may say of an answer: r in [0, 1], alone or with how it came about."""


class FunctionReward(RewardSource):
    """``f(text, finished) -> r`` as a reward source, r in [0, 1]; ``f`` may give ``(r, detail)`` or a Reward, and may
    be async (the whole batch is then asked at once).

    ``prefixes`` False: ``f`` is asked for complete answers only. A sync function runs in the event loop: one that takes
    long should be async, or hand its work to a thread. What it raises is the cause of a PotentialFault.
    """

    def __init__(
        self,
        f: Callable[[str, bool], Judgement] | Callable[[str, bool], Awaitable[Judgement]],
        *,
        name: str = "function",
        prefixes: bool = True,
        cacheable: bool = True,
    ) -> None:
        self._f = f
        self.name = name
        self.prefixes = prefixes
        self.cacheable = cacheable

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        texts = [(prefix.text, prefix.finished) for prefix in batch]
        who = f"reward {self.name!r}"
        with blaming(who):
            judged: list[Any] = [self._f(text, finished) for text, finished in texts]
        if any(map(inspect.isawaitable, judged)):
            judged = await gather(_awaited(judgement, who) for judgement in judged)
        with blaming(who):
            return [as_reward(judgement, who, self.name) for judgement in judged]


async def _awaited(judgement: Awaitable[object], who: str) -> object:
    with blaming(who):
        return await judgement


def as_reward(result: object, who: str, basis: str) -> Reward:
    """A number in [0, 1], a pair of it and a mapping, or a Reward, as a reward. ``basis``: its detail's.

    Raises PotentialError that names ``who``.
    """
    if isinstance(result, Reward):
        as_reward(result.value, who, basis)
        return result
    detail: Mapping[str, Any] = {}
    if isinstance(result, (tuple, list)) and len(result) == 2 and isinstance(result[1], Mapping):
        result, detail = result
    value = number(result, who, "a reward is a number in [0, 1]")
    if not 0.0 <= value <= 1.0:
        raise PotentialError(f"{who} gave {value}: a reward is a number in [0, 1]")
    return Reward(value, {"basis": basis, **detail})
