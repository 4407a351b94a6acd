"""The engine under test, with what the clauses ask of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NoReturn

from smc_decode.engines.base import Continuation, Engine, EngineRequestError, Extend, LiveSequence
from smc_decode.testing.contract import ContractError


class LeftOut(Exception):
    """A clause cannot be tried here; the message says why."""


@dataclass(slots=True)
class Subject:
    """``clause`` is the one that is being tried. Fields as the arguments of ``check_engine``."""

    engine: Engine
    prompt: tuple[int, ...]
    draws: int
    tokens: int
    temperature: float
    rounding: float
    seed: int
    patience: float
    clause: str = ""

    def fail(self, message: str) -> NoReturn:
        raise ContractError(self.clause, message)

    def require(self, holds: bool, message: str) -> None:
        if not holds:
            self.fail(message)

    def near(self, a: float, b: float, scale: float = 1.0) -> bool:
        """Whether two log-probabilities are the same up to rounding; ``scale``: what it was multiplied by."""
        return abs(a - b) <= self.rounding * max(scale, 1.0) * 2

    async def population(self, size: int) -> list[LiveSequence]:
        root = await self.engine.open(self.prompt)
        return [await self.engine.fork(root) for _ in range(size)]

    async def draw(self, requests: Sequence[Extend]) -> list[Continuation]:
        """Continuations in the order of the requests, which are checked to be answered once each."""
        drawn: dict[int, Continuation] = {}
        async with aclosing(self.engine.extend(requests)) as stream:
            async for index, continuation in stream:
                self.require(0 <= index < len(requests), f"extend yielded index {index} of {len(requests)} requests")
                self.require(index not in drawn, f"extend yielded the request {index} twice")
                drawn[index] = continuation
        missing = sorted(set(range(len(requests))) - set(drawn))
        self.require(not missing, f"extend ended without the requests {missing[:5]}")
        return [drawn[index] for index in range(len(requests))]

    async def draws_of(self, tokens: int = 1, *, size: int | None = None, **asked: Any) -> list[Continuation]:
        """Draws of a fresh population, each with a seed of its own."""
        sequences = await self.population(self.draws if size is None else size)
        return await self.draw(
            [Extend(sequence, tokens, seed=self.seed + i, **asked) for i, sequence in enumerate(sequences)]
        )

    async def optional(self, tokens: int = 1, **asked: Any) -> list[Continuation]:
        """As :meth:`draws_of`, of requests that an engine may refuse. Raises LeftOut where it does."""
        try:
            return await self.draws_of(tokens, **asked)
        except EngineRequestError as error:
            raise LeftOut(f"refused: {error}") from error

    async def refused(self, request: Extend, what: str) -> None:
        try:
            await self.draw([request])
        except EngineRequestError:
            return
        self.fail(f"{what} was not refused with EngineRequestError")


def first_values(drawn: Sequence[Continuation], name: str) -> dict[int, list[float]]:
    """For each token that came first, what the draws tell of it: ``logprobs``, ``proposal_logprobs`` or ``log_z``."""
    told: dict[int, list[float]] = {}
    for continuation in drawn:
        told.setdefault(continuation.token_ids[0], []).append(getattr(continuation, name)[0])
    return told


def log_sum_exp(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values))
