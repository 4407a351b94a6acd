"""What goes back for a run: answers as text with their numbers, ``usage`` and ``smc``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

from smc_decode.engines.base import Engine
from smc_decode.result import Particle, Usage

from ..runs.plan import Plan
from ..runs.request import Prompt
from ..runs.runner import Ended
from ..runs.wire import plain, usage_json
from .logprobs import ScoredToken
from .scoring import score_answer
from .text import Detokenizer, ShownText, cut_at

_MAX_HEADER = 1000  # characters


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
        return {"weight": self.particle.weight, "reward": plain(self.particle.reward) if self.plan.rewarded else None}


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


async def make_answer(
    engine: Engine, plan: Plan, particle: Particle, alternatives: int | None, *, keep_stop: bool = False
) -> Answer:
    """The particle as text, with log-probabilities if ``alternatives`` (how many beside each token) is set.

    The text is the one that the sampler decoded; tokens are looked at one by one only for log-probabilities.
    """
    tokenizer = engine.tokenizer
    if tokenizer is None:
        return Answer(particle, "", finish_reason(particle, False), None, plan)
    if alternatives is None and particle.text is not None:
        # A particle that ended otherwise holds no stop string: the sampler has looked.
        stop = plan.config.stop if particle.finish_reason == "stop" else ()
        start = 0 if plan.thinking is None else plan.thinking.begins(particle.text)
        cut = cut_at(particle.text, stop, start, keep_stop=keep_stop)
        return Answer(particle, particle.text[:cut], finish_reason(particle, cut is not None), None, plan)
    shown = ShownText(tokenizer.decode, plan.config.stop, keep_stop=keep_stop, begins=begins(plan))
    shown.end(particle.token_ids)
    tokens = None
    if alternatives is not None:
        ids, carried = particle.token_ids, particle.logprobs
        scored = await score_answer(engine, plan.prompt, ids, 0, shown.pieces, alternatives, carried)
        tokens = within(scored, shown)
    return Answer(particle, shown.text, finish_reason(particle, shown.stopped), tokens, plan)


def begins(plan: Plan) -> Callable[[str], int] | None:
    """Where in a text stop strings count."""
    return None if plan.thinking is None else plan.thinking.begins


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
    thoughts = [_thought_tokens(each.plan.prompt, draw) for each in ended for draw in draws(each)]
    told = [count for count in thoughts if count is not None]
    details = {"completion_tokens_details": {"reasoning_tokens": sum(told)}} if told else {}
    return {**token_usage(prompt, completion), **details, "smc": usage_json(work)}


def _thought_tokens(prompt: Prompt, particle: Particle) -> int | None:
    """Tokens before the answer; None for a model that does not think aloud."""
    if prompt.thinking is None or prompt.decode is None:
        return None
    detokenizer = Detokenizer(prompt.decode)
    ends = list(accumulate(len(detokenizer.push(token_id)) for token_id in particle.token_ids))
    begins = prompt.thinking.begins(prompt.decode(particle.token_ids))
    return sum(1 for end in ends if end <= begins) if begins else 0


def token_usage(prompt: int, completion: int) -> dict[str, Any]:
    """OpenAI's three numbers."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def warning_headers(warnings: Sequence[str]) -> dict[str, str]:
    """``X-SMC-Warning``: what ``smc.warnings`` says from the beginning, for clients that show no unknown fields."""
    text = "; ".join(warnings).encode("ascii", "replace").decode()
    return {"X-SMC-Warning": " ".join(text.split())[:_MAX_HEADER]} if text else {}


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
        "inexact": list(result.inexact),
        "trace_id": ended.trace_id,
        "warnings": list(ended.warnings),
    }
