"""Replica exchange: a ladder of targets from the requested one down, and swaps between its rungs.

Chain r aims at gamma_r, the target at level lambda_r: alpha_r = 1 + lambda_r (alpha - 1) (Target II) and psi^lambda_r.
Two chains swap their states x and y with probability min{1, gamma_r(y) gamma_s(x) / (gamma_r(x) gamma_s(y))}, which
leaves gamma_r x gamma_s invariant (Geyer 1991) and needs numbers only that the states have already. docs/method.md,
section 7.
"""

from __future__ import annotations

import math


def ladder(rungs: int, lowest: float) -> tuple[float, ...]:
    """The levels, from 1 (the requested target) down to ``lowest`` in equal steps."""
    if rungs == 1:
        return (1.0,)
    return tuple(1.0 - (1.0 - lowest) * rung / (rungs - 1) for rung in range(rungs))


def log_swap(here: float, there: float, here_swapped: float, there_swapped: float) -> float:
    """log of the probability that two chains swap states.

    Args:
        here, there: log gamma_r(x) and log gamma_s(y), the states as they are.
        here_swapped, there_swapped: log gamma_r(y) and log gamma_s(x).
    """
    if -math.inf in (here_swapped, there_swapped):
        return -math.inf
    return min(0.0, here_swapped + there_swapped - here - there)


def neighbours(rungs: int, step: int) -> list[tuple[int, int]]:
    """The pairs of rungs that may swap at this step: even ones and odd ones in turn."""
    return [(rung, rung + 1) for rung in range(step % 2, rungs - 1, 2)]
