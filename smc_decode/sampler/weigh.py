"""Weigh: ask the potential, and give each particle its incremental weight.

w_k = prod m/q * psi_k * L^_k / L^_{k-1}, on the stored denominators (docs/method.md, equation 3).
"""

from __future__ import annotations

from dataclasses import replace

from smc_decode.events import Weighted
from smc_decode.laws.targets import log_increment
from smc_decode.sampler.context import RunContext
from smc_decode.sampler.state import Extension, LiveParticle, State, Step
from smc_decode.sampler.tempering import Tempering


class Score:
    """Puts the potential's answers on the extensions. Raises BudgetSpent, PotentialError and RewardFailure."""

    def __init__(self, context: RunContext) -> None:
        self._context = context

    async def __call__(self, state: State) -> Step:
        """The state with scored extensions; there is nothing to tell yet."""
        extensions = list(state.extensions)
        asked = [i for i, each in enumerate(extensions) if each.moved and not each.dropped]
        async with self._context.budget.limit(grace=state.cut == "deadline"):
            scored = await self._context.scorer.score([extensions[i].trajectory for i in asked])
        for i, trajectory in zip(asked, scored, strict=True):
            extensions[i] = extensions[i].to(trajectory)
        return replace(state, extensions=tuple(extensions)), None


class Weigh:
    """Algorithm 1, line "weigh". ``tempering``: the schedule of a target that is raised; None: it is as requested."""

    def __init__(self, context: RunContext, tempering: Tempering | None = None) -> None:
        self._target = context.target
        self._tempering = tempering

    async def __call__(self, state: State) -> Step:
        """The extensions as particles. Where all weights are zero the state is dead, and there is nothing to tell."""
        if not state.extensions:
            return self._raised_further(state)
        level = state.level
        if self._tempering is not None:
            level = self._tempering.level_for(level, list(zip(state.particles, state.extensions, strict=True)))
        particles = tuple(
            self._weighed(particle, extension, level)
            for particle, extension in zip(state.particles, state.extensions, strict=True)
        )
        weighed = replace(state, particles=particles, extensions=(), level=level)
        if weighed.dead:
            return weighed, None
        return weighed.recorded(), self._weighted(weighed)

    def _weighed(self, particle: LiveParticle, extension: Extension, level: float) -> LiveParticle:
        if extension.dropped:
            return particle.dead()
        if not extension.moved:
            return particle if self._tempering is None else self._tempering.reweighed(particle, level)
        log_importance = self._target.log_over_proposal(extension.trajectory, level) + extension.log_value
        increment = log_increment(log_importance, particle.log_importance)
        return LiveParticle(
            extension.trajectory,
            extension.sequence,
            particle.log_weight + extension.log_correction + increment,
            log_importance,
            extension.log_value,
            extension.rollouts,
        )

    def _raised_further(self, state: State) -> Step:
        """After the last block: one more step of the target towards the requested one."""
        if self._tempering is None:
            return state, None
        raised = self._tempering.raised_further(state)
        return raised.recorded(anew=True), self._weighted(raised)

    def _weighted(self, state: State) -> Weighted:
        rewards = [particle.trajectory.reward for particle in state.particles]
        return Weighted(state.block, state.log_weights, rewards, state.ess, state.log_mean, state.level)
