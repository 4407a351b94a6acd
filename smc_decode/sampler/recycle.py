"""Recycling: the complete answers that rollouts are, kept with their weights, are part of the final population.

docs/method.md, section 5 ("Recycling").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from smc_decode.config import SMCConfig
from smc_decode.laws.recycling import log_share
from smc_decode.laws.weights import log_sum_exp
from smc_decode.sampler.lookahead import Rollouts
from smc_decode.sampler.state import LiveParticle, Pool, Population, State, Step
from smc_decode.sampler.trajectory import Trajectory


class Recycle:
    """Algorithm 1, after "weigh": adds the block's weighted rollouts to the pool, by their share."""

    def __init__(self, config: SMCConfig, rollouts: Rollouts, n_blocks: int, first: int = 0) -> None:
        """``first``: the block that the first rollouts follow."""
        self._rollouts = rollouts
        self._n_blocks = n_blocks
        self._first = first
        # A block that is a rollout is in the pool already; moves and fresh draws bring something new.
        self._keep_last = not rollouts.reusable or bool(config.rejuvenation.steps)

    async def __call__(self, state: State) -> Step:
        """The state with a larger pool; there is nothing to tell. Rollouts that are not complete are no answers."""
        if state.last or state.over or state.block < self._first:
            return state, None
        share = log_share(state.block - self._first, self._n_blocks - self._first, keep_last=self._keep_last)
        futures = self._rollouts.futures(state.particles)
        if not futures:
            return state, None
        shared = tuple((trajectory, log_weight + share) for trajectory, log_weight in futures)
        pool = Pool((*state.pool.answers, *shared), state.pool.share + math.exp(share))
        return replace(state, pool=pool), None


def with_both_ends(
    state: State,
    ends: Sequence[tuple[LiveParticle, LiveParticle, float]],
    stayed: Sequence[LiveParticle],
    steps_left: int,
) -> State:
    """The state after a move of the last block, with (old, new, log acceptance) of everybody who may have moved, and
    those who ``stayed`` in any case, in its pool.

    A kernel that leaves the target invariant keeps weights proper, and so does its expectation given the proposal:
    1 - a of a particle's weight stays where it was, a goes to what was proposed. Every step has an equal share of what
    is left, this one included in ``steps_left``; nothing is left for the population after the last.
    """
    share = 1.0 - (1.0 - state.pool.share) * (steps_left - 1) / steps_left
    each = math.log(share - state.pool.share) if share > state.pool.share else -math.inf
    answers = list(state.pool.answers)
    answers += [(particle.trajectory, particle.log_weight + each) for particle in stayed if particle.alive]
    for old, new, log_acceptance in ends:
        stays = math.log(-math.expm1(log_acceptance)) if log_acceptance < 0.0 else -math.inf
        answers.append((old.trajectory, old.log_weight + each + stays))
        answers.append((new.trajectory, old.log_weight + each + log_acceptance))
    return replace(state, pool=Pool(tuple(answers), share))


def pooled(state: State) -> Population:
    """The pool and, for the share that is left, the particles, as one population with the evidence of both.

    The weights sum to N times the estimate of Z. Identical sequences are one particle. Where the pass ended before
    its particles did, the pool alone stands for it.
    """
    if not state.pool.answers:
        return state.particles
    if any(particle.active for particle in state.particles):
        answers = [(trajectory, weight - math.log(state.pool.share)) for trajectory, weight in state.pool.answers]
    else:
        answers = list(state.pool.answers)
        if (left := 1.0 - state.pool.share) > 0.0:
            answers += [(p.trajectory, p.log_weight + math.log(left)) for p in state.particles if p.alive]
    sequence = next(state.sequences())  # of complete answers nobody reads it
    merged: dict[tuple[int, ...], tuple[Trajectory, list[float]]] = {}
    for trajectory, log_weight in answers:
        if log_weight > -math.inf:
            merged.setdefault(trajectory.token_ids, (trajectory, []))[1].append(log_weight)
    return tuple(
        LiveParticle(trajectory, sequence, log_sum_exp(log_weights)) for trajectory, log_weights in merged.values()
    )
