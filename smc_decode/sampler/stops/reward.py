"""Ends a search at an answer that is good enough, and goes on without what cannot become one.

docs/method.md, section 10 ("Growing passes, and stopping at a reward").
"""

from __future__ import annotations

from dataclasses import replace

from smc_decode.sampler.state import LiveParticle, State, Step
from smc_decode.sampler.trajectory import Trajectory


class RewardReached:
    """Ends the run at the first complete answer with at least this reward. Only what is alive counts."""

    inexact = "stop_at_reward ends the run at a time that depends on what was drawn: a search"

    def __init__(self, reward: float) -> None:
        self._reward = reward

    async def after(self, state: State, block: int) -> Step:
        """Only complete answers can be returned where the others were not brought to an end."""
        if state.cut is not None or not any(map(self._reaches, state.particles)):
            return state, None
        kept = tuple(p if p.trajectory.finished else p.dead() for p in state.particles)
        return replace(state, particles=kept, stopped="reward_reached"), None

    def _reaches(self, particle: LiveParticle) -> bool:
        reward = particle.trajectory.reward
        return particle.alive and particle.trajectory.finished and reward is not None and reward >= self._reward


class SetAside:
    """Takes what cannot reach the wanted reward out of the pass, which goes on without it.

    It is not lost: where nothing better comes, it is what is chosen from. With nothing left the pass is over.
    """

    inexact = None

    def __init__(self, reward: float) -> None:
        self._reward = reward

    def hopeless(self, trajectory: Trajectory) -> bool:
        """Whether the search has nothing to hope for from this trajectory."""
        return not trajectory.can_reach(self._reward)

    async def after(self, state: State, block: int) -> Step:
        """The population without what is hopeless."""
        hopeless = [p.alive and self.hopeless(p.trajectory) for p in state.particles]
        if not any(hopeless):
            return state, None
        aside = tuple(p for p, out in zip(state.particles, hopeless, strict=True) if out)
        left = tuple(p.dead() if out else p for p, out in zip(state.particles, hopeless, strict=True))
        state = replace(state, particles=left, set_aside=(*state.set_aside, *aside)).recorded(anew=True)
        return (replace(state, stopped="complete") if state.dead else state), None
