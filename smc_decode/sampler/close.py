"""The end of a block: the sequences that nobody holds any more, the account, what can be shown; and of a pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from smc_decode.engines.base import LiveSequence
from smc_decode.events import Committed, Progress
from smc_decode.sampler.context import RunContext
from smc_decode.sampler.state import State, Step, common_prefix
from smc_decode.sampler.tempering import Tempering


class Close:
    """Lets go of what nobody holds, and goes to the next block. ``held``: sequences that later passes need."""

    def __init__(self, context: RunContext, held: Sequence[LiveSequence], tempering: Tempering | None) -> None:
        self._context = context
        self._held = held
        self._tempering = tempering

    async def __call__(self, state: State) -> Step:
        """The state at the beginning of its next block, or (the last one done, at the requested target) at its end."""
        if state.last:
            if state.cut is not None and not state.at_target and self._tempering is not None:
                state = self._tempering.raised_to(state, 1.0)
            return replace(state, stopped=(state.cut or "complete") if state.at_target else None), None
        await self._context.proposal.release([*self._held, *state.sequences()])
        return replace(state, block=state.block + 1), Progress(state.block, replace(self._context.usage))


class Commit:
    """Tells the prefix that every possible answer shares, where nothing can change it any more.

    ``final``: how many tokens, at most, nothing can change from the block on that it is told: no move cuts before, and
    no other pass follows; None: all of them.
    """

    def __init__(self, final: Callable[[int], int | None]) -> None:
        self._final = final

    async def __call__(self, state: State) -> Step:
        """The state as it is."""
        final = self._final(state.block)
        if final == 0 or state.last:
            return state, None
        shown = [p.trajectory for p in state.particles if p.alive]
        shown += [trajectory for trajectory, log_weight in state.pool.answers if log_weight > -math.inf]
        prefix = common_prefix(shown)[:final]
        known = shown[0].logprobs[: len(prefix)] if shown else ()
        return state, Committed(state.block - 1, prefix, known if len(known) == len(prefix) else ())
