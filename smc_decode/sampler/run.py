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

from smc_decode.answers.selection import answer_key, groups, select
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
    Resampled,
    RolledOut,
    Started,
    Weighted,
)
from smc_decode.laws.lookahead import Floor
from smc_decode.laws.resampling import Indices, Offspring, multinomial, resample
from smc_decode.laws.targets import TargetLaw, log_increment
from smc_decode.laws.weights import effective_sample_size, log_mean_exp, log_sum_exp, normalise
from smc_decode.potentials.base import Potential
from smc_decode.result import Particle, SMCResult, StopCause, Usage
from smc_decode.sampler.bridging import Bridge
from smc_decode.sampler.budget import Budget, BudgetSpent
from smc_decode.sampler.moves.metropolis import Mover
from smc_decode.sampler.proposal import Job, Proposer
from smc_decode.sampler.rollouts import Estimate, Holder, Lookout
from smc_decode.sampler.scoring import Scorer
from smc_decode.sampler.state import LiveParticle, Population, Step, common_prefix, log_weights, offspring_of
from smc_decode.sampler.trajectory import Path

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
        await state.scorer.release()
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
class _Record:
    """What the result says of the blocks that were done, one entry a block."""

    ess: list[float] = field(default_factory=list)
    ancestors: list[Indices] = field(default_factory=list)
    resampled: list[bool] = field(default_factory=list)


class _Run:
    """One run's state. The lines of Algorithm 1 are its methods; nothing outlives it."""

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
        _check_context(engine, len(prompt_token_ids), config)
        self.config = config
        self.prompt = prompt_token_ids
        self.n_draws = n_draws
        self.n_blocks = -(-config.max_tokens // config.block_size)
        # One generator per request, one child stream per particle slot: what else is in the batch does not matter.
        self.rng = np.random.default_rng(seed)
        self.streams = self.rng.spawn(config.n_particles)
        self.decode = None if engine.tokenizer is None else engine.tokenizer.decode

        self.usage = Usage()
        self.budget = Budget(self.usage, config.max_total_tokens, config.deadline_s)
        law = TargetLaw(config)
        keep_logprobs = potential is not None and potential.needs_logprobs
        self.law = law
        self.bridge = Bridge(config, law)
        self.proposer = Proposer(engine, config, law, self.usage, keep_logprobs=keep_logprobs)
        self.scorer = Scorer(potential, self.usage, config.block_size, prompt_token_ids, prompt_text, self.decode)
        log_scale = 0.0 if potential is None else potential.log_scale
        self.floor = Floor(config.lookahead.floor, log_scale, fixed_in_block=config.rejuvenation.steps > 0)
        self.lookout = self._lookout(config)
        self.mover = Mover(
            config,
            law,
            self.bridge,
            self.proposer,
            self.scorer,
            self.lookout,
            self.budget,
            self.streams,
            self._seed,
        )
        self.population: Population = []
        self.passes: list[Population] = []
        self.set_aside: Population = []
        self.pinned: list[LiveSequence] = []
        self.record = _Record()
        self.stopped: StopCause = "complete"

    def _lookout(self, config: SMCConfig) -> Lookout:
        return Lookout(config, self.proposer, self.scorer, self.floor, self.budget, self.usage, self._seed)

    def _seed(self, slot: int) -> int:
        return int(self.streams[slot].integers(2**63))

    # ---- the run ----------------------------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[Event]:
        """One SMC pass, or growing ones, then conditional passes where sweeps were asked for."""
        config = self.config
        yield Started(config.n_particles, self.n_blocks, len(self.prompt))
        root = await self.proposer.open(self.prompt)
        self.pinned = [root]
        for size in config.pass_sizes:
            if self.stopped == "complete":
                async for event in self._fresh_pass(root, size):
                    yield event
        log_z = log_mean_exp(log_weights(self._all_drawn()))
        for _ in range(config.n_sweeps - 1):
            if self.stopped != "complete":
                break
            before = self.population
            try:
                async for event in self._sweep(root, log_z):
                    yield event
            except BudgetSpent as spent:
                self.population, self.stopped = before, spent.cause
        yield Finished(await self._result(log_z))

    async def _fresh_pass(self, root: LiveSequence, size: int) -> AsyncIterator[Event]:
        """An SMC pass of ``size`` particles, independent of those before it: their particles make one population."""
        self.population = [LiveParticle(Path(), root) for _ in range(size)]
        self.record = _Record()
        self.set_aside = []
        try:
            async for event in self._pass():
                yield event
        except BudgetSpent as spent:
            self.stopped = spent.cause
        except AllParticlesDead:
            dead = [replace(particle, log_weight=-math.inf) for particle in self.population]
            if len(self._all_drawn()) + size == self.config.n_particles and not self._any_alive():
                raise
            self.population = dead
        if self.stopped in ("max_total_tokens", "deadline") and self._any_alive():
            self.population = self.passes[-1]  # what a budget cut short is no match for what is complete
            return
        if self.set_aside:
            self.population = [particle for particle in self.population if particle.alive] + self.set_aside
        self.passes.append(self.population)

    def _all_drawn(self) -> Population:
        """The particles of all passes that are over."""
        return [particle for drawn in self.passes for particle in drawn]

    def _any_alive(self) -> bool:
        """Whether an earlier pass left anything."""
        return any(particle.alive for particle in self._all_drawn())

    async def _pass(self, reference: LiveParticle | None = None) -> AsyncIterator[Event]:
        """Algorithm 1; with a ``reference``, conditional SMC (Andrieu, Doucet and Holenstein 2010)."""
        for block in range(self.n_blocks):
            end = min((block + 1) * self.config.block_size, self.config.max_tokens)
            before = replace(self.usage)
            self.floor.begin(block)

            steps = await self._extend(end, reference)
            yield self._extended(block, steps, before)

            last = self._is_last(block, steps, conditional=reference is not None)
            await self._weigh(steps, block, last=last)
            if self.config.lookahead.rollouts and not last:
                yield self._rolled_out(block, before)
            yield self._weighted(block)

            if self._reward_reached():
                self._keep_complete()
                self.stopped = "reward_reached"
                return
            if not self._put_aside():
                return
            if last or self.stopped != "complete":
                async for event in self._raise_bridge(block, end):
                    yield event
                if reference is None and self.stopped == "complete" and self.config.rejuvenation.scheduled(block):
                    async for event in self._move(block, end, last=True):
                        yield event
                return
            if posterior := self._posterior(block):
                yield posterior
                if await self._decided(posterior):
                    self._take_rollouts()
                    self.stopped = "early_stop"
                    return

            if self._degenerate():
                yield self._resample(block, conditional=reference is not None)
            if reference is None and self._moves_after(block):
                async for event in self._move(block, end, last=False):
                    yield event
            async for event in self._close_block(block):
                yield event

    # ---- extend -----------------------------------------------------------------------------------------------

    async def _extend(self, end: int, reference: LiveParticle | None) -> list[Step]:
        """Every unfinished particle to ``end`` tokens, by a rollout that it holds or by new tokens."""
        steps = [Step(particle.path, particle.sequence) for particle in self.population]
        if reference is not None:
            path = reference.path.head(end, self.config.block_size)
            steps[0] = Step(path, await self.proposer.fork(reference.sequence, len(path)))
        elif self.lookout.reuses:
            await self.lookout.take_blocks(self.population, steps, end, self.rng)
        movers = [
            i
            for i, (particle, step) in enumerate(zip(self.population, steps, strict=True))
            if particle.active and not step.path.finished and len(step.path) < end
        ]
        jobs = []
        used: set[int] = set()
        for i in movers:
            step = steps[i]
            if id(step.sequence) in used or len(step.path) == 0:  # copies share a sequence until they differ
                step.sequence = await self.proposer.fork(step.sequence, len(step.path))
            used.add(id(step.sequence))
            jobs.append(Job(step.path, step.sequence, end, self._seed(i), self.bridge.temperature))
        drawn = await self._draw(jobs)
        for j, i in enumerate(movers):
            if j in drawn:
                steps[i].path = drawn[j]
            else:
                steps[i].dropped = True
        return steps

    async def _draw(self, jobs: list[Job]) -> dict[int, Path]:
        """The jobs' paths; at a budget's end, shorter ones or those that were drawn by then."""
        if not jobs:
            return {}
        lengths = [job.end - len(job.path) for job in jobs]
        share = self.budget.share(lengths)
        if share != lengths:
            self.stopped = "max_total_tokens"
            jobs = [replace(job, end=len(job.path) + s) for job, s in zip(jobs, share, strict=True)]
        done: dict[int, Path] = {}
        try:
            async with self.budget.limit():
                await self.proposer.extend(jobs, account="sampled", done=done, arrived=self.scorer.arrived)
        except BudgetSpent as spent:
            if not done:
                raise
            self.stopped = spent.cause
        return done

    # ---- weight -----------------------------------------------------------------------------------------------

    async def _weigh(self, steps: Sequence[Step], block: int, *, last: bool) -> None:
        """w_k = prod m/q * psi_k * L^_k / L^_{k-1}, on the stored denominators."""
        moved = [i for i, p in enumerate(self.population) if p.active and not steps[i].dropped]
        grace = self.stopped == "deadline"
        async with self.budget.limit(grace=grace):
            paths = await self.scorer.score([steps[i].path for i in moved])
        for i, path in zip(moved, paths, strict=True):
            steps[i].path = path
        estimates = {} if last else await self._look_ahead(steps, moved)
        self.bridge.raise_for(self.population, steps)
        population = list(self.population)
        for i, step in enumerate(steps):
            old = population[i]
            if step.dropped:
                population[i] = replace(old, log_weight=-math.inf)
            if i in moved:
                log_value, rollouts = estimates.get(i, (0.0, ()))
                log_target = self.law.log_over_proposal(step.path, self.bridge.value) + log_value
                log_weight = old.log_weight + step.log_correction + log_increment(log_target, old.log_target)
                population[i] = LiveParticle(step.path, step.sequence, log_weight, log_target, log_value, rollouts)
        self.population = self.bridge.reweighed(population, but=moved)
        weights = log_weights(self.population)
        if log_sum_exp(weights) == -math.inf:
            raise AllParticlesDead(block, len(self.population))
        self.record.ess.append(effective_sample_size(weights))
        self.record.resampled.append(False)
        self.record.ancestors.append(np.arange(len(self.population)))

    async def _look_ahead(self, steps: Sequence[Step], moved: Sequence[int]) -> dict[int, Estimate]:
        """log L^ of the paths that were extended. Where a budget ends here this block is the last, and L^ = 1."""
        ahead = [i for i in moved if self.lookout.wanted(steps[i].path) and not self._is_hopeless(steps[i].path)]
        holders = [Holder(steps[i].path, steps[i].sequence, steps[i].carried, i) for i in ahead]
        try:
            async with self.budget.limit(grace=self.stopped == "deadline"):
                return dict(zip(ahead, await self.lookout.look_ahead(holders), strict=True))
        except BudgetSpent as spent:
            self.stopped = spent.cause
            return {}

    # ---- resample and move ------------------------------------------------------------------------------------

    def _degenerate(self) -> bool:
        threshold = self.config.ess_threshold
        return threshold >= 1.0 or self.record.ess[-1] < threshold * len(self.population)

    def _resample(self, block: int, *, conditional: bool = False) -> Resampled:
        n = len(self.population)
        weights = normalise(log_weights(self.population))
        if conditional:
            # The reference survives in slot 0; the others are drawn independently.
            rest = multinomial(weights, n - 1, self.rng).ancestors
            offspring = Offspring(np.concatenate([[0], rest]), np.zeros(n))
        else:
            offspring = resample(self.config.resampling, weights, n, self.rng)
        self.population = offspring_of(self.population, offspring)
        self.record.ancestors[-1] = offspring.ancestors
        self.record.resampled[-1] = True
        return Resampled(block, offspring.ancestors)

    def _moves_after(self, block: int) -> bool:
        rejuvenation = self.config.rejuvenation
        if self.config.lookahead.rollouts and not self.floor.settled:
            return False
        triggered = rejuvenation.when == "resampled" and self.record.resampled[-1]
        return rejuvenation.scheduled(block) or (rejuvenation.steps > 0 and triggered)

    async def _move(self, block: int, end: int, *, last: bool) -> AsyncIterator[Event]:
        """S Metropolis-Hastings steps over the population."""
        for step in range(self.config.rejuvenation.steps):
            self.population, event = await self.mover.step(self.population, block, step, end, last=last)
            yield event

    # ---- the last block ---------------------------------------------------------------------------------------

    def _is_last(self, block: int, steps: Sequence[Step], *, conditional: bool) -> bool:
        """Whether nothing comes after this block but scheduled moves of it, if it is the very last.

        A complete population still makes the moves that are scheduled: to leave them out would depend on what they
        move (docs/method.md, "When to move").
        """
        if block == self.n_blocks - 1 or self.stopped != "complete":
            return True
        if any(p.active and not s.path.finished for p, s in zip(self.population, steps, strict=True)):
            return False
        return conditional or not any(map(self.config.rejuvenation.scheduled, range(block, self.n_blocks)))

    async def _raise_bridge(self, block: int, end: int) -> AsyncIterator[Event]:
        """Resample, move and raise, until the target is exactly the requested one."""
        while self.bridge.value < 1.0:
            if self.stopped != "complete":
                self.bridge.value = 1.0
                self.population = self.bridge.reweighed(self.population)
                return
            yield self._resample(block)
            async for event in self._move(block, end, last=True):
                yield event
            self.population = self.bridge.raise_further(self.population)
            self.record.ess[-1] = effective_sample_size(log_weights(self.population))
            yield self._weighted(block)

    # ---- the anytime posterior --------------------------------------------------------------------------------

    def _posterior(self, block: int) -> Posterior | None:
        futures = self.lookout.futures(self.population) if self.config.lookahead.rollouts else []
        if log_sum_exp([log_weight for _, log_weight in futures]) == -math.inf:
            return None
        weights = normalise([log_weight for _, log_weight in futures]).tolist()
        merged = groups([path.token_ids for path, _ in futures], weights, answer_key("tokens", None))
        return Posterior(block, [(futures[members[0]][0].token_ids, mass) for mass, members in merged])

    async def _decided(self, posterior: Posterior) -> bool:
        threshold = self.config.lookahead.early_stop
        if threshold is None:
            return False
        answers, weights = zip(*posterior.answers, strict=True)
        key = answer_key(self.config.extractor, self.decode)
        return (await asyncio.to_thread(groups, answers, weights, key))[0][0] >= threshold

    def _is_hopeless(self, path: Path) -> bool:
        """Whether a search in passes has nothing to hope for from this path."""
        enough = self.config.stop_at_reward
        return enough is not None and self.config.first_pass is not None and not path.can_reach(enough)

    def _put_aside(self) -> bool:
        """Take what cannot reach the wanted reward out of the pass, which goes on without it; whether anything is left.

        It is not lost: where nothing better comes, it is what is chosen from (docs/method.md, "Growing passes").
        """
        hopeless = [i for i, p in enumerate(self.population) if p.alive and self._is_hopeless(p.path)]
        if not hopeless:
            return True
        self.set_aside += [self.population[i] for i in hopeless]
        for i in hopeless:
            self.population[i] = replace(self.population[i], log_weight=-math.inf)
        left = any(particle.alive for particle in self.population)
        self.record.ess[-1] = effective_sample_size(log_weights(self.population)) if left else 0.0
        return left

    def _reward_reached(self) -> bool:
        """Whether a complete answer has the reward that ends the search. Only what is alive counts."""
        enough = self.config.stop_at_reward
        if enough is None or self.stopped != "complete":
            return False
        complete = [particle.path.reward for particle in self.population if particle.alive and particle.path.finished]
        return any(reward is not None and reward >= enough for reward in complete)

    def _keep_complete(self) -> None:
        """Only complete answers can be returned where the others were not brought to an end."""
        self.population = [p if p.path.finished else replace(p, log_weight=-math.inf) for p in self.population]

    def _take_rollouts(self) -> None:
        """The population becomes the weighted rollouts: complete answers, with the same evidence."""
        futures = self.lookout.futures(self.population)
        if log_sum_exp([log_weight for _, log_weight in futures]) == -math.inf:
            return
        shift = math.log(len(futures)) - math.log(len(self.population))
        sequence = self.population[0].sequence
        self.population = [LiveParticle(path, sequence, log_weight + shift) for path, log_weight in futures]

    # ---- conditional sweeps -----------------------------------------------------------------------------------

    async def _sweep(self, root: LiveSequence, log_z: float) -> AsyncIterator[Event]:
        """One particle Gibbs step: a path drawn from the population is the reference of a conditional pass.

        Rollout reuse and moves are off in it: the reference's own would have to be drawn from their law given it.
        """
        weights = normalise(log_weights(self.population))
        reference = self.population[int(multinomial(weights, 1, self.rng).ancestors[0])]
        self.population = [LiveParticle(Path(), root) for _ in range(self.config.n_particles)]
        self.pinned = [root, reference.sequence]
        self.record = _Record()
        config, lookout = self.config, self.lookout
        look = config.lookahead.model_copy(update={"reuse": False, "early_stop": None})
        self.config = config.model_copy(update={"lookahead": look})
        self.lookout = self._lookout(self.config)
        try:
            async for event in self._pass(reference):
                yield event
        finally:
            self.config, self.lookout = config, lookout
        self.passes.append(self.population[1:])  # the first is the reference
        # Only the first pass estimates Z: this one's weights are scaled to say so.
        shift = log_z - log_mean_exp(log_weights(self.population))
        self.population = [replace(p, log_weight=p.log_weight + shift) for p in self.population]

    # ---- what readers are told --------------------------------------------------------------------------------

    def _extended(self, block: int, steps: Sequence[Step], before: Usage) -> BlockExtended:
        tokens, finished = [step.path.token_ids for step in steps], [step.path.finished for step in steps]
        return BlockExtended(block, tokens, finished, self.usage.sampled - before.sampled)

    def _rolled_out(self, block: int, before: Usage) -> RolledOut:
        values = np.array([particle.log_value for particle in self.population])
        return RolledOut(block, values, self.usage.rollout - before.rollout, self.usage.reused - before.reused)

    def _weighted(self, block: int) -> Weighted:
        weights = log_weights(self.population)
        rewards = [particle.path.reward for particle in self.population]
        return Weighted(block, weights, rewards, self.record.ess[-1], log_mean_exp(weights), self.bridge.value)

    async def _close_block(self, block: int) -> AsyncIterator[Event]:
        """Account, committed text, and the sequences that nobody holds any more."""
        further = self.config.n_passes > 1
        keep = list(self.pinned) if further else []
        keep += [particle.sequence for particle in (*self.population, *self.set_aside)]
        keep += [particle.sequence for particle in self._all_drawn() if not particle.path.finished]
        keep += [rollout.sequence for particle in self.population for rollout in particle.rollouts]
        await self.proposer.release(keep)
        yield Progress(block, replace(self.usage))
        if self.config.rejuvenation.steps == 0 and not further:
            yield Committed(block, common_prefix([particle for particle in self.population if particle.alive]))

    # ---- the end ----------------------------------------------------------------------------------------------

    async def _result(self, log_z: float) -> SMCResult:
        config, record = self.config, self.record
        cut_short = self.stopped in ("max_total_tokens", "deadline")
        if cut_short and any(particle.active and particle.rollouts for particle in self.population):
            self._take_rollouts()
        # Of sweeps a draw is one of the last; to search or to vote is to look at all that was drawn.
        population = self.population
        if len(self.passes) > 1 and (config.n_sweeps == 1 or config.selection != "sample"):
            population = self._all_drawn()
        weights = normalise(log_weights(population)).tolist()
        particles = [_particle(p, weight) for p, weight in zip(population, weights, strict=True)]
        if config.selection == "vote":  # extractors may take their time over hostile text: not in the event loop
            draws = await asyncio.to_thread(select, particles, config, self.n_draws, self.rng, self.decode)
        else:
            draws = select(particles, config, self.n_draws, self.rng, self.decode)
        if not cut_short and config.first_pass is not None:
            await self._bring_to_end(population, particles, draws)
        if self.decode is not None:
            draws = [replace(draw, text=self.decode(draw.token_ids)) for draw in draws]
        self.usage.answer = sum(len(draw.token_ids) for draw in draws)
        moving = config.rejuvenation.steps > 0
        heuristic = moving and config.rejuvenation.mode == "paper"
        searched = self.stopped == "reward_reached" or any(map(self._is_hopeless, (p.path for p in population)))
        adaptive = moving and (config.rejuvenation.when == "resampled" or self.floor.adaptive)
        return SMCResult(
            particles=particles,
            answer=draws[0],
            draws=draws,
            log_z=None if heuristic or cut_short or searched or config.temperature == 0.0 else log_z,
            ess=record.ess,
            ancestors=record.ancestors,
            resampled=record.resampled,
            acceptance_rate=self.mover.acceptance_rate,
            blocks=len(record.ess),
            usage=self.usage,
            stopped=self.stopped,
            exact=not (heuristic or adaptive or self.bridge.bridging or config.stop_at_reward is not None)
            and self.stopped == "complete",
            warnings=[f"{self.stopped} ran out: this is the best current estimate"] if cut_short else [],
        )

    async def _bring_to_end(self, population: Population, particles: list[Particle], draws: list[Particle]) -> None:
        """Complete the answers among those that were set aside; in place."""
        chosen = {id(draw) for draw in draws}
        waiting = [i for i, p in enumerate(particles) if id(p) in chosen and not p.finished]
        jobs = []
        for slot, i in enumerate(waiting):
            path, sequence = population[i].path, population[i].sequence
            fork = await self.proposer.fork(sequence, len(path))
            jobs.append(Job(path, fork, self.config.max_tokens, self._seed(slot), self.bridge.temperature))
        try:
            drawn = await self._draw(jobs)
            async with self.budget.limit(grace=True):
                paths = await self.scorer.score(list(drawn.values()))
        except BudgetSpent as spent:
            self.stopped = spent.cause
            return
        for job, path in zip(drawn, paths, strict=True):
            i = waiting[job]
            whole = _particle(replace(population[i], path=path), particles[i].weight)
            draws[:] = [whole if draw is particles[i] else draw for draw in draws]
            particles[i] = whole


def _particle(live: LiveParticle, weight: float) -> Particle:
    path = live.path
    return Particle(
        token_ids=path.token_ids,
        log_weight=live.log_weight,
        weight=weight,
        finished=path.finished,
        reward=path.reward,
        finish_reason=path.finish_reason,
        logprobs=path.logprobs,
        detail=path.detail,
    )


def _check_context(engine: Engine, prompt_tokens: int, config: SMCConfig) -> None:
    limit = engine.info.max_model_len
    if limit is not None and prompt_tokens + config.max_tokens > limit:
        raise EngineRequestError(
            f"prompt of {prompt_tokens} tokens plus max_tokens {config.max_tokens} exceeds the model's context of "
            f"{limit}: shorten the prompt or lower max_tokens"
        )
