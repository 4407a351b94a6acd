"""Adaptive tempering: the first stages aim at a softer target, which is raised by bisection of the ESS.

docs/method.md, section 8 ("Bridging", as the configuration calls it).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from smc_decode.laws.targets import log_increment
from smc_decode.laws.tempering import next_level
from smc_decode.sampler.context import RunContext
from smc_decode.sampler.state import Extension, LiveParticle, State
from smc_decode.sampler.trajectory import Trajectory

MIN_RISE = 1e-4
"""A smaller rise after the last block means that the potential jumps: no small step keeps the ESS."""


class Tempering:
    """How far the target of a run is raised, and weights that follow it."""

    def __init__(self, context: RunContext) -> None:
        self._target = context.target
        self._ess = context.config.bridge.ess
        self._n = context.config.n_particles

    inexact = "bridge raises the target by the population's own ESS: log Z^ is consistent, not unbiased"

    def level_for(self, level: float, population: Sequence[tuple[LiveParticle, Extension]]) -> float:
        """The highest level from ``level`` on that keeps the ESS of the population, extended."""
        if level == 1.0 or any(extension.trajectory.log_potential is None for _, extension in population):
            return level
        return next_level(
            lambda tried: np.array([self._log_weight(*pair, tried) for pair in population]), level, self._ess, self._n
        )

    def _log_weight(self, particle: LiveParticle, extension: Extension, level: float) -> float:
        if not particle.alive or extension.dropped:
            return -math.inf
        return particle.log_weight + self._increment(particle, extension.trajectory, level)

    def _increment(self, particle: LiveParticle, trajectory: Trajectory, level: float) -> float:
        return log_increment(self._target.log_over_proposal(trajectory, level), particle.log_importance)

    def reweighed(self, particle: LiveParticle, level: float) -> LiveParticle:
        """The particle, not extended, weighed for the target at ``level``."""
        if not particle.alive:
            return particle
        log_importance = self._target.log_over_proposal(particle.trajectory, level) + particle.log_value
        log_weight = particle.log_weight + log_increment(log_importance, particle.log_importance)
        return replace(particle, log_importance=log_importance, log_weight=log_weight)

    def raised_further(self, state: State) -> State:
        """One more step up for a population at its end, to exactly 1 where a step would be too small."""
        pairs = [(p, Extension(p.trajectory, p.sequence)) for p in state.particles]
        level = self.level_for(state.level, pairs)
        return self.raised_to(state, 1.0 if level - state.level < MIN_RISE else level)

    def raised_to(self, state: State, level: float) -> State:
        """The population weighed for the target at ``level``."""
        return replace(state, particles=tuple(self.reweighed(p, level) for p in state.particles), level=level)
