"""Replica exchange (parallel tempering): chains at a ladder of targets, whose states are swapped.

Particle i is the chain on rung i modulo the number of rungs; rung 0 has the requested target. A round moves every
chain by suffix regeneration at its own target and swaps neighbours, which asks nothing of the model. What the chains
on rung 0 are after each round of the last block is the final population. docs/method.md, "Replica exchange".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from smc_decode.laws.exchange import ladder, log_swap, neighbours
from smc_decode.laws.metropolis import accepts
from smc_decode.sampler.context import RunContext
from smc_decode.sampler.lookahead import Rollouts
from smc_decode.sampler.moves import Move
from smc_decode.sampler.moves.suffix import SuffixMove
from smc_decode.sampler.state import LiveParticle, Pool, State, Step


def exchange_moves(context: RunContext, rollouts: Rollouts | None) -> Sequence[Move]:
    """``rejuvenation.steps`` rounds."""
    moves: list[Move] = []
    for step in range(context.config.rejuvenation.steps):
        moves += [LadderMove(context, rollouts, step), Swap(context, step)]
    return moves


def rung_of(slot: int, rungs: int) -> int:
    """Which rung of its ladder a particle is on."""
    return slot % rungs


class LadderMove(SuffixMove):
    """Suffix regeneration of every chain, at its own target. Dead chains move too: they take whatever is alive."""

    inexact = "replica exchange: a chain's law comes near the target with the number of rounds, and is it at no number"
    estimates_z = False

    def __init__(self, context: RunContext, rollouts: Rollouts | None, step: int) -> None:
        super().__init__(context, rollouts, step)
        self._levels = ladder(self._settings.rungs, self._settings.lowest)

    def _level(self, state: State, slot: int) -> float:
        return self._levels[rung_of(slot, len(self._levels))]

    def _may_move(self, particle: LiveParticle) -> bool:
        return True

    def _log_invariant(self, particle: LiveParticle, level: float) -> float:
        return self._context.target.log_over_proposal(particle.trajectory, level)

    def _corrected(self, new: LiveParticle, old: LiveParticle, level: float) -> LiveParticle:
        log_importance = self._context.target.log_over_proposal(new.trajectory)
        return replace(new, log_importance=log_importance, log_weight=old.log_weight if old.alive else 0.0)


class Swap:
    """Neighbours of each ladder swap states; after the last block the chains on rung 0 are kept as answers."""

    inexact = None
    estimates_z = False

    def __init__(self, context: RunContext, step: int) -> None:
        self._context = context
        self._settings = context.config.rejuvenation
        self._levels = ladder(self._settings.rungs, self._settings.lowest)
        self._step = step

    def due(self, block: int, state: State) -> bool:
        """As the moves between which it stands."""
        return state.cut is None and self._settings.scheduled(block)

    async def __call__(self, state: State) -> Step:
        """The population with its swaps made; there is nothing to tell."""
        particles = list(state.particles)
        for bottom in range(0, len(particles), len(self._levels)):
            for cold, hot in neighbours(min(len(self._levels), len(particles) - bottom), self._step):
                self._swap(particles, bottom + cold, bottom + hot)
        swapped = replace(state, particles=tuple(particles))
        return (self._kept(swapped) if state.last else swapped), None

    def _swap(self, particles: list[LiveParticle], here: int, there: int) -> None:
        x, y = particles[here], particles[there]
        log_probability = log_swap(
            self._log_target(x, here),
            self._log_target(y, there),
            self._log_target(y, here),
            self._log_target(x, there),
        )
        if accepts(log_probability, self._context.noise.streams[here]):
            particles[here], particles[there] = y, x

    def _log_target(self, particle: LiveParticle, slot: int) -> float:
        """log gamma / q at the slot's level: the one q of all cancels in the ratio."""
        return self._context.target.log_over_proposal(particle.trajectory, self._levels[slot % len(self._levels)])

    def _kept(self, state: State) -> State:
        cold = [particle for particle in state.particles[:: len(self._levels)] if particle.alive]
        rounds = self._settings.steps
        each = -math.log(rounds * len(cold)) if cold else 0.0
        answers = (*state.pool.answers, *((particle.trajectory, each) for particle in cold))
        # Nothing is left for the particles themselves, most of which have another target.
        return replace(state, pool=Pool(answers, 1.0 if answers else 0.0))
