"""What the steps of one run share: its target, its proposal, its rewards, its account and its noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from smc_decode.config import SMCConfig
from smc_decode.engines.base import Engine, EngineRequestError
from smc_decode.potentials.base import Potential
from smc_decode.result import StopCause, Usage
from smc_decode.sampler.budget import Budget
from smc_decode.sampler.proposal import DrawRequest, Proposal
from smc_decode.sampler.scoring import Scorer
from smc_decode.sampler.target import TargetLaw

Decode = Callable[[Sequence[int]], str]
Reads = Callable[[str], str]
"""The part of a text that rewards, votes and stop strings look at (the answer, of a model that thinks aloud first)."""


class Noise:
    """A run's randomness: one Generator, and a child stream for each particle slot, so that what else is in the batch
    does not matter. ``seed`` None: fresh noise."""

    def __init__(self, seed: int | np.random.Generator | None, slots: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.streams = self.rng.spawn(slots)

    def seed(self, slot: int) -> int:
        """A fresh seed for the engine, from a slot's stream."""
        return int(self.streams[slot].integers(2**63))


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run's tools. Steps hold it; none of them changes it."""

    config: SMCConfig
    target: TargetLaw
    proposal: Proposal
    scorer: Scorer
    budget: Budget
    usage: Usage
    noise: Noise
    log_scale: float | None
    """log of the largest product of potentials that a sequence can have; None: not known."""
    decode: Decode | None
    """Token ids to their text."""
    read: Decode | None
    """Token ids to what is looked at of their text."""

    @classmethod
    def of(
        cls,
        engine: Engine,
        prompt_token_ids: tuple[int, ...],
        potential: Potential | None,
        config: SMCConfig,
        *,
        seed: int | np.random.Generator | None,
        prompt_text: str,
        reads: Reads | None = None,
    ) -> Self:
        """The tools for a run. Raises EngineRequestError where the engine cannot serve it."""
        check_context(engine, len(prompt_token_ids), config)
        decode = None if engine.tokenizer is None else engine.tokenizer.decode
        read = decode if decode is None or reads is None else lambda token_ids: reads(decode(token_ids))
        usage = Usage()
        target = TargetLaw(config, tempered_proposal=engine.info.tempered_proposal, any_log_z=engine.info.exact_log_z)
        keep_logprobs = potential is not None and potential.needs_logprobs
        return cls(
            config=config,
            target=target,
            proposal=Proposal(engine, config, target, usage, keep_logprobs=keep_logprobs, reads=reads),
            scorer=Scorer(potential, usage, config.block_size, prompt_token_ids, prompt_text, read),
            budget=Budget(usage, config.max_total_tokens, config.deadline_s, config.max_total_rows),
            usage=usage,
            noise=Noise(seed, config.n_particles),
            log_scale=0.0 if potential is None else potential.log_scale,
            decode=decode,
            read=read,
        )

    @property
    def n_blocks(self) -> int:
        """How many blocks a pass has at most."""
        return -(-self.config.max_tokens // self.config.block_size)

    def end_of(self, block: int) -> int:
        """How many tokens a sequence has at most when ``block`` ends."""
        return min((block + 1) * self.config.block_size, self.config.max_tokens)

    def within_budget(self, requests: Sequence[DrawRequest]) -> tuple[Sequence[DrawRequest], StopCause | None]:
        """The requests, cut to what is left of the budgets, and the one that cut them. Raises BudgetSpent."""
        share, cause = self.budget.share([request.end - len(request.trajectory) for request in requests])
        if cause is None:
            return requests, None
        return [replace(r, end=len(r.trajectory) + n) for r, n in zip(requests, share, strict=True)], cause

    async def release(self) -> None:
        """Leave nothing behind, in the engine or in the reward."""
        await self.scorer.release()
        await self.proposal.release()


def check_context(engine: Engine, prompt_tokens: int, config: SMCConfig) -> None:
    """Raises EngineRequestError for a prompt that leaves no room for max_tokens."""
    limit = engine.info.max_model_len
    if limit is not None and prompt_tokens + config.max_tokens > limit:
        raise EngineRequestError(
            f"prompt of {prompt_tokens} tokens plus max_tokens {config.max_tokens} exceeds the model's context of "
            f"{limit}: shorten the prompt or lower max_tokens"
        )
