"""Lookahead: stored value estimates L^ from rollouts, and rollouts reused as the next block.

docs/method.md, "Lookahead". L^_k(x) estimates the expected product of the future potentials (times the future z for
Target II). It is *stored with the particle*: the next increment divides by the stored value, so that any positive
L^ leaves the final target and E[Z^] = Z as they are. It is never redrawn for the denominator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from smc_decode.engines.base import LiveSequence
from smc_decode.laws.weights import log_mean_exp, log_sum_exp, normalise
from smc_decode.sampler.trajectory import Path


@dataclass(eq=False, slots=True)
class Rollout:
    """One drawn future: the whole path (particle's prefix included) and the engine's sequence of it.

    ``log_value`` is relative to the particle that holds it. ``reused``: its tokens already count as reused.
    """

    path: Path
    sequence: LiveSequence
    log_value: float = 0.0
    reused: bool = False


def log_rollout_value(rollout: float, prefix: float, log_zeta: float, log_floor: float) -> float:
    """log of one rollout's value: zeta * (product of all its psi, plus the floor) / (product of the prefix's psi).

    Args:
        rollout, prefix: log potential of the whole rollout (may be -inf) and of the particle's prefix (finite).
        log_zeta: sum of log z_t over the rollout's new tokens (0 for Target I).
        log_floor: log of the floor, in the units of a whole sequence's potential; -inf for none.

    With the floor, a particle whose rollouts all fail keeps a positive value: L^ = 0 would kill it, and E[Z^] < Z.
    """
    return log_zeta + float(np.logaddexp(rollout, log_floor)) - prefix


class Floor:
    """The floor of L^, in units of the largest product of potentials (``log_scale``; None: the largest seen so far).

    Moves need L^ to be a function of the particle alone. With ``fixed_in_block`` (there are moves) a scale that is
    not known therefore comes from earlier blocks only; in the first, which has none, it follows the population and
    the run must not move (:attr:`settled`). docs/method.md, "The floor".
    """

    def __init__(self, floor: float, log_scale: float | None, *, fixed_in_block: bool) -> None:
        self._log_floor = math.log(floor) if floor > 0 else -math.inf
        self._known = log_scale is not None
        self._scale = -math.inf if log_scale is None else log_scale
        self._seen = self._scale
        self._fixed_in_block = fixed_in_block
        self._first = True

    def begin(self, block: int) -> None:
        """A block begins: what was seen before it is settled."""
        self._first = block == 0
        if not self._known:
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
