"""What a run gives back: its population, the answers drawn from it, log Z, and what of that is not exact."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from smc_decode.answers.selection import select
from smc_decode.laws.weights import normalise
from smc_decode.result import Particle, SMCResult
from smc_decode.sampler.assemble import Parts
from smc_decode.sampler.budget import BudgetSpent
from smc_decode.sampler.extend import draw
from smc_decode.sampler.moves import estimates_z
from smc_decode.sampler.passes import Harvest
from smc_decode.sampler.proposal import DrawRequest
from smc_decode.sampler.state import LiveParticle, Population
from smc_decode.sampler.stops.posterior import take_rollouts


async def outcome(parts: Parts, harvest: Harvest, n_draws: int) -> SMCResult:
    """The result of a run whose passes are over."""
    context = parts.context
    population = _population(parts, harvest)
    weights = normalise([particle.log_weight for particle in population]).tolist()
    # A recycled population has another size than the passes had: its log-mean-exp is log Z^ all the same.
    scale = math.log(len(population) / harvest.size) if parts.pools else 0.0
    particles = [
        _particle(replace(live, log_weight=live.log_weight + scale), weight)
        for live, weight in zip(population, weights, strict=True)
    ]
    draws = await _select(parts, particles, n_draws)
    if not harvest.cut_short and parts.set_aside is not None:
        harvest, particles, draws = await _brought_to_end(parts, harvest, population, particles, draws)
    if context.decode is not None:
        draws = [replace(each, text=context.decode(each.token_ids)) for each in draws]
    context.usage.answer = sum(len(each.token_ids) for each in draws)
    history = harvest.state.history
    inexact = tuple(dict.fromkeys(_inexact(parts, harvest)))
    return SMCResult(
        particles=particles,
        answer=draws[0],
        draws=draws,
        log_z=harvest.log_z if _estimates_z(parts, harvest, population) else None,
        ess=[record.ess for record in history],
        ancestors=[record.ancestors for record in history],
        resampled=[record.resampled for record in history],
        acceptance_rate=harvest.accepted / harvest.proposed if harvest.proposed else None,
        blocks=len(history),
        usage=context.usage,
        stopped=harvest.stopped,
        inexact=inexact,
        warnings=[f"{harvest.stopped} ran out: this is the best current estimate"] if harvest.cut_short else [],
    )


def _population(parts: Parts, harvest: Harvest) -> Population:
    """Whom the answer is chosen from.

    Of conditional passes a draw is one of the last; to search or to vote is to look at all that was drawn.
    """
    config = parts.context.config
    if len(harvest.passes) > 1 and (config.n_sweeps == 1 or config.selection != "sample"):
        return harvest.drawn
    held = any(particle.active and particle.rollouts for particle in harvest.population)
    if harvest.cut_short and held and parts.rollouts is not None:
        return take_rollouts(replace(harvest.state, particles=harvest.population), parts.rollouts).particles
    return harvest.population


async def _select(parts: Parts, particles: Sequence[Particle], n_draws: int) -> list[Particle]:
    """The draws, off the event loop where extractors may take their time over hostile text."""
    context = parts.context
    arguments = (particles, context.config, n_draws, context.noise.rng, context.read)
    if context.config.selection == "vote":
        return await asyncio.to_thread(select, *arguments)
    return select(*arguments)


async def _brought_to_end(
    parts: Parts, harvest: Harvest, population: Population, particles: list[Particle], draws: list[Particle]
) -> tuple[Harvest, list[Particle], list[Particle]]:
    """The answers among those that were set aside, completed."""
    context = parts.context
    chosen = {id(each) for each in draws}
    waiting = [i for i, particle in enumerate(particles) if id(particle) in chosen and not particle.finished]
    requests = []
    for slot, i in enumerate(waiting):
        trajectory = population[i].trajectory
        fork = await context.proposal.fork(population[i].sequence, len(trajectory))
        requests.append(
            DrawRequest(
                trajectory, fork, context.config.max_tokens, context.noise.seed(slot), context.config.temperature
            )
        )
    try:
        drawn, cut = await draw(context, requests)
        async with context.budget.limit(grace=True):
            trajectories = await context.scorer.score(list(drawn.values()))
    except BudgetSpent as spent:
        return replace(harvest, stopped=spent.cause), particles, draws
    whole = dict(zip((waiting[number] for number in drawn), trajectories, strict=True))
    ended = {
        id(particles[i]): _particle(replace(population[i], trajectory=trajectory), particles[i].weight)
        for i, trajectory in whole.items()
    }
    completed = [ended.get(id(particle), particle) for particle in particles]
    return replace(harvest, stopped=cut or harvest.stopped), completed, [ended.get(id(each), each) for each in draws]


def _particle(live: LiveParticle, weight: float) -> Particle:
    trajectory = live.trajectory
    return Particle(
        token_ids=trajectory.token_ids,
        log_weight=live.log_weight,
        weight=weight,
        finished=trajectory.finished,
        reward=trajectory.reward,
        finish_reason=trajectory.finish_reason,
        logprobs=trajectory.logprobs,
        detail=trajectory.detail,
    )


# ---- what is exact ----------------------------------------------------------------------------------------------


def _estimates_z(parts: Parts, harvest: Harvest, population: Population) -> bool:
    """Whether the run has an estimate of log Z at all."""
    config = parts.context.config
    searched = harvest.stopped == "reward_reached" or any(parts.hopeless(p.trajectory) for p in population)
    return all(map(estimates_z, parts.moves)) and not (harvest.cut_short or searched or not config.temperature)


def _inexact(parts: Parts, harvest: Harvest) -> Iterator[str]:
    """Why E[exp(log Z^)] is not Z, or the weights are not proper, said by each part that causes it."""
    config = parts.context.config
    named = (
        parts.context.scorer,
        parts.rollouts,
        parts.tempering,
        *parts.moves,
        *parts.stop_rules(config.lookahead.early_stop),
    )
    for part in named:
        if part is not None and part.inexact is not None:
            yield part.inexact
    if harvest.cut_short:
        yield f"{harvest.stopped} ended the run: what is there is the best current estimate"
    if not config.temperature:
        yield "proposal_temperature 0 is greedy decoding, not a draw"
    if config.n_sweeps > 1 and config.selection != "sample":
        yield f"selection {config.selection!r} looks at the particles of all sweeps: consistent in N, not proper"
