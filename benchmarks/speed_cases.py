"""The cases of the speed benchmark that run in this process. Each compares itself with plain sampling next to it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from smc_decode import Lookahead, Rejuvenation, run
from smc_decode.events import BlockExtended, Rejuvenated
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.potentials.options import RewardRequest
from smc_decode.sandbox import Sandbox

from .speed_bench import Bench, N, code_problems, config
from .speed_meter import Spent

BUSY, BUSY_N = 16, 8
"""Requests at a time, and the particles of each."""


@dataclass(frozen=True)
class Measured:
    """One repeat of a case. ``value`` is the figure that the target speaks of; ``spent`` where the time went."""

    value: float
    spent: Spent | None = None
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """``target`` is for the reader; ``reached`` says whether a figure reaches it. ``measure``: None where it takes more
    than an engine."""

    name: str
    what: str
    target: str
    reached: Callable[[float], bool]
    measure: Callable[[Bench, int], Awaitable[Measured]] | None = None


def _prefix_only(block_size: int) -> Callable[[Bench, int], Awaitable[Measured]]:
    async def measure(bench: Bench, repeat: int) -> Measured:
        plain = await bench.plain()
        spent, _ = await bench.smc(config(block_size=block_size))
        after = await bench.plain()
        limit = 2 * plain.work.drawn / (plain.seconds + after.seconds)
        return Measured(spent.rate / limit, spent, {"plain": round(limit, 1)})

    return measure


async def _unit_tests(bench: Bench, repeat: int) -> Measured:
    """Rewards from the examples of a HumanEval prompt, run in the sandbox; another problem each repeat."""
    problems = code_problems(bench, 20)
    problem, prompt = problems[repeat % len(problems)]
    with Sandbox() as sandbox:
        catalogue = RewardCatalogue.default(sandbox=sandbox)
        asked = RewardRequest(problem.question, None, client_is_local=True)
        potential = catalogue.build("prompt_examples", {}, reward_scale=4.0, request=asked)
        plain = await bench.plain([prompt] * N)
        spent, result = await bench.smc(config(), prompt, potential)
        after = await bench.plain([prompt] * N)
        await catalogue.aclose()
    limit = 2 * plain.work.drawn / (plain.seconds + after.seconds)
    more = {"plain": round(limit, 1), "problem": problem.id, "asked": result.usage.reward_calls}
    return Measured(spent.rate / limit, spent, more)


async def _moves(bench: Bench, repeat: int) -> Measured:
    """A Metropolis-Hastings step over the population, against plain requests for as many tokens each."""
    settings = config(block_size=64, rejuvenation=Rejuvenation(steps=1))
    taken: list[tuple[float, list[int]]] = []
    begin = 0.0
    events = run(bench.engine, bench.prompt(), bench.potential(), settings, seed=next(bench.seeds))
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Rejuvenated):
                taken.append((time.perf_counter() - begin, bench.engine.last_lengths))
            elif isinstance(event, BlockExtended):
                bench.meter.work.steps = 0
            begin = time.perf_counter()
    seconds, limit = 0.0, 0.0
    for took, lengths in taken:
        plain = await bench.plain([bench.prompt()] * len(lengths), lengths)
        seconds += took
        limit += plain.seconds
    return Measured(
        seconds / limit, None, {"moves": len(taken), "seconds": round(seconds, 3), "plain": round(limit, 3)}
    )


async def _lookahead(bench: Bench, repeat: int) -> Measured:
    """Which share of the rollouts' tokens ends in a particle, or goes on as a next rollout."""
    plain = await bench.plain()
    spent, result = await bench.smc(config(lookahead=Lookahead(rollouts=2)))
    usage = result.usage
    more = {"rollout": usage.rollout, "sampled": usage.sampled, "rate_ratio": round(spent.rate / plain.rate, 3)}
    return Measured(usage.reused / usage.rollout, spent, more)


async def _busy(bench: Bench, repeat: int) -> Measured:
    """Many requests at a time, against one call for as many sequences on the same prompts."""
    prompts = [bench.prompt(i) for i in range(BUSY) for _ in range(BUSY_N)]
    await bench.plain(prompts[::BUSY_N], [1] * BUSY)  # the prompts, once, for both
    plain = await bench.plain(prompts)
    with bench.meter.measure() as spent:
        await asyncio.gather(*_requests(bench))
    after = await bench.plain(prompts)
    limit = 2 * plain.work.drawn / (plain.seconds + after.seconds)
    return Measured(spent().rate / limit, spent(), {"plain": round(limit, 1)})


async def _small_request(bench: Bench, repeat: int) -> Measured:
    """How long a request for 16 tokens takes while others run, against the same beside plain sampling."""
    prompts = [bench.prompt(i) for i in range(BUSY) for _ in range(BUSY_N)]
    await bench.plain([*prompts[::BUSY_N], bench.prompt(63)], [1] * (BUSY + 1))
    alone = await _latency(bench)
    async with _beside(asyncio.gather(*_requests(bench))):
        busy = await _latency(bench)
    async with _beside(asyncio.ensure_future(bench.plain(prompts))):
        limit = await _latency(bench)
    more = {"alone": round(alone, 3), "beside_smc": round(busy, 3), "beside_plain": round(limit, 3)}
    return Measured(busy / limit, None, more)


async def _own_cpu(bench: Bench, repeat: int) -> Measured:
    """Milliseconds of this process's CPU a particle and block, with a reward that costs nothing."""
    block_size = 8
    spent, result = await bench.smc(config(block_size=block_size))
    return Measured(1000 * spent.cpu / (N * result.blocks), spent, {"blocks": result.blocks})


def _requests(bench: Bench) -> list[Awaitable[Any]]:
    settings = config(n_particles=BUSY_N)
    return [bench.run(settings, bench.prompt(i), bench.potential()) for i in range(BUSY)]


@asynccontextmanager
async def _beside(load: asyncio.Future[Any]) -> AsyncIterator[None]:
    """Run the body while a load is in full swing, and then let the load end."""
    await asyncio.sleep(1.5)
    try:
        yield
    finally:
        await load


async def _latency(bench: Bench) -> float:
    """Seconds of a small request, the median of three in a row."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        await bench.run(config(n_particles=1, max_tokens=16, block_size=16), bench.prompt(63), None)
        seconds.append(time.perf_counter() - begin)
    return sorted(seconds)[1]


CASES = {
    case.name: case
    for case in (
        Case("b32", "prefix-only, B=32, cheap reward, resampling at every block", "≥ 0.95 of plain, aim 0.97",
             lambda x: x >= 0.95, _prefix_only(32)),
        Case("b8", "the same at B=8", "≥ 0.85 of plain, aim 0.95", lambda x: x >= 0.85, _prefix_only(8)),
        Case("unit-tests", "prefix-only, B=32, examples run in the sandbox", "≥ 0.9 of plain",
             lambda x: x >= 0.9, _unit_tests),
        Case("moves", "MH step on the population, against the same suffix tokens plainly", "≤ 1.15 times",
             lambda x: x <= 1.15, _moves),
        Case("lookahead", "J=2 with reuse: rollout tokens that end in a particle or a next rollout", "≥ 0.40",
             lambda x: x >= 0.4, _lookahead),
        Case("busy", "16 requests of N=8 at a time, against saturated plain sampling", "≥ 0.95 of plain",
             lambda x: x >= 0.95, _busy),
        Case("small-request", "latency of 16 tokens beside them, against the same beside plain sampling",
             "≤ 2 times", lambda x: x <= 2.0, _small_request),
        Case("own-cpu", "own CPU, ms a particle and block (B=8)", "≤ 1 ms", lambda x: x <= 1.0, _own_cpu),
    )
}  # fmt: skip
"""In the order of the issue's table; the server's cases are in ``speed_server``."""
