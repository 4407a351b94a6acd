"""Adaptive bridging: how far the target may be raised at a block. docs/method.md, section 8."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from smc_decode.config import SMCConfig
from smc_decode.laws.targets import TargetLaw, log_increment
from smc_decode.laws.weights import Floats, effective_sample_size
from smc_decode.sampler.state import LiveParticle, Population, Step

_LEAST_RISE = 1e-4
"""A smaller rise after the last block means that the potential jumps: no small step keeps the ESS."""


def next_bridge(log_weights: Callable[[float], Floats], current: float, ess: float, n: int) -> float:
    """The largest bridge in [current, 1] whose weights keep an ESS of ``ess`` * n, by bisection (Jasra et al. 2011).

    Args:
        log_weights: the population's log-weights, shape (N,), as a function of the bridge.
        current: the bridge so far; the result is never below it. Exactly 1.0 where the whole step keeps the ESS.
    """
    if effective_sample_size(log_weights(1.0)) >= ess * n:
        return 1.0
    low, high = current, 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        if effective_sample_size(log_weights(middle)) >= ess * n:
            low = middle
        else:
            high = middle
    return low


class Bridge:
    """How far up the target of one run is: 1 is the requested one, and the value from the start without bridging."""

    def __init__(self, config: SMCConfig, law: TargetLaw) -> None:
        self.bridging = config.bridge.alpha or config.bridge.reward
        self.value = 0.0 if self.bridging else 1.0
        self._config = config
        self._law = law

    @property
    def temperature(self) -> float:
        """The proposal temperature at this point: 1/alpha follows alpha."""
        if self._config.bridge.alpha and self._config.proposal_temperature is None:
            return 1.0 / self._law.alpha(self.value)
        return self._config.temperature

    def raise_for(self, population: Population, steps: Sequence[Step]) -> None:
        """Raise the target as far as the ESS of the population, extended by ``steps``, allows."""
        if self.value == 1.0 or any(step.path.log_potential is None for step in steps):
            return
        self.value = next_bridge(
            lambda bridge: np.array([self._log_weight(*pair, bridge) for pair in zip(population, steps, strict=True)]),
            self.value,
            self._config.bridge.ess,
            self._config.n_particles,
        )

    def _log_weight(self, particle: LiveParticle, step: Step, bridge: float) -> float:
        if not particle.alive or step.dropped:
            return -math.inf
        log_target = self._law.log_over_proposal(step.path, bridge)
        return particle.log_weight + log_increment(log_target, particle.log_target)

    def raise_further(self, population: Population) -> Population:
        """After the last block: raise by one step, to exactly 1 where a step would be too small; the weights follow."""
        before = self.value
        self.raise_for(population, [Step(particle.path, particle.sequence) for particle in population])
        if self.value - before < _LEAST_RISE:
            self.value = 1.0
        return self.reweighed(population)

    def reweighed(self, population: Population, but: Sequence[int] = ()) -> Population:
        """The particles (all but those at the indices ``but``) weighed for the target as it is now."""
        if not self.bridging:
            return population
        weighed = list(population)
        for i, particle in enumerate(population):
            if i not in but and particle.alive:
                log_target = self._law.log_over_proposal(particle.path, self.value) + particle.log_value
                log_weight = particle.log_weight + log_increment(log_target, particle.log_target)
                weighed[i] = replace(particle, log_target=log_target, log_weight=log_weight)
        return weighed
