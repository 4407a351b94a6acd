"""Budgets of a run: tokens, rows and seconds, counting particles, rollouts and moves."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from smc_decode.result import StopCause, Usage


class BudgetSpent(Exception):
    """A budget ran out: the run ends with its best current estimate."""

    def __init__(self, cause: StopCause) -> None:
        self.cause: StopCause = cause
        super().__init__(cause)


class Budget:
    """What is left of ``max_total_tokens``, ``max_total_rows`` and ``deadline_s``.

    How many rows tokens take is known when they are drawn: before, each counts as one.
    """

    def __init__(
        self,
        usage: Usage,
        max_total_tokens: int | None,
        deadline_s: float | None,
        max_total_rows: int | None = None,
    ) -> None:
        self._usage = usage
        self._tokens = max_total_tokens
        self._rows = max_total_rows
        self._grace = 0.1 * (deadline_s or 0.0)
        self._ends = None if deadline_s is None else asyncio.get_running_loop().time() + deadline_s

    def _left(self) -> tuple[float, StopCause]:
        """How many tokens may be drawn, and what limits them."""
        tokens = math.inf if self._tokens is None else self._tokens - self._usage.drawn
        rows = math.inf if self._rows is None else self._rows - self._usage.computed_rows
        return (tokens, "max_total_tokens") if tokens <= rows else (rows, "max_total_rows")

    def check(self, tokens: int) -> None:
        """Raises BudgetSpent where ``tokens`` more may not be drawn."""
        left, cause = self._left()
        if tokens > left:
            raise BudgetSpent(cause)

    def share(self, lengths: list[int]) -> tuple[list[int], StopCause | None]:
        """``lengths`` cut so that their sum fits what is left, and by what: the longest are cut first.

        Raises BudgetSpent where not even one token each is left.
        """
        left, cause = self._left()
        if sum(lengths) <= left:
            return lengths, None
        if left < len(lengths):
            raise BudgetSpent(cause)
        cap = int(left) // len(lengths)
        return [min(length, cap) for length in lengths], cause

    @asynccontextmanager
    async def limit(self, *, grace: bool = False) -> AsyncIterator[None]:
        """Interrupt the body at the deadline, or a tenth later with ``grace``. Raises BudgetSpent."""
        if self._ends is None:
            yield
            return
        try:
            async with asyncio.timeout_at(self._ends + (self._grace if grace else 0.0)) as scope:
                yield
        except TimeoutError:
            # A time-out of the body itself (a reward's, say) is not ours.
            if not scope.expired():
                raise
            raise BudgetSpent("deadline") from None
