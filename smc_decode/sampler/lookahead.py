"""Lookahead: rollouts drawn and valued, one of them taken as a next block, the anytime posterior read from them.

The formulas are in laws/lookahead.py; docs/method.md, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from smc_decode.config import Lookahead
from smc_decode.engines.base import LiveSequence
from smc_decode.events import RolledOut
from smc_decode.laws.lookahead import agree, choose_rollouts, log_lookahead, log_rollout_value
from smc_decode.result import StopCause
from smc_decode.sampler.budget import BudgetSpent
from smc_decode.sampler.context import RunContext
from smc_decode.sampler.extend import as_it_is
from smc_decode.sampler.floor import Floor
from smc_decode.sampler.proposal import DrawRequest
from smc_decode.sampler.state import Extension, Population, Rollout, State, Step
from smc_decode.sampler.trajectory import Trajectory


class Rollouts:
    """The rollouts of one run: how they are drawn and what they are worth. The floor's scale is its only memory."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._look: Lookahead = context.config.lookahead
        self.floor = Floor(self._look.floor, context.log_scale, fixed_in_block=bool(context.config.rejuvenation.steps))
        self.shortened: StopCause | None = None

    @property
    def always_drawn(self) -> int:
        """J, or the number that is drawn whatever their values are."""
        return self._look.min_rollouts or self._look.rollouts

    @property
    def reusable(self) -> bool:
        """Whether rollouts become blocks: exact for rollouts drawn at the proposal temperature."""
        return self._look.reuse and self._look.temperature in (None, self._context.config.temperature)

    def wanted(self, trajectory: Trajectory) -> bool:
        """Whether this trajectory's L^ is estimated, not 1."""
        return not trajectory.finished and trajectory.log_potential != -math.inf

    async def look_ahead(self, extensions: Sequence[Extension], slots: Sequence[int]) -> list[Extension]:
        """The extensions with log L^ and the rollouts behind it.

        One engine call, and one more where adaptive rollouts disagree. ``slots``: whose noise pays for each.
        """
        held = await self._carried(extensions, slots)
        await self._draw(extensions, slots, held, [self.always_drawn - len(some) for some in held])
        self._value(extensions, held)
        if self._look.min_rollouts is not None:
            unsure = [not agree([rollout.log_value for rollout in some], self._look.agreement) for some in held]
            more = [self._look.rollouts - len(some) if u else 0 for some, u in zip(held, unsure, strict=True)]
            await self._draw(extensions, slots, held, more)
            self._value(extensions, held)
        return [
            replace(each, log_value=log_lookahead([rollout.log_value for rollout in some]), rollouts=tuple(some))
            for each, some in zip(extensions, held, strict=True)
        ]

    # ---- drawing ----------------------------------------------------------------------------------------------

    async def _carried(self, extensions: Sequence[Extension], slots: Sequence[int]) -> list[list[Rollout]]:
        """What is left of the rollouts that were taken, as long as a fresh rollout would be.

        With a horizon a carried rollout ends where the shorter prefix's did; left like that, L^ would not be a
        function of what fresh rollouts are drawn from, and moves would compare unlike things.
        """
        held = [list(extension.carried) for extension in extensions]
        if self._look.horizon is None:
            return held
        short = [
            (h, j)
            for h, some in enumerate(held)
            for j, rollout in enumerate(some)
            if not rollout.trajectory.finished and len(rollout.trajectory) < self._end(extensions[h])
        ]
        drawn = await self._drawn(
            [(held[h][j].trajectory, held[h][j].sequence, self._end(extensions[h]), slots[h]) for h, j in short]
        )
        for (h, j), (trajectory, sequence) in zip(short, drawn, strict=True):
            held[h][j] = replace(held[h][j], trajectory=trajectory, sequence=sequence)
        return held

    async def _draw(
        self,
        extensions: Sequence[Extension],
        slots: Sequence[int],
        held: list[list[Rollout]],
        wanted: Sequence[int],
    ) -> None:
        """Draw ``wanted`` more rollouts for each extension, in one engine call."""
        owners = [h for h, number in enumerate(wanted) for _ in range(number)]
        drawn = await self._drawn(
            [(extensions[h].trajectory, extensions[h].sequence, self._end(extensions[h]), slots[h]) for h in owners]
        )
        for h, (trajectory, sequence) in zip(owners, drawn, strict=True):
            held[h].append(Rollout(trajectory, sequence))

    def _end(self, extension: Extension) -> int:
        """How many tokens a rollout of this extension has at most."""
        longest = self._context.config.max_tokens
        horizon = self._look.horizon
        return longest if horizon is None else min(len(extension.trajectory) + horizon, longest)

    async def _drawn(
        self, futures: Sequence[tuple[Trajectory, LiveSequence, int, int]]
    ) -> list[tuple[Trajectory, LiveSequence]]:
        """(trajectory, sequence, end, slot) continued on a fork of its own, and scored."""
        context = self._context
        temperature = context.config.rollout_temperature
        requests = []
        for trajectory, sequence, end, slot in futures:
            fork = await context.proposal.fork(sequence, len(trajectory))
            requests.append(DrawRequest(trajectory, fork, end, context.noise.seed(slot), temperature))
        if not requests:
            return []
        fitting, cause = context.within_budget(requests)
        self.shortened = self.shortened or cause
        drawn = await context.proposal.extend(fitting, account="rollout", arrived=context.scorer.arrived)
        scored = await context.scorer.score(drawn)
        return [(trajectory, request.sequence) for trajectory, request in zip(scored, requests, strict=True)]

    # ---- valuing ----------------------------------------------------------------------------------------------

    def _value(self, extensions: Sequence[Extension], held: list[list[Rollout]]) -> None:
        """Value every rollout relative to its extension. Rollouts that were carried over may be shared: copied."""
        self.floor.saw(rollout.trajectory.log_potential or 0.0 for some in held for rollout in some)
        log_floor = self.floor.log_floor
        for extension, some in zip(extensions, held, strict=True):
            prefix, length = extension.trajectory.log_potential or 0.0, len(extension.trajectory)
            for j, rollout in enumerate(some):
                total = rollout.trajectory.log_potential or 0.0
                log_zeta = self._context.target.log_future(rollout.trajectory, length)
                some[j] = replace(rollout, log_value=log_rollout_value(total, prefix, log_zeta, log_floor))

    def futures(self, population: Population) -> list[tuple[Trajectory, float]]:
        """(complete trajectory, unnormalised log-weight): properly weighted for gamma; empty where a rollout is cut
        short.

        A rollout stands for its particle with weight w / L^ * prod m/q * (future psi) / J: the floor is not in it.
        """
        if not self._context.target.weighs_rollouts:
            return []
        futures = []
        for particle in population:
            if not particle.alive:
                continue
            if particle.trajectory.finished:
                futures.append((particle.trajectory, particle.log_weight))
                continue
            # How many more there are depends on the values of these.
            held = particle.rollouts[: self.always_drawn]
            if not held:
                return []
            for rollout in held:
                if not rollout.trajectory.finished:
                    return []
                gain = (rollout.trajectory.log_potential or 0.0) - (particle.trajectory.log_potential or 0.0)
                gain += self._context.target.log_rollout_weight(rollout.trajectory, len(particle.trajectory))
                gain -= math.log(len(held))
                futures.append((rollout.trajectory, particle.log_weight - particle.log_value + gain))
        return futures

    # ---- why a run with rollouts is not exact -----------------------------------------------------------------

    @property
    def inexact(self) -> str | None:
        """What of the lookahead biases log Z^, if anything does."""
        if self._context.config.rejuvenation.steps and self.floor.adaptive:
            return "the lookahead floor's scale followed the run while particles moved (the potential declares none)"
        if self.shortened:
            return f"{self.shortened} shortened rollouts"
        if not self._look.floor:
            return "lookahead.floor is 0: a particle whose rollouts all fail is lost, and E[Z^] < Z"
        return None


class TakeRollouts:
    """A start: each particle's next block is one of its rollouts; what is beyond the block stays a rollout of it."""

    def __init__(self, context: RunContext, rollouts: Rollouts) -> None:
        self._context = context
        self._rollouts = rollouts

    async def __call__(self, state: State, end: int) -> list[Extension]:
        """Extensions by rollouts for the particles that have some, and as they are for the others."""
        extensions = [as_it_is(particle) for particle in state.particles]
        for members in self._copies(state.particles):
            parent = state.particles[members[0]]
            # Only rollouts that are drawn in any case may be chosen: how many others there are depends on values.
            eligible = parent.rollouts[: self._rollouts.always_drawn]
            choices = choose_rollouts(
                [rollout.log_value for rollout in eligible],
                len(members),
                self._context.config.lookahead.choice,
                self._context.noise.rng,
            )
            self._account(len(parent.trajectory), [eligible[choice.index] for choice in choices])
            for i, choice in zip(members, choices, strict=True):
                extensions[i] = await self._taken(eligible[choice.index], choice.log_correction, end)
        return extensions

    @staticmethod
    def _copies(population: Population) -> list[list[int]]:
        """The indices of the particles with rollouts, those that share them together."""
        copies: dict[int, list[int]] = {}
        for i, particle in enumerate(population):
            if particle.active and particle.rollouts:
                copies.setdefault(id(particle.rollouts), []).append(i)
        return list(copies.values())

    def _account(self, length: int, taken: Sequence[Rollout]) -> None:
        """Count each rollout's tokens, beyond the ``length`` that their particle has, as reused once."""
        new = {id(rollout): rollout for rollout in taken if not rollout.reused}
        self._context.usage.reused += sum(len(rollout.trajectory) - length for rollout in new.values())

    async def _taken(self, rollout: Rollout, log_correction: float, end: int) -> Extension:
        trajectory = rollout.trajectory.head(end, self._context.config.block_size)
        carried = () if trajectory is rollout.trajectory else (replace(rollout, reused=True),)
        sequence = await self._context.proposal.fork(rollout.sequence, len(trajectory))
        return Extension(trajectory, sequence, carried, log_correction)


class LookAhead:
    """Algorithm 1, line "look ahead": estimates L^ of what was extended.

    ``hopeless``: trajectories that a search has nothing to hope for from need no estimate. ``first``: the block that
    the first rollouts follow; before it L^ is 1.
    """

    def __init__(
        self, context: RunContext, rollouts: Rollouts, hopeless: Callable[[Trajectory], bool], first: int = 0
    ) -> None:
        self._first = first
        self._context = context
        self._rollouts = rollouts
        self._hopeless = hopeless

    async def __call__(self, state: State) -> Step:
        """The state with L^ on its extensions; it is 1 at the last block, also where a budget ends here."""
        self._rollouts.floor.begin(state.block)
        if state.looks != (state.block >= self._first):
            state = replace(state, looks=not state.looks)
        if not state.extensions or state.last or not state.looks:
            return state, None
        ahead = [i for i, each in enumerate(state.extensions) if self._wanted(each)]
        try:
            async with self._context.budget.limit(grace=state.cut == "deadline"):
                estimated = await self._rollouts.look_ahead([state.extensions[i] for i in ahead], ahead)
        except BudgetSpent as spent:
            return replace(state, last=True, cut=spent.cause), self._rolled_out(state)
        extensions = list(state.extensions)
        for i, extension in zip(ahead, estimated, strict=True):
            extensions[i] = extension
        state = replace(state, extensions=tuple(extensions))
        return state, self._rolled_out(state)

    def _wanted(self, extension: Extension) -> bool:
        trajectory = extension.trajectory
        if not extension.moved or extension.dropped or self._hopeless(trajectory):
            return False
        return self._rollouts.wanted(trajectory)

    def _rolled_out(self, state: State) -> RolledOut | None:
        pairs = zip(state.particles, state.extensions, strict=True)
        if not any(p.alive and not e.dropped and e.trajectory.log_potential != -math.inf for p, e in pairs):
            return None
        usage, before = self._context.usage, state.before
        values = np.array(
            [
                extension.log_value if extension.moved else particle.log_value
                for particle, extension in zip(state.particles, state.extensions, strict=True)
            ]
        )
        return RolledOut(state.block, values, usage.rollout - before.rollout, usage.reused - before.reused)
