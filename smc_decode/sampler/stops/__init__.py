"""Stop rules: what ends a pass before its last block. docs/method.md, sections 5, 10 and 12."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from smc_decode.events import Event
from smc_decode.sampler.state import State, Step


class StopRule(Protocol):
    """One reason to end a pass.

    ``inexact``: why log Z^ is biased with it, or None. It may be known only after the run.
    """

    @property
    def inexact(self) -> str | None: ...

    async def after(self, state: State, block: int) -> Step:
        """The state that ``block`` was weighed with: ``stopped`` says so where the rule ends the pass.

        A rule may tell of it what it saw, and may hand on a population that the pass goes on with.
        """
        ...


class AnyOf:
    """Rules one after the other, until one ends the pass."""

    def __init__(self, rules: Sequence[StopRule]) -> None:
        self._rules = rules

    async def __call__(self, state: State) -> Step:
        """The state after the rules, and what the last one that had something to tell said."""
        told: Event | None = None
        for rule in self._rules:
            if state.over:
                break
            state, event = await rule.after(state, state.block)
            told = event or told
        return state, told
