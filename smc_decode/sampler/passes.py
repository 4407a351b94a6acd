"""The schedule of a run: one pass, growing passes, or a pass and conditional ones after it (particle Gibbs).

docs/method.md, sections 9 and 10.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace

from smc_decode.engines.base import LiveSequence
from smc_decode.errors import AllParticlesDead
from smc_decode.events import Event, Rejuvenated
from smc_decode.laws.resampling import multinomial
from smc_decode.laws.weights import log_sum_exp, normalise
from smc_decode.result import StopCause
from smc_decode.sampler.assemble import Parts
from smc_decode.sampler.budget import BudgetSpent
from smc_decode.sampler.recycle import pooled
from smc_decode.sampler.smc_pass import Algorithm, smc_pass
from smc_decode.sampler.state import LiveParticle, Population, State
from smc_decode.sampler.trajectory import Trajectory

Amend = Callable[[Algorithm], Algorithm]
"""Replaces parts of each pass's algorithm."""


@dataclass(frozen=True, slots=True)
class Harvest:
    """What the passes so far have brought.

    Attributes:
        state: the last state of the last pass.
        population: what a draw is taken from: the last pass's particles, or, where a budget cut that one short, those
            of the pass before it.
        passes: the particles of each pass that counts.
        size: how many particles those passes had.
        log_z: the estimate of log Z; of conditional passes only the first counts.
        stopped: why the run ended.
        proposed, accepted: moves, over all passes.
    """

    state: State
    population: Population = ()
    passes: tuple[Population, ...] = ()
    size: int = 0
    log_z: float = -math.inf
    stopped: StopCause = "complete"
    proposed: int = 0
    accepted: int = 0

    @property
    def drawn(self) -> Population:
        """The particles of all passes."""
        return tuple(particle for population in self.passes for particle in population)

    @property
    def answer_length(self) -> int | None:
        """The median number of tokens of the complete answers so far; None: there is none."""
        lengths = sorted(len(p.trajectory) for p in self.drawn if p.alive and p.trajectory.finished)
        return lengths[len(lengths) // 2] if lengths else None

    @property
    def cut_short(self) -> bool:
        """Whether a budget ended the run."""
        return self.stopped in ("max_total_tokens", "max_total_rows", "deadline")

    def moved(self, event: Event | None) -> Harvest:
        """The same, with the moves that ``event`` tells of."""
        if not isinstance(event, Rejuvenated):
            return self
        proposed, accepted = int(event.proposed.sum()), int(event.accepted.sum())
        return replace(self, proposed=self.proposed + proposed, accepted=self.accepted + accepted)


Gathered = tuple[Harvest, Event | None]


class Schedule:
    """The passes of one run. ``root``: the sequence of the bare prompt. ``amend``: what is changed in each pass."""

    def __init__(self, parts: Parts, root: LiveSequence, amend: Amend | None = None) -> None:
        self._parts = parts
        self._config = parts.context.config
        self._root = root
        self._amend = amend or (lambda algorithm: algorithm)
        self.nothing_yet = Harvest(State(()))

    async def __call__(self) -> AsyncGenerator[Gathered, None]:
        """Every step of every pass; the last harvest is the run's. Raises AllParticlesDead."""
        harvest = self.nothing_yet
        for size in self._config.pass_sizes:
            if harvest.stopped == "complete":
                async with aclosing(self._fresh(harvest, size)) as steps:
                    async for harvest, event in steps:
                        yield harvest, event
        log_weights = [particle.log_weight for particle in harvest.drawn]
        harvest = replace(harvest, log_z=log_sum_exp(log_weights) - math.log(harvest.size))
        for _ in range(self._config.n_sweeps - 1):
            if harvest.stopped == "complete":
                async with aclosing(self._conditional(harvest)) as steps:
                    async for harvest, event in steps:
                        yield harvest, event
        yield harvest, None

    # ---- the two kinds of pass --------------------------------------------------------------------------------

    async def _fresh(self, harvest: Harvest, size: int) -> AsyncGenerator[Gathered, None]:
        """An SMC pass of ``size`` particles, independent of those before it: their particles make one population."""
        unfinished = [p.sequence for p in harvest.drawn if not p.trajectory.finished]
        held = [self._root, *unfinished] if self._config.n_passes > 1 else unfinished
        pass_ = self._steps(harvest, self._parts.algorithm(held, harvest.answer_length), size, self._parts.first_level)
        async with aclosing(pass_) as steps:
            async for harvest, event in steps:
                yield harvest, event
        yield self._gathered(harvest), None

    def _gathered(self, harvest: Harvest) -> Harvest:
        """The harvest with the pass that has just ended."""
        state = harvest.state
        alive_before = any(particle.alive for particle in harvest.drawn)
        particles = pooled(state) if self._parts.pools else state.particles
        size = harvest.size + len(state.particles)
        lost = not state.set_aside and not any(particle.alive for particle in particles)
        if lost and size == self._config.n_particles and not alive_before:
            raise AllParticlesDead(state.block, len(state.particles))
        if harvest.cut_short and alive_before and not state.pool.answers:
            return harvest  # the population before it: a part is no match for what is complete
        if state.set_aside:
            particles = (*(p for p in particles if p.alive), *state.set_aside)
        return replace(harvest, population=particles, passes=(*harvest.passes, particles), size=size)

    async def _conditional(self, harvest: Harvest) -> AsyncGenerator[Gathered, None]:
        """One step of particle Gibbs: a path drawn from the population is the reference of a conditional pass."""
        log_z = harvest.log_z
        weights = normalise([particle.log_weight for particle in harvest.population])
        [drawn] = multinomial(weights, 1, self._parts.context.noise.rng).ancestors.tolist()
        reference = harvest.population[drawn]
        algorithm = self._parts.conditional([self._root, reference.sequence], reference)
        async with aclosing(self._steps(harvest, algorithm, self._config.n_particles, 1.0)) as steps:
            async for harvest, event in steps:
                yield harvest, event
        if harvest.cut_short:
            return
        particles = harvest.state.particles
        # Only the first pass estimates Z: this one's weights are scaled to say so.
        shift = log_z - harvest.state.log_mean
        scaled = tuple(replace(p, log_weight=p.log_weight + shift) for p in particles)
        passes = (*harvest.passes, particles[1:])  # the first is the reference
        yield replace(harvest, population=scaled, passes=passes), None

    # ---- steps ------------------------------------------------------------------------------------------------

    async def _steps(
        self, harvest: Harvest, algorithm: Algorithm, size: int, level: float
    ) -> AsyncGenerator[Gathered, None]:
        """A pass from the prompt to its end, or to that of a budget; the last harvest has its last state."""
        state = State(tuple(LiveParticle(Trajectory(), self._root) for _ in range(size)), level=level)
        try:
            async with aclosing(smc_pass(self._amend(algorithm), state)) as steps:
                async for state, event in steps:  # noqa: B007 (the last state is the result)
                    harvest = harvest.moved(event)
                    yield harvest, event
            stopped = state.stopped or "complete"
        except BudgetSpent as spent:
            stopped = spent.cause
        yield replace(harvest, state=state, stopped=stopped), None
