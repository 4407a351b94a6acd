"""Recycling: the complete answers that rollouts are, kept with their weights, are part of the final population.

docs/method.md, section 5 ("Recycling").
"""

from __future__ import annotations

import math
from dataclasses import replace

from smc_decode.config import SMCConfig
from smc_decode.laws.recycling import log_share
from smc_decode.laws.weights import log_sum_exp
from smc_decode.sampler.lookahead import Rollouts
from smc_decode.sampler.state import LiveParticle, Pool, Population, State, Step
from smc_decode.sampler.trajectory import Trajectory


class Recycle:
    """Algorithm 1, after "weigh": adds the block's weighted rollouts to the pool, by their share."""

    def __init__(self, config: SMCConfig, rollouts: Rollouts, n_blocks: int) -> None:
        self._rollouts = rollouts
        self._n_blocks = n_blocks
        # A block that is a rollout is in the pool already; moves and fresh draws bring something new.
        self._keep_last = not rollouts.reusable or bool(config.rejuvenation.steps)

    async def __call__(self, state: State) -> Step:
        """The state with a larger pool; there is nothing to tell. Rollouts that are not complete are no answers."""
        if state.last or state.over:
            return state, None
        share = log_share(state.block, self._n_blocks, keep_last=self._keep_last)
        futures = self._rollouts.futures(state.particles)
        if not futures:
            return state, None
        shared = tuple((trajectory, log_weight + share) for trajectory, log_weight in futures)
        pool = Pool((*state.pool.answers, *shared), state.pool.share + math.exp(share))
        return replace(state, pool=pool), None


def pooled(state: State) -> Population:
    """The pool and, for the share that is left, the particles, as one population with the evidence of both.

    The weights sum to N times the estimate of Z. Identical sequences are one particle. Where the pass ended before
    its particles did, the pool alone stands for it.
    """
    if state.pool.answers and any(particle.active for particle in state.particles):
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
