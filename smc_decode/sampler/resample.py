"""Resample: N W_i expected offspring for each particle, where the weights degenerate. docs/method.md, section 6."""

from __future__ import annotations

import numpy as np

from smc_decode.events import Resampled
from smc_decode.laws.resampling import Offspring, multinomial, resample
from smc_decode.laws.weights import Floats
from smc_decode.sampler.context import RunContext
from smc_decode.sampler.state import State, Step


class Resample:
    """Algorithm 1, line "resample": where ESS < kappa N, never after the last block."""

    def __init__(self, context: RunContext, first: int = 0) -> None:
        """``first``: no block before this one is resampled."""
        self._first = first
        self._scheme = context.config.resampling
        self._threshold = context.config.ess_threshold
        self._rng = context.noise.rng

    def __call__(self, state: State) -> Step:
        """The state's offspring, or the state as it is where that is not due."""
        if not self._due(state):
            return state, None
        resampled = state.resampled(self._offspring(state.weights, len(state.particles)))
        return resampled, Resampled(state.block, resampled.history[-1].ancestors)

    def _due(self, state: State) -> bool:
        if state.last:  # while the target is still raised there is more to weigh
            return not state.at_target and state.cut is None
        if state.block < self._first:
            return False
        return self._threshold >= 1.0 or state.ess < self._threshold * len(state.particles)

    def _offspring(self, weights: Floats, n: int) -> Offspring:
        return resample(self._scheme, weights, n, self._rng)


class ResampleConditionally(Resample):
    """The reference survives in slot 0; the others are drawn independently (Andrieu, Doucet and Holenstein 2010)."""

    def _offspring(self, weights: Floats, n: int) -> Offspring:
        rest = multinomial(weights, n - 1, self._rng).ancestors
        return Offspring(np.concatenate([[0], rest]), np.zeros(n))
