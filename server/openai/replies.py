"""What goes back for a run: answers as text with their numbers, ``usage`` and ``smc``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from server.openai.logprobs import ScoredToken, scored_tokens
from server.openai.text import ShownText
from server.runs.batch import Ended
from server.runs.plan import Plan
from server.runs.services import Services
from server.runs.wire import plain, usage_json
from smc_decode.result import Particle, Usage


@dataclass(frozen=True)
class Answer:
    """One returned particle."""

    particle: Particle
    text: str
    """Without the stop string, and what follows it."""
    finish_reason: str
    tokens: Sequence[ScoredToken] | None
    """The tokens of ``text`` with the model's log-probabilities, where they were asked for."""
    plan: Plan

    @property
    def numbers(self) -> dict[str, Any]:
        """The choice's ``weight`` and ``reward``."""
        return {"weight": self.particle.weight, "reward": plain(self.particle.reward)}


class Format(Protocol):
    """How an operation shows answers: whole, or as chunks of a stream."""

    @property
    def logprobs(self) -> int | None:
        """How many alternatives a token is shown with; None: no log-probabilities."""
        ...

    async def prepare(self, plans: Sequence[Plan]) -> None:
        """Ask the engine for what the answers need beside the runs; called when the request has its slots."""
        ...

    def choice(self, index: int, answer: Answer) -> dict[str, Any]:
        """The choice of a whole response."""
        ...

    def response(self, choices: Sequence[Mapping[str, Any]], tail: Mapping[str, Any]) -> dict[str, Any]:
        """The whole response."""
        ...


def finish_reason(particle: Particle, stopped: bool) -> str:
    """OpenAI's: ``stop`` for an ending of the model's or a stop string, else ``length``."""
    return "stop" if stopped or particle.finish_reason in ("eos", "stop") else "length"


async def make_answer(services: Services, plan: Plan, particle: Particle, logprobs: int | None) -> Answer:
    """The particle as text, with log-probabilities if ``logprobs`` (a number of alternatives) is set."""
    tokenizer = services.engine.tokenizer
    if tokenizer is None:
        return Answer(particle, "", finish_reason(particle, False), None, plan)
    shown = ShownText(tokenizer.decode, plan.config.stop)
    shown.end(particle.token_ids)
    tokens = None
    if logprobs is not None:
        tokens = within(await score(services, plan, particle.token_ids, 0, shown.pieces, logprobs), shown)
    return Answer(particle, shown.text, finish_reason(particle, shown.stopped), tokens, plan)


async def score(
    services: Services, plan: Plan, token_ids: Sequence[int], start: int, pieces: Sequence[str], logprobs: int
) -> list[ScoredToken]:
    """``token_ids[start:]`` of an answer under the base model."""
    tokenizer = services.engine.tokenizer
    if tokenizer is None or start >= len(token_ids):
        return []
    prompt = plan.prompt.token_ids
    scores = await services.engine.score([*prompt, *token_ids], len(prompt) + start, top_logprobs=logprobs)
    return scored_tokens(tokenizer, scores, pieces[start:])


def within(tokens: Sequence[ScoredToken], shown: ShownText) -> list[ScoredToken]:
    """The tokens that belong to the shown text: all of them, or those that begin before the stop string."""
    if not shown.stopped:
        return list(tokens)
    kept, offset = [], 0
    for token in tokens:
        if offset >= len(shown.text):
            break
        kept.append(token)
        offset += len(token.piece)
    return kept


def tail(ended: Sequence[Ended]) -> dict[str, Any]:
    """``usage`` and ``smc`` of a response."""
    return {"usage": usage(ended), "smc": smc(ended)}


def usage(ended: Sequence[Ended]) -> dict[str, Any]:
    """OpenAI's usage of the answers that are returned; all work is under ``smc``."""
    prompt = sum(len(each.plan.prompt.token_ids) for each in ended)
    completion = sum(len(draw.token_ids) for each in ended for draw in draws(each))
    work = Usage()
    for each in ended:
        for name in usage_json(work):
            setattr(work, name, getattr(work, name) + getattr(each.result.usage, name))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "smc": usage_json(work),
    }


def smc(ended: Sequence[Ended]) -> dict[str, Any]:
    """The run in numbers; for a list of prompts, one entry of ``runs`` each."""
    if len(ended) == 1:
        return _smc_of(ended[0])
    return {"preset": ended[0].plan.preset, "runs": [_smc_of(each) for each in ended]}


def draws(ended: Ended) -> Sequence[Particle]:
    """The particles that were drawn to be returned."""
    return ended.result.draws or (ended.result.answer,)


def _smc_of(ended: Ended) -> dict[str, Any]:
    result = ended.result
    return {
        "log_z": plain(result.log_z),
        "ess": plain(list(result.ess)),
        "resampled": [bool(each) for each in result.resampled],
        "acceptance_rate": plain(result.acceptance_rate),
        "blocks": result.blocks,
        "n_particles": ended.plan.config.n_particles,
        "preset": ended.plan.preset,
        "seed": ended.plan.seed,
        "stopped": result.stopped,
        "exact": result.exact,
        "trace_id": ended.trace_id,
        "warnings": list(ended.warnings),
    }
