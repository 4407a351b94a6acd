"""The floor of lookahead values, and what it is measured in. docs/method.md, "The floor"."""

from __future__ import annotations

import math
from collections.abc import Iterable


class Floor:
    """The floor of L^, in units of the largest product of potentials (``log_scale``; None: the largest seen so far).

    Moves need L^ to be a function of the particle alone. With ``fixed_in_block`` (there are moves) a scale that is
    not known therefore comes from earlier blocks only; in the first, which has none, it follows the population and
    the run must not move (:attr:`settled`). docs/method.md, "The floor".
    """

    def __init__(self, floor: float, log_scale: float | None, *, fixed_in_block: bool) -> None:
        self._log_floor = math.log(floor) if floor else -math.inf
        self._known = log_scale is not None
        self._scale = -math.inf if log_scale is None else log_scale
        self._seen = self._scale
        self._fixed_in_block = fixed_in_block
        self._first = True

    def begin(self, block: int) -> None:
        """A block begins: what was seen before it, in this pass, is settled.

        A conditional pass whose floor knew the pass that its reference is from would not leave the target invariant.
        """
        self._first = block == 0
        if self._known:
            return
        if self._first:
            self._seen = -math.inf
        self._scale = self._seen

    def saw(self, log_potentials: Iterable[float]) -> None:
        """Rollouts of this total log potential were drawn."""
        if self._known:
            return
        self._seen = max(self._seen, max(log_potentials, default=-math.inf))
        if self._first or not self._fixed_in_block:
            self._scale = self._seen

    @property
    def settled(self) -> bool:
        """Whether L^ is a function of the particle alone in this block."""
        return self._known or (self._fixed_in_block and not self._first)

    @property
    def adaptive(self) -> bool:
        """Whether the scale follows the run."""
        return not self._known and self._seen > -math.inf

    @property
    def log_floor(self) -> float:
        """log of the floor; -inf for none."""
        return self._log_floor + (self._scale if self._scale > -math.inf else 0.0)
