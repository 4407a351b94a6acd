"""The state of a pass: a weighted population, as an immutable value. Each step of Algorithm 1 makes the next one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from smc_decode.engines.base import LiveSequence
from smc_decode.events import Event
from smc_decode.laws.resampling import Indices, Offspring
from smc_decode.laws.weights import Floats, effective_sample_size, log_mean_exp, normalise
from smc_decode.result import StopCause, Usage
from smc_decode.sampler.trajectory import Trajectory


@dataclass(frozen=True, eq=False, slots=True)
class Rollout:
    """One drawn future: the whole trajectory (particle's prefix included) and the engine's sequence of it.

    ``log_value`` is relative to the particle that holds it. ``reused``: its tokens count as reused already.
    """

    trajectory: Trajectory
    sequence: LiveSequence
    log_value: float = 0.0
    reused: bool = False


@dataclass(frozen=True, slots=True)
class LiveParticle:
    """A particle: its trajectory, the engine's sequence of it, and what its next weight needs.

    ``log_weight`` is unnormalised and carries the evidence. ``log_importance``: log gamma L^ / q at its stage.
    ``log_value``: the stored log L^. ``rollouts``: what it was estimated from.
    """

    trajectory: Trajectory
    sequence: LiveSequence
    log_weight: float = 0.0
    log_importance: float = 0.0
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
        return self.alive and not self.trajectory.finished

    def dead(self) -> LiveParticle:
        """The same particle, of weight zero."""
        return replace(self, log_weight=-math.inf)


Population = tuple[LiveParticle, ...]


@dataclass(frozen=True, slots=True)
class Extension:
    """A particle's next trajectory, not weighed yet. ``carried``: rollouts of it that are left of the chosen one.
    ``log_correction``: of a rollout chosen by weight. ``log_value``, ``rollouts``: its new L^, once it is estimated.
    ``dropped``: cut off by the deadline. ``moved``: to be weighed anew (its particle was not complete or dead)."""

    trajectory: Trajectory
    sequence: LiveSequence
    carried: tuple[Rollout, ...] = ()
    log_correction: float = 0.0
    log_value: float = 0.0
    rollouts: tuple[Rollout, ...] = ()
    dropped: bool = False
    moved: bool = True

    def to(self, trajectory: Trajectory, sequence: LiveSequence | None = None) -> Extension:
        """The same extension at another trajectory (one that was drawn further, or scored), before its L^."""
        sequence = self.sequence if sequence is None else sequence
        return Extension(trajectory, sequence, self.carried, self.log_correction, moved=self.moved)


@dataclass(frozen=True, slots=True)
class BlockRecord:
    """What the result says of a block: its ESS, each particle's parent, and whether it was resampled."""

    ess: float
    ancestors: Indices
    resampled: bool = False


@dataclass(frozen=True, slots=True)
class Pool:
    """Complete answers that rollouts brought, with log-weights that have their block's share in them, and the sum of
    the shares so far."""

    answers: tuple[tuple[Trajectory, float], ...] = ()
    share: float = 0.0


@dataclass(frozen=True)
class State:
    """A population in the middle of a pass.

    Attributes:
        particles: weighted for the stage that ``block`` ended with, or, while there are ``extensions``, for the one
            before it.
        block: the block at work, from 0.
        extensions: the particles' next trajectories, one each, between the steps that draw and weigh them.
        last: nothing follows this block but moves: L^ = 1.
        cut: the budget that ended here, if one did: this block is the last.
        looks: whether L^ is estimated at this block, where there is lookahead; before the first rollouts it is 1.
        level: how far the target is raised; 1 is the requested one.
        set_aside: particles that a search goes on without.
        pool: what was recycled so far.
        history: one record for each block that was weighed.
        before: the account when the block began.
        stopped: why the pass is over; None while it is not.
    """

    particles: Population
    block: int = 0
    extensions: tuple[Extension, ...] = ()
    last: bool = False
    cut: StopCause | None = None
    looks: bool = True
    level: float = 1.0
    set_aside: Population = ()
    pool: Pool = Pool()
    history: tuple[BlockRecord, ...] = ()
    before: Usage = field(default_factory=Usage)
    stopped: StopCause | None = None

    @cached_property
    def log_weights(self) -> Floats:
        """Unnormalised log-weights, shape (N,)."""
        return np.array([particle.log_weight for particle in self.particles])

    @cached_property
    def weights(self) -> Floats:
        """Normalised weights, shape (N,). Raises ValueError where all are zero."""
        return normalise(self.log_weights)

    @cached_property
    def ess(self) -> float:
        """The effective sample size; 0 where all weights are zero."""
        return effective_sample_size(self.log_weights)

    @cached_property
    def log_mean(self) -> float:
        """log of the mean weight: the estimate of the evidence so far."""
        return log_mean_exp(self.log_weights)

    @property
    def dead(self) -> bool:
        """Whether no particle has a positive weight."""
        return self.log_mean == -math.inf

    @property
    def over(self) -> bool:
        """Whether the pass is over."""
        return self.stopped is not None or self.dead

    @property
    def at_target(self) -> bool:
        """Whether the weights are for the requested target, not a softer one."""
        return self.level == 1.0

    def recorded(self, *, anew: bool = False) -> State:
        """The state with its ESS on record: as another block's, or (``anew``) in place of the last one's."""
        if anew:
            return replace(self, history=(*self.history[:-1], replace(self.history[-1], ess=self.ess)))
        return replace(self, history=(*self.history, BlockRecord(self.ess, np.arange(len(self.particles)))))

    def resampled(self, offspring: Offspring) -> State:
        """The offspring: copies share trajectory, rollouts and stored L^, and the evidence stays in the weights."""
        seen: set[int] = set()
        children = []
        for ancestor, log_weight in zip(offspring.ancestors.tolist(), offspring.log_weights.tolist(), strict=True):
            parent = self.particles[ancestor]
            children.append(replace(parent, log_weight=self.log_mean + log_weight, is_copy=ancestor in seen))
            seen.add(ancestor)
        record = replace(self.history[-1], ancestors=offspring.ancestors, resampled=True)
        return replace(self, particles=tuple(children), history=(*self.history[:-1], record))

    def sequences(self) -> Iterator[LiveSequence]:
        """Every engine sequence that the population holds."""
        for particle in (*self.particles, *self.set_aside):
            yield particle.sequence
            for rollout in particle.rollouts:
                yield rollout.sequence


Step = tuple[State, Event | None]
"""What every step of the algorithm gives: the next state, and what there is to tell of it."""


def common_prefix(trajectories: Sequence[Trajectory]) -> tuple[int, ...]:
    """The longest prefix that all trajectories share."""
    token_ids = [trajectory.token_ids for trajectory in trajectories]
    low, high = min(token_ids), max(token_ids)
    for i, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return low[:i]
    return low[: min(len(low), len(high))]
