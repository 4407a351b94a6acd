"""Intervals, tests and estimators of the reports. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np

Z95 = 1.959963984540054


def wilson(successes: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval for a proportion (JASA 22, 1927)."""
    if n == 0:
        return 0.0, 1.0
    p = successes / n
    centre = p + z * z / (2 * n)
    spread = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test, from the two numbers of discordant pairs."""
    n = only_first + only_second
    tail = sum(math.comb(n, k) for k in range(min(only_first, only_second) + 1)) / 2**n
    return float(min(1.0, 2 * tail))


def paired_bootstrap(
    first: Sequence[float], second: Sequence[float], *, draws: int = 10_000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of ``second - first`` over problems and its 95% percentile interval, problems resampled in pairs."""
    if len(first) != len(second) or not first:
        raise ValueError("a paired bootstrap needs the same problems, at least one, in both")
    difference = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    rng = np.random.default_rng(seed)
    means = difference[rng.integers(0, len(difference), (draws, len(difference)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(difference.mean()), float(low), float(high)


def pass_at_k(n: int, passed: int, k: int) -> float:
    """Unbiased estimate that one of k samples passes, from ``passed`` of n (Chen et al., arXiv 2107.03374)."""
    if not 1 <= k <= n:
        raise ValueError(f"pass@k needs 1 <= k <= n, got k={k}, n={n}")
    return 1.0 - math.comb(n - passed, k) / math.comb(n, k)


def best_of_k(rewards: Sequence[float], passed: Sequence[float], k: int) -> float:
    """How often best-of-k passes: the mean over all k-subsets of the samples, ties broken at random.

    With the samples sorted by reward, the best of a random subset lies in a group of equal rewards with probability
    [C(n_<=, k) - C(n_<, k)] / C(n, k), where n_<= and n_< count samples up to and below the group.
    """
    n = len(rewards)
    if not 1 <= k <= n or len(passed) != n:
        raise ValueError(f"best-of-k needs 1 <= k <= n and one mark a reward, got k={k}, n={n}, {len(passed)} marks")
    total, below = 0.0, 0
    for _, members in groupby(sorted(zip(rewards, passed, strict=True)), key=lambda pair: pair[0]):
        marks = [mark for _, mark in members]
        upto = below + len(marks)
        chance = (math.comb(upto, k) - math.comb(below, k)) / math.comb(n, k)
        total += chance * math.fsum(marks) / len(marks)
        below = upto
    return total
