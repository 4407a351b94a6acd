"""Lookahead: stored value estimates L^ from rollouts, and rollouts reused as the next block.

docs/method.md, "Lookahead". L^_k(x) estimates the expected product of the future potentials (times the future z for
Target II). It is *stored with the particle*: the next increment divides by the stored value, so that any positive
L^ leaves the final target and E[Z^] = Z as they are. It is never redrawn for the denominator.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smc_decode.laws.weights import log_mean_exp, log_sum_exp, normalise


def log_rollout_value(rollout: float, prefix: float, log_zeta: float, log_floor: float) -> float:
    """log of one rollout's value: zeta * (product of all its psi, plus the floor) / (product of the prefix's psi).

    Args:
        rollout, prefix: log potential of the whole rollout (may be -inf) and of the particle's prefix (finite).
        log_zeta: sum of log z_t over the rollout's new tokens (0 for Target I).
        log_floor: log of the floor, in the units of a whole sequence's potential; -inf for none.

    With the floor, a particle whose rollouts all fail keeps a positive value: L^ = 0 would kill it, and E[Z^] < Z.
    """
    return log_zeta + float(np.logaddexp(rollout, log_floor)) - prefix


def log_lookahead(log_values: Sequence[float]) -> float:
    """log L^ = log mean_j of the rollouts' values."""
    return log_mean_exp(log_values)


def agree(log_values: Sequence[float], tolerance: float) -> bool:
    """Whether the rollouts' values spread by no more than ``tolerance``, relative to their mean."""
    if max(log_values) == -math.inf:
        return True
    values = np.exp(np.asarray(log_values) - max(log_values))
    return bool(values.std() <= tolerance * values.mean())


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rollout becomes a copy's next block, and log 1 / (J pi_a), which the next increment adds."""

    index: int
    log_correction: float


def choose_rollouts(log_values: Sequence[float], copies: int, rule: str, rng: np.random.Generator) -> list[Choice]:
    """For each of ``copies`` copies of a particle, a rollout drawn uniformly or with pi_a proportional to its value.

    Copies are spread over the rollouts as evenly as the law allows; each copy's own law is exact, which is all that
    the expectation of the next weights needs. A fresh draw for surplus copies would not do: their number depends on
    the rollouts through the weights (docs/method.md, "Reuse").
    """
    count = len(log_values)
    if rule == "uniform":
        order = rng.permutation(count)
        return [Choice(int(order[copy % count]), 0.0) for copy in range(copies)]
    probabilities = normalise(log_values)
    points = (np.arange(copies) + rng.random()) / copies
    chosen = np.minimum(np.searchsorted(np.cumsum(probabilities), points, side="right"), count - 1)
    rng.shuffle(chosen)
    log_total = log_sum_exp(log_values)
    return [Choice(int(a), log_total - log_values[a] - math.log(count)) for a in chosen]
