"""Tells the anytime posterior over final answers, and ends the run once one answer holds enough of it.

docs/method.md, section 5 ("Anytime posterior").
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

from smc_decode.answers.selection import Key, answer_key, groups
from smc_decode.events import Posterior
from smc_decode.laws.weights import log_sum_exp, normalise
from smc_decode.sampler.lookahead import Rollouts
from smc_decode.sampler.state import LiveParticle, State, Step


class PosteriorDecided:
    """Reads the weighted rollouts after each block, or all that were recycled by then.

    ``share``: the mass at which an answer is decided; None: never.
    """

    def __init__(self, rollouts: Rollouts, share: float | None, key: Key, *, recycling: bool) -> None:
        self._rollouts = rollouts
        self._recycling = recycling
        self._share = share
        self._key = key
        self._tokens = answer_key("tokens", None)

    @property
    def inexact(self) -> str | None:
        """Runs that it did not end are those that it would not have ended: what is left of them is biased too."""
        if self._share is None:
            return None
        return "lookahead.early_stop ends runs at a time that depends on what was drawn"

    async def after(self, state: State, block: int) -> Step:
        """The state as it is, or, decided, with its rollouts as the population."""
        posterior = None if state.last else self._posterior(state, block)
        if posterior is None or not await self._decided(posterior):
            return state, posterior
        if not self._recycling:
            state = take_rollouts(state, self._rollouts)
        return replace(state, stopped="early_stop"), posterior

    def _posterior(self, state: State, block: int) -> Posterior | None:
        futures = list(state.pool.answers) if self._recycling else self._rollouts.futures(state.particles)
        log_weights = [log_weight for _, log_weight in futures]
        if log_sum_exp(log_weights) == -math.inf:
            return None
        answers = [trajectory.token_ids for trajectory, _ in futures]
        merged = groups(answers, normalise(log_weights).tolist(), self._tokens)
        return Posterior(block, [(answers[first], mass) for mass, (first, *_) in merged])

    async def _decided(self, posterior: Posterior) -> bool:
        if self._share is None:
            return False
        answers, weights = zip(*posterior.answers, strict=True)
        # Extractors may take their time over hostile text: not in the event loop.
        merged = await asyncio.to_thread(groups, answers, weights, self._key)
        return merged[0][0] >= self._share


def take_rollouts(state: State, rollouts: Rollouts) -> State:
    """The population becomes the weighted rollouts: complete answers, with the same evidence."""
    futures = rollouts.futures(state.particles)
    if log_sum_exp([log_weight for _, log_weight in futures]) == -math.inf:
        return state
    shift = math.log(len(futures)) - math.log(len(state.particles))
    sequence = next(state.sequences())  # of complete answers nobody reads it
    taken = tuple(LiveParticle(trajectory, sequence, log_weight + shift) for trajectory, log_weight in futures)
    return replace(state, particles=taken)
