"""Extend: every unfinished particle by a block, x_k ~ q(. | x_{1:k-1}).

Where a particle's next block comes from is a *start*: its own end (most passes), one of its rollouts (lookahead with
reuse), or a path that is given (the reference of a conditional pass).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from smc_decode.events import BlockExtended
from smc_decode.result import StopCause
from smc_decode.sampler.budget import BudgetSpent
from smc_decode.sampler.context import RunContext
from smc_decode.sampler.proposal import DrawRequest
from smc_decode.sampler.state import Extension, LiveParticle, State, Step
from smc_decode.sampler.trajectory import Trajectory

Start = Callable[[State, int], Awaitable[list[Extension]]]
"""(state, end of the block in tokens) -> the first part of each particle's extension."""


async def from_own_end(state: State, end: int) -> list[Extension]:
    """Every particle goes on where it is."""
    return [as_it_is(particle) for particle in state.particles]


def as_it_is(particle: LiveParticle) -> Extension:
    """The particle's own trajectory, not extended yet."""
    return Extension(particle.trajectory, particle.sequence, moved=particle.active)


class Extend:
    """Algorithm 1, line "extend".

    Args:
        follows: whether something may still happen to a population that is complete when this block ends (moves that
            are scheduled: to leave them out would depend on what they move; docs/method.md, "When to move").
    """

    def __init__(self, context: RunContext, start: Start, follows: Callable[[int], bool]) -> None:
        self._context = context
        self._start = start
        self._follows = follows

    async def __call__(self, state: State) -> Step:
        """The state with an extension for each particle. Raises BudgetSpent where nothing could be drawn."""
        if state.last:  # the target is still being raised: there is nothing to draw
            return state, None
        before = replace(self._context.usage)
        end = self._context.end_of(state.block)
        extensions = await self._start(state, end)
        extensions, cut = await self._drawn(extensions, end, self._context.target.temperature(state.level))
        last = state.block == self._context.n_blocks - 1 or cut is not None or self._complete(state.block, extensions)
        extended = replace(state, extensions=tuple(extensions), last=last, cut=cut, before=before)
        return extended, BlockExtended(
            state.block,
            [extension.trajectory.token_ids for extension in extensions],
            [extension.trajectory.finished for extension in extensions],
            self._context.usage.sampled - before.sampled,
        )

    def _complete(self, block: int, extensions: Sequence[Extension]) -> bool:
        unfinished = any(each.moved and not each.trajectory.finished for each in extensions)
        return not unfinished and not self._follows(block)

    async def _drawn(
        self, extensions: list[Extension], end: int, temperature: float
    ) -> tuple[list[Extension], StopCause | None]:
        """What is missing up to ``end``, drawn in one engine call."""
        context, noise = self._context, self._context.noise
        wanting = [i for i, each in enumerate(extensions) if _wants_tokens(each, end)]
        requests = []
        used: set[int] = set()
        for i in wanting:
            trajectory, sequence = extensions[i].trajectory, extensions[i].sequence
            if id(sequence) in used or len(trajectory) == 0:  # copies share a sequence until they differ
                sequence = await context.proposal.fork(sequence, len(trajectory))
            used.add(id(sequence))
            requests.append(DrawRequest(trajectory, sequence, end, noise.seed(i), temperature))
        drawn, cut = await draw(context, requests)
        for number, i in enumerate(wanting):
            if number in drawn:
                extensions[i] = extensions[i].to(drawn[number], requests[number].sequence)
            else:
                extensions[i] = replace(extensions[i], dropped=True)
        return extensions, cut


def _wants_tokens(extension: Extension, end: int) -> bool:
    trajectory = extension.trajectory
    return extension.moved and not trajectory.finished and len(trajectory) < end


async def draw(context: RunContext, requests: Sequence[DrawRequest]) -> tuple[dict[int, Trajectory], StopCause | None]:
    """The requests' trajectories by index, for the particles' account; and the budget that ended meanwhile.

    At a budget's end they are shorter (tokens), or those that were drawn by then (time). Raises BudgetSpent where
    there is nothing at all.
    """
    if not requests:
        return {}, None
    requests, cut = context.within_budget(requests)
    done: dict[int, Trajectory] = {}
    try:
        async with context.budget.limit():
            await context.proposal.extend(requests, account="sampled", done=done, arrived=context.scorer.arrived)
    except BudgetSpent as spent:
        if not done:
            raise
        cut = spent.cause
    return done, cut
