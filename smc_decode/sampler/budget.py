"""Budgets of a run: tokens and seconds, counting particles, rollouts and moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from smc_decode.result import StopCause, Usage


class BudgetSpent(Exception):
    """A budget ran out: the run ends with its best current estimate."""

    def __init__(self, cause: StopCause) -> None:
        self.cause: StopCause = cause
        super().__init__(cause)


class Budget:
    """What is left of ``max_total_tokens`` and ``deadline_s``."""

    def __init__(self, usage: Usage, max_total_tokens: int | None, deadline_s: float | None) -> None:
        self._usage = usage
        self._tokens = max_total_tokens
        self._grace = 0.1 * (deadline_s or 0.0)
        self._ends = None if deadline_s is None else asyncio.get_running_loop().time() + deadline_s

    def allows(self, tokens: int) -> bool:
        """Whether ``tokens`` more may be drawn."""
        return self._tokens is None or self._usage.drawn + tokens <= self._tokens

    def share(self, lengths: list[int]) -> list[int]:
        """``lengths`` cut so that their sum fits what is left: the longest are cut first.

        Raises BudgetSpent where not even one token each is left.
        """
        if self._tokens is None or self.allows(sum(lengths)):
            return lengths
        left = self._tokens - self._usage.drawn
        if left < len(lengths):
            raise BudgetSpent("max_total_tokens")
        cap = left // len(lengths)
        return [min(length, cap) for length in lengths]

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
