"""Moves: kernels that leave the current target invariant, so that copies become different again.

A move is registered under a name and made for each run from its tools::

    @MOVES.register("mine")
    def mine(context, rollouts) -> Iterable[Move]: ...

``rejuvenation.move`` names it. docs/method.md, section 7.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from smc_decode.registry import Registry
from smc_decode.sampler.context import RunContext
from smc_decode.sampler.lookahead import Rollouts
from smc_decode.sampler.state import State, Step


class Move(Protocol):
    """One kernel over the population.

    ``inexact``: why log Z^ is biased with it, or None. It may be known only after the run. ``estimates_z``: whether
    there is a log Z^ at all after it (a move that does not say so leaves it). ``first_cut(block)``: how many tokens it
    leaves alone after that block and all later ones (a move that does not say so may change any).
    """

    @property
    def inexact(self) -> str | None: ...

    def due(self, block: int, state: State) -> bool:
        """Whether it is made after ``block``. Exact only if that does not depend on what it moves."""
        ...

    async def __call__(self, state: State) -> Step:
        """The moved population, and what there is to tell of it. Raises BudgetSpent where it cannot be made whole."""
        ...


MoveFactory = Callable[[RunContext, Rollouts | None], Sequence[Move]]
"""(a run's tools, its rollouts where there is lookahead) -> the moves of a block, in order."""

MOVES: Registry[MoveFactory] = Registry(
    "move",
    group="smc_decode.moves",
    lazy={
        "suffix": "smc_decode.sampler.moves.suffix:suffix_moves",
        "exchange": "smc_decode.sampler.moves.exchange:exchange_moves",
    },
)


def estimates_z(move: Move) -> bool:
    """Whether a run with this move has an estimate of log Z."""
    return bool(getattr(move, "estimates_z", True))


def first_cut(moves: Sequence[Move], block: int) -> int:
    """How many tokens none of the moves changes after ``block`` or later."""

    def none(_: int) -> int:
        return 0

    return min(int(getattr(move, "first_cut", none)(block)) for move in moves)
