"""``smc-decode suggest``: draws a few answers, looks at how the reward moves along them, and says what to set."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console
from rich.progress import track

from smc_decode import SMCResult, sample
from smc_decode.answers.thinking import ThinkTags
from smc_decode.engines.base import Engine
from smc_decode.potentials.base import Prefix
from smc_decode.validation import problem_of

from ..edge.logs import configure_logging
from ..errors import translate
from ..openai.protocol import ChatBody, CompletionBody
from ..openai.thinking import think_tags
from ..runs.plan import Plan, Planner
from ..settings import ConfigError, Settings
from .advice import PLACES, Advice, Judged, advise
from .loading import load
from .terminal import plan_body

ANSWERS = 8
"""Answers to each prompt."""


async def suggest(
    settings: Settings, source: str, reward: Mapping[str, Any] | None, prompts: int, as_json: bool
) -> None:
    """Read prompts from ``source``, draw, and print the advice. Raises ConfigError."""
    configure_logging(settings.server.model_copy(update={"log_level": "warning", "log_format": "console"}))
    bodies = read_prompts(source, reward)[:prompts]
    errors = Console(stderr=True)
    loaded = await load(settings, errors)
    try:
        book = loaded.presets(settings)
        planner = Planner(loaded.engine.info, loaded.catalogue, book, settings.server)
        tags = think_tags(loaded.engine.tokenizer, settings.server)
        judged: list[Judged] = []
        for number, body in enumerate(track(bodies, "drawing", console=errors, transient=True)):
            named = {"model": book.model_names[0], **body}
            judged += await judge(loaded.engine, planner, named, tags, number)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(translate(error).message) from error
    finally:
        await loaded.aclose()
    print(to_json(advise(judged)) if as_json else to_text(advise(judged)))


def read_prompts(source: str, reward: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Requests for the lines of a file: JSON objects with ``messages`` or ``prompt``, or each line a chat message.
    Raises ConfigError."""
    name = "standard input" if source == "-" else source
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {name}: {error}") from None
    bodies = [_body(line, f"{name}, line {i}", reward) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not bodies:
        raise ConfigError(f"{name} holds no prompt: write one a line, or JSON lines with messages or prompt")
    return bodies


def _body(line: str, place: str, reward: Mapping[str, Any] | None) -> dict[str, Any]:
    asked: Any = {"messages": [{"role": "user", "content": line}]}
    if line.lstrip().startswith("{"):
        try:
            asked = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{place} is not JSON: {error}") from None
    smc = dict(asked.pop("smc", {}) or {})
    chosen = asked.pop("reward", None) or smc.get("reward") or reward
    if chosen is None:
        raise ConfigError(f"{place} names no reward: give --reward")
    body = {**asked, "smc": {**smc, "preset": "best-of-n", "n_particles": ANSWERS, "reward": chosen}}
    try:
        (ChatBody if "messages" in body else CompletionBody).model_validate({"model": "any", **body})
    except ValidationError as error:
        raise ConfigError(f"{place}: {problem_of(error, ChatBody)}") from None
    return body


async def judge(
    engine: Engine, planner: Planner, body: Mapping[str, Any], tags: ThinkTags | None, number: int
) -> list[Judged]:
    """Answers to one prompt, and what the reward says along them."""
    (plan,) = (await plan_body(planner, engine, body, tags)).runs
    if plan.potential is None:
        raise ConfigError("the request has no reward")
    result = await sample(
        engine, plan.prompt.token_ids, plan.potential, plan.config, seed=plan.seed, prompt_text=plan.prompt.text
    )
    return await _along(engine, plan, result, number)


async def _along(engine: Engine, plan: Plan, result: SMCResult, number: int) -> list[Judged]:
    assert plan.potential is not None
    decode = None if engine.tokenizer is None else engine.tokenizer.decode
    prefixes = [
        Prefix(
            particle.token_ids[: max(1, int(place * len(particle.token_ids)))], False,
            prompt_token_ids=tuple(plan.prompt.token_ids), prompt_text=plan.prompt.text,
            logprobs=particle.logprobs[: max(1, int(place * len(particle.token_ids)))] or None, decode=decode,
        )
        for particle in result.particles
        for place in PLACES
    ]  # fmt: skip
    asked = plan.potential.kind != "terminal"
    told = [each.reward for each in await plan.potential.evaluate(prefixes)] if asked else [None] * len(prefixes)
    width = len(PLACES)
    return [
        Judged(
            number,
            len(particle.token_ids),
            particle.reward or 0.0,
            tuple(0.0 if value is None else value for value in told[i * width : (i + 1) * width]),
        )
        for i, particle in enumerate(result.particles)
    ]


def to_json(advice: Advice) -> str:
    return json.dumps({"preset": advice.preset, "block_size": advice.block_size, "why": advice.why, "measured": {
        "answers": advice.answers, "median_tokens": advice.tokens, "mean_reward": round(advice.mean, 4),
        "full_reward": round(advice.full, 4), "pairs": advice.pairs, "levels": advice.levels,
        "auc": {f"{place:.0%}": round(auc, 3) for place, auc in zip(PLACES, advice.auc, strict=True)},
    }})  # fmt: skip


def to_text(advice: Advice) -> str:
    """What to set, why, and the figures."""
    told: Sequence[str] = [f"{auc:.2f} at {place:.0%}" for place, auc in zip(PLACES, advice.auc, strict=True)]
    smc: dict[str, Any] = {"preset": advice.preset}
    if advice.block_size is not None:
        smc["block_size"] = advice.block_size
    return "\n".join([
        f'"smc": {json.dumps(smc)}',
        advice.why,
        "",
        f"{advice.answers} answers of {advice.tokens:g} tokens (median); reward {advice.mean:.2f} on average, "
        f"{advice.full:.0%} with 1",
        f"the better of two answers had the higher reward (AUC): {', '.join(told)} of its length "
        f"({advice.pairs} pairs); {advice.levels} levels of reward",
        "docs/when.md has what was measured of each decoder.",
    ])  # fmt: skip
