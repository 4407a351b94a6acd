"""Sequential Monte Carlo decoding: the loop of Algorithm 1 (arXiv 2604.16453) as a stream of events.

The mathematics is in targets, lookahead, rejuvenation, resampling and weights; the engine and the reward are met
through their protocols only. What is exact and what is a heuristic: docs/method.md.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import numpy as np

from smc_decode.bridging import next_bridge
from smc_decode.budget import Budget, BudgetSpent
from smc_decode.config import SMCConfig
from smc_decode.engines.base import Engine, EngineRequestError, LiveSequence
from smc_decode.errors import AllParticlesDead
from smc_decode.events import (
    BlockExtended,
    Committed,
    Event,
    Finished,
    Posterior,
    Progress,
    Rejuvenated,
    Resampled,
    RolledOut,
    Started,
    Weighted,
)
from smc_decode.lookahead import Floor, Rollout, agree, choose_rollouts, log_lookahead, log_rollout_value
from smc_decode.paths import Path
from smc_decode.potentials.base import Potential
from smc_decode.proposal import Job, Proposer
from smc_decode.rejuvenation import accepts, draw_cut, is_low_reward_duplicate, log_acceptance
from smc_decode.resampling import Offspring, multinomial, resample
from smc_decode.result import Particle, SMCResult, StopCause, Usage
from smc_decode.scoring import Scorer
from smc_decode.selection import answer_key, groups, select
from smc_decode.targets import TargetLaw, log_increment
from smc_decode.weights import Floats, effective_sample_size, log_mean_exp, log_sum_exp, normalise

DEFAULT_CONFIG = SMCConfig()


async def run(
    engine: Engine,
    prompt_token_ids: Sequence[int] = (),
    potential: Potential | None = None,
    config: SMCConfig = DEFAULT_CONFIG,
    *,
    seed: int | None = None,
    n_draws: int = 1,
    prompt_text: str = "",
) -> AsyncGenerator[Event, None]:
    """Run SMC and yield what happens, ending with :class:`Finished`.

    Closing the iterator, or cancelling the task that reads it, ends the engine's work. The same seed gives the same
    run, with any reader (on a table engine exactly; on vLLM as far as its kernels allow).

    Raises:
        AllParticlesDead: nothing that was drawn has positive weight.
        EngineRequestError, PotentialError: the request cannot be served as it is.
        EngineError, RewardFailure: the engine or the reward failed.
    """
    state = _Run(engine, tuple(prompt_token_ids), potential, config, seed, n_draws, prompt_text)
    try:
        async for event in state.events():
            yield event
    finally:
        await state.proposer.release()


async def sample(
    engine: Engine,
    prompt_token_ids: Sequence[int] = (),
    potential: Potential | None = None,
    config: SMCConfig = DEFAULT_CONFIG,
    *,
    seed: int | None = None,
    n_draws: int = 1,
    prompt_text: str = "",
) -> SMCResult:
    """Run SMC and return its result. Arguments and errors as for :func:`run`."""
    events = run(engine, prompt_token_ids, potential, config, seed=seed, n_draws=n_draws, prompt_text=prompt_text)
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                return event.result
    raise RuntimeError("the run ended without a result")


def sample_sync(
    engine: Engine,
    prompt_token_ids: Sequence[int] = (),
    potential: Potential | None = None,
    config: SMCConfig = DEFAULT_CONFIG,
    *,
    seed: int | None = None,
    n_draws: int = 1,
    prompt_text: str = "",
) -> SMCResult:
    """:func:`sample` for code without an event loop."""
    return asyncio.run(
        sample(engine, prompt_token_ids, potential, config, seed=seed, n_draws=n_draws, prompt_text=prompt_text)
    )


@dataclass(slots=True)
class _Particle:
    """A particle: its path, the engine's sequence of it, and what the weights need to be told of it.

    ``log_weight`` is unnormalised and carries the evidence: it is not reset to 0 by resampling but to the log of the
    mean weight, so that (path, weight) stays properly weighted for gamma. ``log_target``: log gamma L^ / q at its
    stage. ``log_value``: the stored log L^.
    """

    path: Path
    sequence: LiveSequence
    log_weight: float = 0.0
    log_target: float = 0.0
    log_value: float = 0.0
    rollouts: tuple[Rollout, ...] = ()
    is_copy: bool = False

    @property
    def alive(self) -> bool:
        return self.log_weight > -math.inf

    @property
    def active(self) -> bool:
        return self.alive and not self.path.finished


@dataclass(slots=True)
class _Record:
    """What the result says of the blocks that were done."""

    ess: list[float] = field(default_factory=list)
    ancestors: list[np.ndarray] = field(default_factory=list)
    resampled: list[bool] = field(default_factory=list)
    proposed: int = 0
    accepted: int = 0


@dataclass(slots=True)
class _Step:
    """A particle's next path, not weighed yet. ``log_correction``: of a rollout chosen by weight."""

    path: Path
    sequence: LiveSequence
    carried: tuple[Rollout, ...] = ()
    log_correction: float = 0.0
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class _Holder:
    """Whose future is looked at: a path, its sequence, the rollouts carried over, and the slot whose stream pays."""

    path: Path
    sequence: LiveSequence
    carried: tuple[Rollout, ...]
    slot: int


class _Run:
    """One run's state. The steps of the loop are its methods; nothing outlives it."""

    def __init__(
        self,
        engine: Engine,
        prompt_token_ids: tuple[int, ...],
        potential: Potential | None,
        config: SMCConfig,
        seed: int | None,
        n_draws: int,
        prompt_text: str,
    ) -> None:
        self.config = config
        self.usage = Usage()
        self.law = TargetLaw(config)
        self.proposer = Proposer(
            engine,
            config,
            self.law,
            self.usage,
            keep_logprobs=potential is not None and potential.needs_logprobs,
        )
        self.potential = potential
        self.decode = None if engine.tokenizer is None else engine.tokenizer.decode
        self.scorer = Scorer(potential, self.usage, config.block_size, prompt_token_ids, prompt_text, self.decode)
        self.prompt = prompt_token_ids
        self.n_draws = n_draws
        # One generator per request, one child stream per particle slot: what else is in the batch does not matter.
        self.rng = np.random.default_rng(seed)
        self.streams = self.rng.spawn(config.n_particles)
        self.particles: list[_Particle] = []
        self.record = _Record()
        self.bridge = 0.0 if config.bridge.alpha or config.bridge.reward else 1.0
        self.n_blocks = -(-config.max_tokens // config.block_size)
        self.stopped: StopCause = "complete"
        self.warnings: list[str] = []
        scale = 0.0 if potential is None else potential.log_scale
        self.floor = Floor(config.lookahead.floor, scale, fixed_in_block=config.rejuvenation.steps > 0)
        limit = engine.info.max_model_len
        if limit is not None and len(prompt_token_ids) + config.max_tokens > limit:
            raise EngineRequestError(
                f"prompt of {len(prompt_token_ids)} tokens plus max_tokens {config.max_tokens} exceeds the model's "
                f"context of {limit}: shorten the prompt or lower max_tokens"
            )

    # ---- Algorithm 1 ------------------------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[Event]:
        """The run: one SMC pass, then conditional passes where sweeps were asked for."""
        config = self.config
        self.budget = Budget(self.usage, config.max_total_tokens, config.deadline_s)
        yield Started(config.n_particles, self.n_blocks, len(self.prompt))
        root = await self.proposer.open(self.prompt)
        self.pinned = [root]
        self.particles = [_Particle(Path(), root) for _ in range(config.n_particles)]
        try:
            async for event in self._pass():
                yield event
        except BudgetSpent as spent:
            self.stopped = spent.cause
        log_z = log_mean_exp(self._log_weights())
        for _ in range(config.n_sweeps - 1):
            if self.stopped != "complete":
                break
            before = self.particles
            try:
                async for event in self._sweep(root, log_z):
                    yield event
            except BudgetSpent as spent:
                self.particles, self.stopped = before, spent.cause
        yield Finished(self._result(log_z))

    async def _pass(self, reference: _Particle | None = None) -> AsyncIterator[Event]:
        """Algorithm 1; with a ``reference``, conditional SMC (Andrieu, Doucet and Holenstein 2010)."""
        config = self.config
        for block in range(self.n_blocks):
            end = min((block + 1) * config.block_size, config.max_tokens)
            self.floor.begin(block)
            before = replace(self.usage)
            steps = await self._propose(end, reference)
            yield self._extended(block, steps, self.usage.sampled - before.sampled)

            last = self._is_last(block, steps, conditional=reference is not None)
            await self._weigh(steps, block, last)
            if config.lookahead.rollouts and not last:
                yield self._rolled_out(block, before)
            yield self._weighted(block)
            if last or self.stopped != "complete":
                async for event in self._raise_bridge(block, end):
                    yield event
                if reference is None and self.stopped == "complete" and config.rejuvenation.scheduled(block):
                    async for event in self._rejuvenate(block, end, last=True):
                        yield event
                return
            if config.lookahead.rollouts:
                posterior = self._posterior(block)
                if posterior is not None:
                    yield posterior
                    if self._decided(posterior):
                        self._take_rollouts()
                        self.stopped = "early_stop"
                        return

            if self._degenerate():
                yield self._resample(block, conditional=reference is not None)
            if reference is None and self._moves_after(block):
                async for event in self._rejuvenate(block, end, last=False):
                    yield event
            async for event in self._close_block(block):
                yield event

    async def _propose(self, end: int, reference: _Particle | None) -> list[_Step]:
        """Line "extend": every unfinished particle to ``end``, by a rollout that it holds or by new tokens."""
        steps = [_Step(particle.path, particle.sequence) for particle in self.particles]
        if reference is not None:
            path = reference.path.head(end, self.config.block_size)
            steps[0] = _Step(path, await self.proposer.fork(reference.sequence, len(path)))
        elif self._reuses:
            await self._take_blocks(steps, end)
        jobs: list[Job] = []
        movers: list[int] = []
        used: set[int] = set()
        for i, (particle, step) in enumerate(zip(self.particles, steps, strict=True)):
            if not particle.active or step.path.finished or len(step.path) >= end:
                continue
            if id(step.sequence) in used or len(step.path) == 0:
                step.sequence = await self.proposer.fork(step.sequence, len(step.path))
            used.add(id(step.sequence))
            movers.append(i)
            jobs.append(Job(step.path, step.sequence, end, self._seed(i), self._temperature))
        lengths = [job.end - len(job.path) for job in jobs]
        share = self.budget.share(lengths) if jobs else lengths
        if share != lengths:
            self.stopped = "max_total_tokens"
            jobs = [replace(job, end=len(job.path) + s) for job, s in zip(jobs, share, strict=True)]
        done: dict[int, Path] = {}
        try:
            async with self.budget.limit():
                await self.proposer.extend(jobs, account="sampled", done=done)
        except BudgetSpent as spent:
            if not done:
                raise
            self.stopped = spent.cause
        for j, i in enumerate(movers):
            if j in done:
                steps[i].path = done[j]
            else:
                steps[i].dropped = True
        return steps

    async def _weigh(self, steps: Sequence[_Step], block: int, last: bool) -> None:
        """Line "weight": w_k = prod m/q * psi_k * L^_k / L^_{k-1}, on the stored denominators."""
        grace = self.stopped == "deadline"
        moved = [i for i, p in enumerate(self.particles) if p.active and not steps[i].dropped]
        async with self.budget.limit(grace=grace):
            paths = await self.scorer.score([steps[i].path for i in moved])
        for i, path in zip(moved, paths, strict=True):
            steps[i].path = path
        ahead = [i for i in moved if self._looks_ahead(steps[i].path) and not last]
        holders = [_Holder(steps[i].path, steps[i].sequence, steps[i].carried, i) for i in ahead]
        values: dict[int, tuple[float, tuple[Rollout, ...]]] = {}
        try:
            async with self.budget.limit(grace=grace):
                values = dict(zip(ahead, await self._look_ahead(holders), strict=True))
        except BudgetSpent as spent:  # this block is the last, and L^ = 1
            self.stopped = spent.cause
        self._choose_bridge(steps, moved)
        particles = list(self.particles)
        for i, step in enumerate(steps):
            old = particles[i]
            if step.dropped:
                particles[i] = replace(old, log_weight=-math.inf)
            if i not in moved:
                continue
            log_value, rollouts = values.get(i, (0.0, ()))
            log_target = self._log_target(step.path, log_value)
            log_weight = old.log_weight + step.log_correction + log_increment(log_target, old.log_target)
            particles[i] = _Particle(step.path, step.sequence, log_weight, log_target, log_value, rollouts)
        self._reweigh_finished(particles, moved)
        self.particles = particles
        weights = self._log_weights()
        if log_sum_exp(weights) == -math.inf:
            raise AllParticlesDead(block, self.config.n_particles)
        self.record.ess.append(effective_sample_size(weights))
        self.record.resampled.append(False)
        self.record.ancestors.append(np.arange(self.config.n_particles))

    def _resample(self, block: int, *, conditional: bool = False) -> Resampled:
        """Line "resample": copies share path, rollouts and stored L^; weights become the mean weight."""
        log_weights = self._log_weights()
        weights = normalise(log_weights)
        if conditional:
            # The reference survives in slot 0; the others are drawn independently.
            rest = multinomial(weights, self.config.n_particles - 1, self.rng).ancestors
            offspring = Offspring(np.concatenate([[0], rest]), np.zeros(self.config.n_particles))
        else:
            offspring = resample(self.config.resampling, weights, self.config.n_particles, self.rng)
        log_mean = log_mean_exp(log_weights)
        seen: set[int] = set()
        particles = []
        for ancestor, log_weight in zip(offspring.ancestors.tolist(), offspring.log_weights.tolist(), strict=True):
            parent = self.particles[ancestor]
            particles.append(replace(parent, log_weight=log_mean + log_weight, is_copy=ancestor in seen))
            seen.add(ancestor)
        self.particles = particles
        self.record.ancestors[-1] = offspring.ancestors
        self.record.resampled[-1] = True
        return Resampled(block, offspring.ancestors)

    async def _rejuvenate(self, block: int, end: int, *, last: bool) -> AsyncIterator[Event]:
        """Line "move": S Metropolis-Hastings steps over the population, one engine call each."""
        for step in range(self.config.rejuvenation.steps):
            yield await self._move(block, step, end, last)

    async def _move(self, block: int, step: int, end: int, last: bool) -> Rejuvenated:
        """One step. Raises BudgetSpent where the token budget does not hold a whole proposal for everyone."""
        config = self.config
        movers = [i for i, particle in enumerate(self.particles) if self._may_move(particle)]
        cuts = [draw_cut(len(self.particles[i].path), self.streams[i]) for i in movers]
        if not self.budget.allows(sum(end - cut for cut in cuts)):
            raise BudgetSpent("max_total_tokens")
        jobs = []
        for i, cut in zip(movers, cuts, strict=True):
            particle = self.particles[i]
            head = particle.path.head(cut, config.block_size)
            sequence = await self.proposer.fork(particle.sequence, cut)
            jobs.append(Job(head, sequence, end, self._seed(i), self._temperature))
        async with self.budget.limit():
            proposals = await self.proposer.extend(jobs, account="mh")
            proposals = await self.scorer.score(proposals)
            ahead = [j for j, path in enumerate(proposals) if self._looks_ahead(path) and not last]
            looks = await self._look_ahead([_Holder(proposals[j], jobs[j].sequence, (), movers[j]) for j in ahead])
        values = dict(zip(ahead, looks, strict=True))
        proposed = np.zeros(config.n_particles, dtype=bool)
        accepted = np.zeros(config.n_particles, dtype=bool)
        for j, i in enumerate(movers):
            log_value, rollouts = values.get(j, (0.0, ()))
            new = replace(
                self.particles[i],
                path=proposals[j],
                sequence=jobs[j].sequence,
                log_target=self._log_target(proposals[j], log_value),
                log_value=log_value,
                rollouts=rollouts,
            )
            proposed[i] = True
            accepted[i] = accepts(self._log_acceptance(new, self.particles[i]), self.streams[i])
            if accepted[i]:
                self.particles[i] = self._corrected(new, self.particles[i])
        self.record.proposed += int(proposed.sum())
        self.record.accepted += int(accepted.sum())
        return Rejuvenated(block, step, proposed, accepted)

    # ---- parts of the steps -----------------------------------------------------------------------------------

    def _log_target(self, path: Path, log_value: float) -> float:
        return self.law.log_over_proposal(path, self.bridge) + log_value

    def _log_weights(self) -> Floats:
        return np.array([particle.log_weight for particle in self.particles])

    def _seed(self, slot: int) -> int:
        return int(self.streams[slot].integers(2**63))

    def _is_last(self, block: int, steps: Sequence[_Step], *, conditional: bool) -> bool:
        """Whether nothing comes after this block but scheduled moves of it, if it is the very last.

        A complete population still makes the moves that are scheduled: to leave them out would depend on what they
        move (docs/method.md, "When to move").
        """
        if block == self.n_blocks - 1 or self.stopped != "complete":
            return True
        if any(p.active and not s.path.finished for p, s in zip(self.particles, steps, strict=True)):
            return False
        return conditional or not any(map(self.config.rejuvenation.scheduled, range(block, self.n_blocks)))

    def _degenerate(self) -> bool:
        threshold = self.config.ess_threshold
        return threshold >= 1.0 or self.record.ess[-1] < threshold * self.config.n_particles

    def _moves_after(self, block: int) -> bool:
        rejuvenation = self.config.rejuvenation
        if self.config.lookahead.rollouts and not self.floor.settled:
            return False
        return rejuvenation.scheduled(block) or (
            rejuvenation.steps > 0 and rejuvenation.when == "resampled" and self.record.resampled[-1]
        )

    def _looks_ahead(self, path: Path) -> bool:
        return self.config.lookahead.rollouts > 0 and not path.finished and path.log_potential != -math.inf

    @property
    def _reuses(self) -> bool:
        """Reuse is exact for rollouts drawn at the proposal temperature (docs/method.md, "Reuse")."""
        look = self.config.lookahead
        return look.reuse and look.rollouts > 0 and look.temperature in (None, self.config.temperature)

    async def _take_blocks(self, steps: list[_Step], end: int) -> None:
        """Give each particle one of its rollouts as its next block; what is beyond ``end`` stays a rollout."""
        look = self.config.lookahead
        holders: dict[int, list[int]] = {}
        for i, particle in enumerate(self.particles):
            if particle.active and particle.rollouts:
                holders.setdefault(id(particle.rollouts), []).append(i)
        for members in holders.values():
            rollouts = self.particles[members[0]].rollouts
            # Only rollouts that are drawn in any case may be chosen: the number of the others depends on their values.
            eligible = rollouts[: look.min_rollouts or look.rollouts]
            choices = choose_rollouts([r.log_value for r in eligible], len(members), look.choice, self.rng)
            for i, choice in zip(members, choices, strict=True):
                rollout = eligible[choice.index]
                path = rollout.path.head(end, self.config.block_size)
                if not rollout.reused:
                    self.usage.reused += len(rollout.path) - len(self.particles[i].path)
                    rollout.reused = True
                carried = (rollout,) if len(path) < len(rollout.path) else ()
                sequence = await self.proposer.fork(rollout.sequence, len(path))
                steps[i] = _Step(path, sequence, carried, choice.log_correction)

    async def _look_ahead(self, holders: Sequence[_Holder]) -> list[tuple[float, tuple[Rollout, ...]]]:
        """log L^ and the rollouts behind it, for each holder."""
        look = self.config.lookahead
        held = [list(holder.carried) for holder in holders]
        await self._draw_rollouts(holders, held, [(look.min_rollouts or look.rollouts) - len(old) for old in held])
        self._value_rollouts(holders, held)
        if look.min_rollouts is not None:
            unsure = [not agree([rollout.log_value for rollout in some], look.agreement) for some in held]
            await self._draw_rollouts(
                holders, held, [look.rollouts - len(h) if u else 0 for h, u in zip(held, unsure, strict=True)]
            )
            self._value_rollouts(holders, held)
        return [(log_lookahead([rollout.log_value for rollout in some]), tuple(some)) for some in held]

    async def _draw_rollouts(
        self, holders: Sequence[_Holder], held: list[list[Rollout]], wanted: Sequence[int]
    ) -> None:
        """Draw ``wanted`` more rollouts for each holder, in one engine call."""
        look, config = self.config.lookahead, self.config
        temperature = config.temperature if look.temperature is None else look.temperature
        jobs: list[Job] = []
        owners: list[int] = []
        for h, (holder, number) in enumerate(zip(holders, wanted, strict=True)):
            length = len(holder.path)
            end = config.max_tokens if look.horizon is None else min(length + look.horizon, config.max_tokens)
            for _ in range(max(number, 0)):
                fork = await self.proposer.fork(holder.sequence, length)
                jobs.append(Job(holder.path, fork, end, self._seed(holder.slot), temperature))
                owners.append(h)
        if not jobs:
            return
        share = self.budget.share([job.end - len(job.path) for job in jobs])
        jobs = [replace(job, end=len(job.path) + s) for job, s in zip(jobs, share, strict=True)]
        drawn = await self.scorer.score(await self.proposer.extend(jobs, account="rollout"))
        for h, job, path in zip(owners, jobs, drawn, strict=True):
            held[h].append(Rollout(path, job.sequence))

    def _value_rollouts(self, holders: Sequence[_Holder], held: list[list[Rollout]]) -> None:
        """Value every rollout relative to its holder's path. Objects carried over may be shared: they are copied."""
        self.floor.saw(rollout.path.log_potential or 0.0 for some in held for rollout in some)
        log_floor = self.floor.log_floor
        for holder, some in zip(holders, held, strict=True):
            prefix = holder.path.log_potential or 0.0
            some[:] = [
                replace(
                    rollout,
                    log_value=log_rollout_value(
                        rollout.path.log_potential or 0.0, prefix, self._log_zeta(rollout.path, holder.path), log_floor
                    ),
                )
                for rollout in some
            ]

    def _log_zeta(self, rollout: Path, prefix: Path) -> float:
        return sum(rollout.log_z[len(prefix) :]) if self.config.target == "powered" else 0.0

    def _may_move(self, particle: _Particle) -> bool:
        rejuvenation = self.config.rejuvenation
        if not particle.alive or len(particle.path) == 0:
            return False
        if rejuvenation.mode != "paper":
            return True
        return is_low_reward_duplicate(particle.is_copy, particle.path.reward, rejuvenation.reward_threshold)

    def _log_acceptance(self, new: _Particle, old: _Particle) -> float:
        log_new, log_old = self._log_move_target(new), self._log_move_target(old)
        return log_acceptance(log_new, log_old, len(new.path), len(old.path))

    def _log_move_target(self, particle: _Particle) -> float:
        """log eta / q, where eta is what the moves leave invariant: gamma_k L^, with Target II's gamma where the mode
        says so."""
        if self.config.rejuvenation.mode == "exact":
            return particle.log_target
        return self.law.log_over_proposal(particle.path, self.bridge, target="powered") + particle.log_value

    def _corrected(self, new: _Particle, old: _Particle) -> _Particle:
        """An accepted particle; in ``corrected`` mode its weight takes the ratio of Target I to Target II along."""
        if self.config.rejuvenation.mode != "corrected":
            return new
        log_new = new.log_target - self._log_move_target(new)
        log_old = old.log_target - self._log_move_target(old)
        return replace(new, log_weight=old.log_weight + log_new - log_old)

    # ---- bridging ---------------------------------------------------------------------------------------------

    @property
    def _temperature(self) -> float:
        """The proposal's: 1/alpha follows alpha up the bridge."""
        if self.config.bridge.alpha and self.config.proposal_temperature is None:
            return 1.0 / self.law.alpha(self.bridge)
        return self.config.temperature

    @property
    def _bridging(self) -> bool:
        return self.config.bridge.alpha or self.config.bridge.reward

    def _choose_bridge(self, steps: Sequence[_Step], moved: Sequence[int]) -> None:
        """Raise the target as far as the ESS allows, on the paths that are about to be weighed."""
        if not self._bridging or self.bridge == 1.0:
            return
        if any(step.path.log_potential is None for step in steps):
            return
        self.bridge = next_bridge(
            lambda bridge: np.array(
                [
                    p.log_weight + log_increment(self.law.log_over_proposal(s.path, bridge), p.log_target)
                    if p.alive and not s.dropped
                    else -math.inf
                    for p, s in zip(self.particles, steps, strict=True)
                ]
            ),
            self.bridge,
            self.config.bridge.ess,
            self.config.n_particles,
        )

    def _reweigh_finished(self, particles: list[_Particle], moved: Sequence[int]) -> None:
        """While the target rises, particles that drew nothing are weighed for the new one too."""
        if not self._bridging:
            return
        for i, particle in enumerate(particles):
            if i not in moved and particle.alive:
                log_target = self._log_target(particle.path, particle.log_value)
                log_weight = particle.log_weight + log_increment(log_target, particle.log_target)
                particles[i] = replace(particle, log_target=log_target, log_weight=log_weight)

    async def _raise_bridge(self, block: int, end: int) -> AsyncIterator[Event]:
        """After the last block: resample, move and raise, until the target is exactly the requested one."""
        while self.bridge < 1.0:
            if self.stopped != "complete":
                self.bridge = 1.0
                self._reweigh_finished(self.particles, ())
                return
            yield self._resample(block)
            async for event in self._rejuvenate(block, end, last=True):
                yield event
            before = self.bridge
            self._choose_bridge([_Step(p.path, p.sequence) for p in self.particles], ())
            if self.bridge - before < 1e-4:  # the potential jumps: no small step keeps the ESS
                self.bridge = 1.0
            self._reweigh_finished(self.particles, ())
            self.record.ess[-1] = effective_sample_size(self._log_weights())
            yield self._weighted(block)

    # ---- conditional sweeps -----------------------------------------------------------------------------------

    async def _sweep(self, root: LiveSequence, log_z: float) -> AsyncIterator[Event]:
        """One particle Gibbs step: a path drawn from the population is the reference of a conditional pass.

        Rollout reuse and moves are off in it: the reference's own would have to be drawn from their law given it.
        """
        weights = normalise(self._log_weights())
        reference = self.particles[int(multinomial(weights, 1, self.rng).ancestors[0])]
        self.particles = [_Particle(Path(), root) for _ in range(self.config.n_particles)]
        self.pinned = [root, reference.sequence]
        self.record = replace(self.record, ess=[], ancestors=[], resampled=[])
        config = self.config
        self.config = config.model_copy(
            update={"lookahead": config.lookahead.model_copy(update={"reuse": False, "early_stop": None})}
        )
        try:
            async for event in self._pass(reference):
                yield event
        finally:
            self.config = config
        # Only the first pass estimates Z: this one's weights are scaled to say so.
        shift = log_z - log_mean_exp(self._log_weights())
        for particle in self.particles:
            particle.log_weight += shift

    # ---- what readers are told --------------------------------------------------------------------------------

    def _extended(self, block: int, steps: Sequence[_Step], new_tokens: int) -> BlockExtended:
        return BlockExtended(
            block, [step.path.token_ids for step in steps], [step.path.finished for step in steps], new_tokens
        )

    def _rolled_out(self, block: int, before: Usage) -> RolledOut:
        values = np.array([particle.log_value for particle in self.particles])
        return RolledOut(block, values, self.usage.rollout - before.rollout, self.usage.reused - before.reused)

    def _weighted(self, block: int) -> Weighted:
        weights = self._log_weights()
        rewards = [particle.path.reward for particle in self.particles]
        return Weighted(block, weights, rewards, self.record.ess[-1], log_mean_exp(weights), self.bridge)

    async def _close_block(self, block: int) -> AsyncIterator[Event]:
        """Account, committed text, and the sequences that nobody holds any more."""
        keep = self.pinned if self.config.n_sweeps > 1 else []
        keep = keep + [particle.sequence for particle in self.particles]
        keep += [rollout.sequence for particle in self.particles for rollout in particle.rollouts]
        await self.proposer.release(keep)
        yield Progress(block, replace(self.usage))
        final = self.config.rejuvenation.steps == 0 and self.config.n_sweeps == 1
        if final:
            yield Committed(block, _common_prefix([p.path.token_ids for p in self.particles if p.alive]))

    def _futures(self) -> list[tuple[Path, float]] | None:
        """(complete path, unnormalised log-weight): the anytime posterior; None where a rollout is not complete.

        A rollout stands for its particle with weight w / L^ * zeta * (future psi) / J: the floor is not in it.
        """
        futures = []
        for particle in self.particles:
            if not particle.alive:
                continue
            if particle.path.finished:
                futures.append((particle.path, particle.log_weight))
                continue
            for rollout in particle.rollouts:
                if not rollout.path.finished:
                    return None
                gain = (rollout.path.log_potential or 0.0) - (particle.path.log_potential or 0.0)
                log_weight = particle.log_weight - particle.log_value + gain
                log_weight += self._log_zeta(rollout.path, particle.path) - math.log(len(particle.rollouts))
                futures.append((rollout.path, log_weight))
        return futures

    def _posterior(self, block: int) -> Posterior | None:
        futures = self._futures()
        if not futures or log_sum_exp([w for _, w in futures]) == -math.inf:
            return None
        weights = normalise([w for _, w in futures]).tolist()
        merged = groups([path.token_ids for path, _ in futures], weights, answer_key("tokens", None))
        return Posterior(block, [(futures[members[0]][0].token_ids, mass) for mass, members in merged])

    def _decided(self, posterior: Posterior) -> bool:
        threshold = self.config.lookahead.early_stop
        if threshold is None:
            return False
        answers, weights = zip(*posterior.answers, strict=True)
        return groups(answers, weights, answer_key(self.config.extractor, self.decode))[0][0] >= threshold

    def _take_rollouts(self) -> None:
        """The population becomes the weighted rollouts: complete answers, with the same evidence."""
        futures = self._futures() or []
        sequence = self.particles[0].sequence
        shift = math.log(len(futures)) - math.log(self.config.n_particles)
        self.particles = [_Particle(path, sequence, weight + shift) for path, weight in futures]

    # ---- the end ----------------------------------------------------------------------------------------------

    def _result(self, log_z: float) -> SMCResult:
        config, record = self.config, self.record
        if self.stopped in ("max_total_tokens", "deadline"):
            self.warnings.append(f"{self.stopped} ran out: this is the best current estimate")
            futures = self._futures() if any(p.active and p.rollouts for p in self.particles) else None
            if futures and log_sum_exp([w for _, w in futures]) > -math.inf:
                self._take_rollouts()
        log_weights = self._log_weights()
        weights = normalise(log_weights)
        particles = [
            Particle(
                token_ids=p.path.token_ids,
                log_weight=p.log_weight,
                weight=float(w),
                finished=p.path.finished,
                reward=p.path.reward,
                finish_reason=p.path.finish_reason,
                logprobs=p.path.logprobs,
                detail=p.path.detail,
            )
            for p, w in zip(self.particles, weights, strict=True)
        ]
        draws = select(particles, config, self.n_draws, self.rng, self.decode)
        if self.decode is not None:
            draws = [replace(draw, text=self.decode(draw.token_ids)) for draw in draws]
        self.usage.answer = sum(len(draw.token_ids) for draw in draws)
        moving = config.rejuvenation.steps > 0
        heuristic = moving and config.rejuvenation.mode == "paper"
        adaptive = moving and (config.rejuvenation.when == "resampled" or self.floor.adaptive)
        cut = self.stopped in ("max_total_tokens", "deadline")
        return SMCResult(
            particles=particles,
            answer=draws[0],
            draws=draws,
            log_z=None if heuristic or cut or config.temperature == 0.0 else log_z,
            ess=record.ess,
            ancestors=record.ancestors,
            resampled=record.resampled,
            acceptance_rate=record.accepted / record.proposed if record.proposed else None,
            blocks=len(record.ess),
            usage=self.usage,
            stopped=self.stopped,
            exact=not (heuristic or adaptive or self._bridging) and self.stopped == "complete",
            warnings=self.warnings,
        )


def _common_prefix(sequences: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """The longest prefix that all share."""
    low, high = min(sequences), max(sequences)
    for i, (a, b) in enumerate(zip(low, high, strict=False)):
        if a != b:
            return low[:i]
    return low[: min(len(low), len(high))]
