"""Sequential Monte Carlo decoding (arXiv 2604.16453) as a stream of events: the schedule of a run.

Where to read on: smc_pass.py is Algorithm 1, passes.py what surrounds it, outcome.py what comes of it, assemble.py
how a configuration becomes its parts. What is exact and what is a heuristic: docs/method.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import numpy as np

from smc_decode.config import SMCConfig
from smc_decode.engines.base import Engine
from smc_decode.engines.proposed import ProposedBy
from smc_decode.events import Event, Finished, Started
from smc_decode.potentials.base import Potential
from smc_decode.presets import preset
from smc_decode.result import SMCResult
from smc_decode.sampler.assemble import Parts
from smc_decode.sampler.context import Reads, RunContext
from smc_decode.sampler.outcome import outcome
from smc_decode.sampler.passes import Amend, Schedule

Prompt = str | Sequence[int]
"""Text, for engines that have a tokenizer, or token ids."""

DEFAULT_CONFIG = SMCConfig()


async def run(
    engine: Engine,
    prompt_token_ids: Prompt = (),
    potential: Potential | None = None,
    config: SMCConfig | str = DEFAULT_CONFIG,
    *,
    seed: int | np.random.Generator | None = None,
    n_draws: int = 1,
    prompt_text: str = "",
    amend: Amend | None = None,
    proposal: Engine | None = None,
    reads: Reads | None = None,
) -> AsyncGenerator[Event, None]:
    """Run SMC and yield what happens, ending with :class:`Finished`.

    Closing the iterator, or cancelling the task that reads it, ends the engine's work. The same seed gives the same
    run, with any reader (on a table engine exactly; on vLLM as far as its kernels allow).

    Args:
        prompt_token_ids: the prompt, as token ids, or as text where the engine has a tokenizer.
        potential: what multiplies the model's distribution; None: psi = 1.
        config: the configuration, or a preset's name.
        seed: of the run's Generator, or the Generator itself; None: fresh noise.
        n_draws: how many answers to draw from the final population.
        prompt_text: what rewards are told of the prompt; the prompt itself where that is text.
        proposal: draws in the engine's place, from whatever law; the weights correct it (``engines.proposed``).
        reads: the part of a text that rewards, votes and stop strings look at; None: all of it.
        amend: replaces parts of the algorithm of each pass, for research.

    Raises:
        AllParticlesDead: nothing that was drawn has positive weight.
        EngineRequestError, PotentialError: the request cannot be served as it is.
        EngineError, RewardFailure: the engine or the reward failed.
        ValueError: an argument is out of its range.
    """
    if n_draws < 1:
        raise ValueError(f"n_draws must be at least 1, got {n_draws}")
    if proposal is not None:
        engine = ProposedBy(engine, proposal)
    if isinstance(config, str):
        config = preset(config, reward=potential is not None)
    prompt = tuple(_encoded(engine, prompt_token_ids) if isinstance(prompt_token_ids, str) else prompt_token_ids)
    if isinstance(prompt_token_ids, str):
        prompt_text = prompt_text or prompt_token_ids
    context = RunContext.of(engine, prompt, potential, config, seed=seed, prompt_text=prompt_text, reads=reads)
    try:
        parts = Parts.of(context)
        yield Started(config.n_particles, context.n_blocks, len(prompt))
        schedule = Schedule(parts, await context.proposal.open(prompt), amend)
        harvest = schedule.nothing_yet
        async with aclosing(schedule()) as steps:
            async for harvest, event in steps:  # noqa: B007 (the last one is the result)
                if event is not None:
                    yield event
        yield Finished(await outcome(parts, harvest, n_draws))
    finally:
        await context.release()


async def sample(
    engine: Engine,
    prompt_token_ids: Prompt = (),
    potential: Potential | None = None,
    config: SMCConfig | str = DEFAULT_CONFIG,
    *,
    seed: int | np.random.Generator | None = None,
    n_draws: int = 1,
    prompt_text: str = "",
    amend: Amend | None = None,
    proposal: Engine | None = None,
    reads: Reads | None = None,
) -> SMCResult:
    """Run SMC and return its result. Arguments and errors as for :func:`run`."""
    events = run(
        engine,
        prompt_token_ids,
        potential,
        config,
        seed=seed,
        n_draws=n_draws,
        prompt_text=prompt_text,
        amend=amend,
        proposal=proposal,
        reads=reads,
    )
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Finished):
                return event.result
    raise RuntimeError("the run ended without a result")


def sample_sync(
    engine: Engine,
    prompt_token_ids: Prompt = (),
    potential: Potential | None = None,
    config: SMCConfig | str = DEFAULT_CONFIG,
    *,
    seed: int | np.random.Generator | None = None,
    n_draws: int = 1,
    prompt_text: str = "",
    amend: Amend | None = None,
    proposal: Engine | None = None,
    reads: Reads | None = None,
) -> SMCResult:
    """:func:`sample` for code without an event loop."""
    result = sample(
        engine,
        prompt_token_ids,
        potential,
        config,
        seed=seed,
        n_draws=n_draws,
        prompt_text=prompt_text,
        amend=amend,
        proposal=proposal,
        reads=reads,
    )
    return asyncio.run(result)


def _encoded(engine: Engine, text: str) -> list[int]:
    if engine.tokenizer is None:
        raise ValueError("the prompt is text, but the engine has no tokenizer: give token ids")
    return engine.tokenizer.encode(text)
