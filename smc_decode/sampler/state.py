"""The particles of a run, while it runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from smc_decode.engines.base import LiveSequence
from smc_decode.laws.lookahead import Rollout
from smc_decode.laws.resampling import Offspring
from smc_decode.laws.weights import Floats, log_mean_exp
from smc_decode.sampler.trajectory import Path


@dataclass(slots=True)
class LiveParticle:
    """A particle: its path, the engine's sequence of it, and what its next weight needs.

    ``log_weight`` is unnormalised and carries the evidence. ``log_target``: log gamma L^ / q at its stage.
    ``log_value``: the stored log L^. ``rollouts``: what it was estimated from.
    """

    path: Path
    sequence: LiveSequence
    log_weight: float = 0.0
    log_target: float = 0.0
    log_value: float = 0.0
    rollouts: tuple[Rollout, ...] = ()
    is_copy: bool = False

    @property
    def alive(self) -> bool:
        """Of positive weight."""
        return self.log_weight > -math.inf

    @property
    def active(self) -> bool:
        """Alive and not complete: to be extended."""
        return self.alive and not self.path.finished


Population = list[LiveParticle]


@dataclass(slots=True)
class Step:
    """A particle's next path, not weighed yet. ``carried``: rollouts of it that are left of the chosen one.
    ``log_correction``: of a rollout chosen by weight. ``dropped``: cut off by the deadline."""

    path: Path
    sequence: LiveSequence
    carried: tuple[Rollout, ...] = ()
    log_correction: float = 0.0
    dropped: bool = False


def log_weights(population: Population) -> Floats:
    """Unnormalised log-weights, shape (N,)."""
    return np.array([particle.log_weight for particle in population])


def offspring_of(population: Population, offspring: Offspring) -> Population:
    """The resampled population: copies share path, rollouts and stored L^, and the evidence stays in the weights."""
    log_mean = log_mean_exp(log_weights(population))
    seen: set[int] = set()
    children = []
    for ancestor, log_weight in zip(offspring.ancestors.tolist(), offspring.log_weights.tolist(), strict=True):
        parent = population[ancestor]
        children.append(replace(parent, log_weight=log_mean + log_weight, is_copy=ancestor in seen))
        seen.add(ancestor)
    return children


def common_prefix(population: Sequence[LiveParticle]) -> tuple[int, ...]:
    """The longest prefix that all particles share."""
    paths = [particle.path.token_ids for particle in population]
    low, high = min(paths), max(paths)
    for i, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return low[:i]
    return low[: min(len(low), len(high))]
