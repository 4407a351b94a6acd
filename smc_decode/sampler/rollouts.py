"""Rollouts at work: drawing and valuing them, taking one as a next block, reading the anytime posterior.

The formulas are in lookahead.py; docs/method.md, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from smc_decode.config import SMCConfig
from smc_decode.engines.base import LiveSequence
from smc_decode.laws.lookahead import (
    Floor,
    Rollout,
    agree,
    choose_rollouts,
    log_lookahead,
    log_rollout_value,
)
from smc_decode.result import Usage
from smc_decode.sampler.budget import Budget
from smc_decode.sampler.proposal import Job, Proposer
from smc_decode.sampler.scoring import Scorer
from smc_decode.sampler.state import Population, Step
from smc_decode.sampler.trajectory import Path

Estimate = tuple[float, tuple[Rollout, ...]]
"""log L^ and the rollouts behind it."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose future is looked at: a path, its sequence, the rollouts carried over, and the slot whose stream pays."""

    path: Path
    sequence: LiveSequence
    carried: tuple[Rollout, ...]
    slot: int


class Lookout:
    """The lookahead of one run. ``seed``: a fresh engine seed from a slot's stream."""

    def __init__(
        self,
        config: SMCConfig,
        proposer: Proposer,
        scorer: Scorer,
        floor: Floor,
        budget: Budget,
        usage: Usage,
        seed: Callable[[int], int],
    ) -> None:
        self._config = config
        self._look = config.lookahead
        self._proposer = proposer
        self._scorer = scorer
        self._floor = floor
        self._budget = budget
        self._usage = usage
        self._seed = seed

    @property
    def _always_drawn(self) -> int:
        return self._look.min_rollouts or self._look.rollouts

    def wanted(self, path: Path) -> bool:
        """Whether this path's L^ is estimated, not 1."""
        return self._look.rollouts > 0 and not path.finished and path.log_potential != -math.inf

    # ---- estimating L^ ----------------------------------------------------------------------------------------

    async def look_ahead(self, holders: Sequence[Holder]) -> list[Estimate]:
        """log L^ for each holder: one engine call, and one more where adaptive rollouts disagree."""
        held = [list(holder.carried) for holder in holders]
        await self._draw(holders, held, [self._always_drawn - len(old) for old in held])
        self._value(holders, held)
        if self._look.min_rollouts is not None:
            unsure = [not agree([rollout.log_value for rollout in some], self._look.agreement) for some in held]
            more = [self._look.rollouts - len(h) if u else 0 for h, u in zip(held, unsure, strict=True)]
            await self._draw(holders, held, more)
            self._value(holders, held)
        return [(log_lookahead([rollout.log_value for rollout in some]), tuple(some)) for some in held]

    async def _draw(self, holders: Sequence[Holder], held: list[list[Rollout]], wanted: Sequence[int]) -> None:
        """Draw ``wanted`` more rollouts for each holder, in one engine call."""
        config, look = self._config, self._look
        temperature = config.temperature if look.temperature is None else look.temperature
        jobs: list[Job] = []
        owners: list[int] = []
        for h, (holder, number) in enumerate(zip(holders, wanted, strict=True)):
            length = len(holder.path)
            end = config.max_tokens if look.horizon is None else min(length + look.horizon, config.max_tokens)
            for _ in range(max(number, 0)):
                fork = await self._proposer.fork(holder.sequence, length)
                jobs.append(Job(holder.path, fork, end, self._seed(holder.slot), temperature))
                owners.append(h)
        if not jobs:
            return
        share = self._budget.share([job.end - len(job.path) for job in jobs])
        jobs = [replace(job, end=len(job.path) + s) for job, s in zip(jobs, share, strict=True)]
        paths = await self._proposer.extend(jobs, account="rollout", arrived=self._scorer.arrived)
        drawn = await self._scorer.score(paths)
        for h, job, path in zip(owners, jobs, drawn, strict=True):
            held[h].append(Rollout(path, job.sequence))

    def _value(self, holders: Sequence[Holder], held: list[list[Rollout]]) -> None:
        """Value every rollout relative to its holder's path. Rollouts that were carried over may be shared: copied."""
        self._floor.saw(rollout.path.log_potential or 0.0 for some in held for rollout in some)
        log_floor = self._floor.log_floor
        for holder, some in zip(holders, held, strict=True):
            prefix = holder.path.log_potential or 0.0
            for j, rollout in enumerate(some):
                total, log_zeta = rollout.path.log_potential or 0.0, self._log_zeta(rollout.path, holder.path)
                some[j] = replace(rollout, log_value=log_rollout_value(total, prefix, log_zeta, log_floor))

    def _log_zeta(self, rollout: Path, prefix: Path) -> float:
        return sum(rollout.log_z[len(prefix) :]) if self._config.target == "powered" else 0.0

    # ---- reuse ------------------------------------------------------------------------------------------------

    @property
    def reuses(self) -> bool:
        """Whether rollouts become blocks: exact for rollouts drawn at the proposal temperature."""
        look = self._look
        return look.reuse and look.rollouts > 0 and look.temperature in (None, self._config.temperature)

    async def take_blocks(self, population: Population, steps: list[Step], end: int, rng: np.random.Generator) -> None:
        """Give each particle one of its rollouts as its next block; what is beyond ``end`` stays a rollout."""
        copies: dict[int, list[int]] = {}
        for i, particle in enumerate(population):
            if particle.active and particle.rollouts:
                copies.setdefault(id(particle.rollouts), []).append(i)
        for members in copies.values():
            # Only rollouts that are drawn in any case may be chosen: how many others there are depends on values.
            eligible = population[members[0]].rollouts[: self._always_drawn]
            choices = choose_rollouts([r.log_value for r in eligible], len(members), self._look.choice, rng)
            for i, choice in zip(members, choices, strict=True):
                rollout = eligible[choice.index]
                path = rollout.path.head(end, self._config.block_size)
                if not rollout.reused:
                    self._usage.reused += len(rollout.path) - len(population[i].path)
                    rollout.reused = True
                carried = (rollout,) if len(path) < len(rollout.path) else ()
                sequence = await self._proposer.fork(rollout.sequence, len(path))
                steps[i] = Step(path, sequence, carried, choice.log_correction)

    # ---- the anytime posterior --------------------------------------------------------------------------------

    def futures(self, population: Population) -> list[tuple[Path, float]]:
        """(complete path, unnormalised log-weight): properly weighted for gamma; empty where a rollout is cut short.

        A rollout stands for its particle with weight w / L^ * zeta * (future psi) / J: the floor is not in it.
        """
        futures = []
        for particle in population:
            if not particle.alive:
                continue
            if particle.path.finished:
                futures.append((particle.path, particle.log_weight))
                continue
            for rollout in particle.rollouts:
                if not rollout.path.finished:
                    return []
                gain = (rollout.path.log_potential or 0.0) - (particle.path.log_potential or 0.0)
                gain += self._log_zeta(rollout.path, particle.path) - math.log(len(particle.rollouts))
                futures.append((rollout.path, particle.log_weight - particle.log_value + gain))
        return futures
