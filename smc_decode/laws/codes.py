"""Codes: one uniform number that several tokens are drawn by, so that draws of one prefix can be spread evenly.

Arithmetic sampling (Vilnis et al. 2023, arXiv 2210.15458): a sequence is drawn by the inverse of its distribution
function from one number u, token by token; given a token, what u was within that token's interval is uniform again. N
numbers that are 1/N apart draw N sequences that differ as evenly as q allows, and each alone still has the law q.
"""

from __future__ import annotations

import math
from collections.abc import Callable

CODE_BITS = 20.0
"""A code has 53 bits. Once tokens have taken so many it is spent, and fresh numbers follow: each draw from it had 33
bits at least, and sequences whose codes were spread evenly have parted long before."""

BELOW_ONE = 1.0 - 2.0**-53
"""The largest number below one."""
_NOTHING = 2.0**-64


def lattice(shift: float, n: int) -> list[float]:
    """n numbers in [0, 1), each 1/n after the one before, turned by ``shift`` in [0, 1).

    With a uniform shift each alone is uniform, and they are as far apart as can be (systematic sampling).
    """
    return [min((shift + i / n) % 1.0, BELOW_ONE) for i in range(n)]


class Code:
    """A code while it has bits. ``value``: in [0, 1), None once it is spent or where there is none."""

    __slots__ = ("_bits", "value")

    def __init__(self, value: float | None) -> None:
        self.value = value
        self._bits = 0.0

    def spend(self, probability: float, left: float) -> None:
        """A token of this probability was drawn by it, and it was at ``left``, in [0, 1), of the token's interval."""
        if self.value is None:
            return
        # What is left of all known tokens may round to nothing.
        self._bits -= math.log2(max(probability, _NOTHING))
        self.value = None if self._bits >= CODE_BITS else left


class Uniforms:
    """The numbers that one sequence's tokens are drawn by: a code while it has bits, then fresh ones.

    Args:
        code: in [0, 1); None: fresh numbers from the start.
        fresh: gives the next of them.
    """

    __slots__ = ("_code", "_fresh", "_value")

    def __init__(self, code: float | None, fresh: Callable[[], float]) -> None:
        self._code = Code(code)
        self._fresh = fresh

    @property
    def code(self) -> float | None:
        """What is left of the code."""
        return self._code.value

    def next(self) -> float:
        """The number for the next choice."""
        self._value = self._fresh() if self._code.value is None else self._code.value
        return self._value

    def chose(self, before: float, probability: float) -> None:
        """The last number fell into [before, before + probability): the code is now where in it, if bits are left."""
        if self._code.value is not None:
            left = (self._value - before) / max(probability, _NOTHING)
            self._code.spend(probability, min(max(left, 0.0), BELOW_ONE))
