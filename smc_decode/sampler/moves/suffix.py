"""Metropolis-Hastings regeneration of a suffix: one engine call a step. The formula is in laws/metropolis.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from smc_decode.events import Rejuvenated
from smc_decode.laws.metropolis import accepts, draw_cut, is_low_reward_duplicate, log_acceptance
from smc_decode.sampler.context import RunContext
from smc_decode.sampler.lookahead import Rollouts
from smc_decode.sampler.proposal import DrawRequest
from smc_decode.sampler.recycle import with_both_ends
from smc_decode.sampler.state import Extension, LiveParticle, State, Step


def suffix_moves(context: RunContext, rollouts: Rollouts | None) -> Sequence[SuffixMove]:
    """``rejuvenation.steps`` moves, one after the other."""
    return [SuffixMove(context, rollouts, step) for step in range(context.config.rejuvenation.steps)]


class SuffixMove:
    """Cut a particle somewhere, regenerate the rest from q up to the block's end, accept by Metropolis-Hastings."""

    def __init__(self, context: RunContext, rollouts: Rollouts | None, step: int) -> None:
        self._context = context
        self._settings = context.config.rejuvenation
        self._rollouts = rollouts
        self._step = step

    @property
    def inexact(self) -> str | None:
        """What of it biases log Z^."""
        if self._settings.mode == "paper":
            return "rejuvenation.mode 'paper' moves low-reward copies only, and towards Target II: a heuristic"
        if self._settings.when == "resampled":
            return "rejuvenation.when 'resampled' depends on the particles that are moved"
        return None

    @property
    def estimates_z(self) -> bool:
        """Towards another target than the weights' there is none."""
        return self._settings.mode in ("exact", "corrected")

    def due(self, block: int, state: State) -> bool:
        """By schedule, or (``when="resampled"``) where the block was resampled; and while the target is raised."""
        if state.cut is not None:
            return False
        if state.last:
            return self._settings.scheduled(block) or not state.at_target
        if self._rollouts is not None and not self._rollouts.floor.settled:
            return False
        return self._settings.scheduled(block) or (self._settings.when == "resampled" and state.history[-1].resampled)

    def first_cut(self, block: int) -> int:
        """How many tokens a move after ``block`` leaves alone. It depends on the block only, so that both directions
        of a move have the same window."""
        window = self._settings.window
        return 0 if window is None else max(block + 1 - window, 0) * self._context.config.block_size

    async def __call__(self, state: State) -> Step:
        """Propose a new suffix for every particle that may move, and accept or not.

        Raises BudgetSpent where the token budget does not hold a whole proposal for everyone: a proposal that is cut
        short would not be a draw from q.
        """
        start = self.first_cut(state.block)
        movers = [
            i
            for i, particle in enumerate(state.particles)
            if len(particle.trajectory) > start and self._may_move(particle)
        ]
        async with self._context.budget.limit():
            proposals = await self._propose(state, movers)
        particles = list(state.particles)
        proposed = np.zeros(len(particles), dtype=bool)
        accepted = np.zeros(len(particles), dtype=bool)
        ends: list[tuple[LiveParticle, LiveParticle, float]] = []
        for i, proposal in zip(movers, proposals, strict=True):
            old, level = particles[i], self._level(state, i)
            new = self._as_particle(proposal, old, level)
            proposed[i] = True
            log_probability = self._log_acceptance(new, old, level, start)
            accepted[i] = accepts(log_probability, self._context.noise.streams[i])
            ends.append((old, new, log_probability))
            if accepted[i]:
                particles[i] = self._corrected(new, old, level)
        moved = replace(state, particles=tuple(particles))
        if state.last and self._context.config.recycles_moves:
            stayed = [particle for particle, moves in zip(particles, proposed, strict=True) if not moves]
            moved = with_both_ends(moved, ends, stayed, self._settings.steps - self._step)
        return moved, Rejuvenated(state.block, self._step, proposed, accepted)

    def _level(self, state: State, slot: int) -> float:
        """How far the target of the particle in this slot is raised."""
        return state.level

    def _may_move(self, particle: LiveParticle) -> bool:
        if not particle.alive:
            return False
        if self._settings.mode != "paper":
            return True
        reward = particle.trajectory.reward
        return is_low_reward_duplicate(particle.is_copy, reward, self._settings.reward_threshold)

    async def _propose(self, state: State, movers: Sequence[int]) -> list[Extension]:
        """Each mover's new trajectory with its L^, drawn afresh."""
        context, end = self._context, self._context.end_of(state.block)
        start = self.first_cut(state.block)
        cuts = [draw_cut(len(state.particles[i].trajectory), context.noise.streams[i], start) for i in movers]
        context.budget.check(sum(end - cut for cut in cuts))
        requests = []
        temperature = context.target.temperature(state.level)
        for i, cut in zip(movers, cuts, strict=True):
            head = state.particles[i].trajectory.head(cut, context.config.block_size)
            sequence = await context.proposal.fork(state.particles[i].sequence, cut)
            requests.append(DrawRequest(head, sequence, end, context.noise.seed(i), temperature))
        drawn = await context.proposal.extend(requests, account="mh", arrived=context.scorer.arrived)
        scored = await context.scorer.score(drawn)
        proposals = [Extension(t, request.sequence) for t, request in zip(scored, requests, strict=True)]
        # What is proposed carries L^ where the particles that it is compared with do.
        return await self._looked_ahead(proposals, movers) if state.looks and not state.last else proposals

    async def _looked_ahead(self, proposals: list[Extension], movers: Sequence[int]) -> list[Extension]:
        if self._rollouts is None:
            return proposals
        ahead = [j for j, proposal in enumerate(proposals) if self._rollouts.wanted(proposal.trajectory)]
        estimated = await self._rollouts.look_ahead([proposals[j] for j in ahead], [movers[j] for j in ahead])
        for j, proposal in zip(ahead, estimated, strict=True):
            proposals[j] = proposal
        return proposals

    def _as_particle(self, proposal: Extension, old: LiveParticle, level: float) -> LiveParticle:
        log_importance = self._context.target.log_over_proposal(proposal.trajectory, level) + proposal.log_value
        return replace(
            old,
            trajectory=proposal.trajectory,
            sequence=proposal.sequence,
            log_importance=log_importance,
            log_value=proposal.log_value,
            rollouts=proposal.rollouts,
        )

    def _log_acceptance(self, new: LiveParticle, old: LiveParticle, level: float, start: int) -> float:
        log_new, log_old = self._log_invariant(new, level), self._log_invariant(old, level)
        return log_acceptance(log_new, log_old, len(new.trajectory) - start, len(old.trajectory) - start)

    def _log_invariant(self, particle: LiveParticle, level: float) -> float:
        """log eta / q, where eta is what the move leaves invariant: gamma_k L^ of the run, or of Target II."""
        if self._settings.mode == "exact":
            return particle.log_importance
        log_powered = self._context.target.log_over_proposal(particle.trajectory, level, target="powered")
        return log_powered + particle.log_value

    def _corrected(self, new: LiveParticle, old: LiveParticle, level: float) -> LiveParticle:
        """An accepted particle; in ``corrected`` mode its weight takes the ratio of Target I to Target II along."""
        if self._settings.mode != "corrected":
            return new
        log_new = new.log_importance - self._log_invariant(new, level)
        log_old = old.log_importance - self._log_invariant(old, level)
        return replace(new, log_weight=old.log_weight + log_new - log_old)
