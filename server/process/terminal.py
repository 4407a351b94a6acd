"""``smc-decode run``: one request without HTTP, its population live in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from smc_decode.answers.thinking import ThinkTags
from smc_decode.engines.base import Engine
from smc_decode.engines.bundled_model import default_cache_dir
from smc_decode.events import BlockExtended, Event, Resampled, Weighted
from smc_decode.laws.weights import normalise

from ..edge.logs import configure_logging
from ..errors import translate
from ..openai.fields import run_request
from ..openai.protocol import ChatBody, CompletionBody
from ..openai.templates import chat_prompt, completion_prompts
from ..openai.thinking import think_tags
from ..runs.plan import Planner, Plans
from ..runs.request import Origin
from ..runs.runner import Ended, Runner
from ..runs.store import Traces
from ..settings import ConfigError, Settings
from .loading import Loaded, load

_SHOWN = 24  # particles that fit a screen
_OWNER = "terminal"


async def run_live(settings: Settings, body: Mapping[str, Any]) -> None:
    """Run one request and show its population as it changes. Raises ConfigError."""
    configure_logging(settings.server.model_copy(update={"log_level": "warning", "log_format": "console"}))
    loaded = await load(settings, Console(stderr=True))
    try:
        await _run_one(Console(), loaded, settings, {key: value for key, value in body.items() if value is not None})
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(translate(error).message) from error
    finally:
        await loaded.aclose()


async def _run_one(console: Console, loaded: Loaded, settings: Settings, body: Mapping[str, Any]) -> None:
    engine = loaded.engine
    book = loaded.presets(settings)
    planner = Planner(engine.info, loaded.catalogue, book, settings.server)
    traces = Traces(settings.server.trace_dir or default_cache_dir() / "traces", settings.server.trace_max_bytes)
    plans = await plan_body(
        planner, engine, {"model": book.model_names[0], **body}, think_tags(engine.tokenizer, settings.server)
    )
    population = Population(engine, plans.runs[0].config.n_particles)
    with Live(population, console=console, refresh_per_second=8, transient=True) as live:

        async def show(_: int, event: Event) -> None:
            population.read(event)
            live.update(population)

        origin = Origin(_OWNER, book.model_names[0])
        runner = Runner(engine, traces=traces)
        (ended,) = await runner.run(plans.runs, origin, store=plans.options.trace, on_event=show)
    console.print(population)
    _show_answer(console, ended)


async def plan_body(planner: Planner, engine: Engine, body: Mapping[str, Any], tags: ThinkTags | None) -> Plans:
    """The runs that a request's body asks for, on this machine."""
    if "messages" in body:
        chat = ChatBody.model_validate(body)
        return await planner.plan(run_request(engine, chat), [await chat_prompt(engine, chat, tags)], local=True)
    completion = CompletionBody.model_validate(body)
    prompts = await completion_prompts(engine, completion, 1)
    return await planner.plan(run_request(engine, completion), prompts, local=True)


def _show_answer(console: Console, ended: Ended) -> None:
    result = ended.result
    console.print(Panel(Text(result.answer.text or ""), title="answer", title_align="left"))
    usage = result.usage
    numbers = f"log Z {result.log_z:.3f}" if result.log_z is not None else "log Z not available"
    if result.answer.reward is not None:
        numbers += f"   reward {result.answer.reward:.3g}"
    console.print(
        f"{numbers}   blocks {result.blocks}   tokens drawn {usage.drawn} for an answer of {usage.answer}   "
        f"rewards {usage.reward_calls}"
    )
    for line in lines_of_tests(result.answer.detail):
        console.print(line)
    for warning in ended.warnings:
        console.print(f"warning: {warning}", style="yellow")


def lines_of_tests(detail: Mapping[str, Any]) -> list[Text]:
    """A line for each test that the answer's reward names, green where it holds."""
    return [
        Text(f"{mark} {test['name']}", style=style)
        for test in detail.get("tests", ())
        for mark, style in [_MARKS[test["status"]]]
    ]


_MARKS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "open": ("…", "yellow")}


class Population:
    """The particles of a run as a table; a reader of its events."""

    def __init__(self, engine: Engine, n: int) -> None:
        tokenizer = engine.tokenizer
        self._decode = tokenizer.decode if tokenizer is not None else (lambda ids: " ".join(map(str, ids)))
        self._texts = [""] * n
        self._finished = [False] * n
        self._weights = [1.0 / n] * n
        self._rewards: list[float | None] = [None] * n
        self._status = "starting"
        self._resampled = 0

    def read(self, event: Event) -> None:
        match event:
            case BlockExtended():
                self._texts = [self._decode(token_ids) for token_ids in event.token_ids]
                self._finished = list(event.finished)
            case Weighted():
                if np.isfinite(event.log_weights).any():  # else all are dead, and the run ends here
                    self._weights = normalise(event.log_weights).tolist()
                self._rewards = list(event.rewards)
                self._status = (
                    f"block {event.block + 1}   ESS {event.ess:.1f} of {len(event.log_weights)}   "
                    f"log Z {event.log_z:.2f}   resampled {self._resampled} times"
                )
            case Resampled():
                self._resampled += 1

    def __rich__(self) -> RenderableType:
        table = Table(box=None, expand=True, show_edge=False)
        table.add_column("weight", width=16, no_wrap=True)
        table.add_column("reward", width=6, justify="right")
        table.add_column("text", ratio=1, no_wrap=True, overflow="ellipsis")
        heaviest = max(self._weights)
        for weight, reward, text, finished in list(
            zip(self._weights, self._rewards, self._texts, self._finished, strict=False)
        )[:_SHOWN]:
            bar = "█" * round(10 * weight / heaviest) if heaviest > 0 else ""
            tail = text.replace("\n", "⏎ ")[-400:]
            style = "dim" if finished else ""
            table.add_row(
                f"{bar:<10} {weight:5.3f}", "" if reward is None else f"{reward:.2f}", Text(tail, style=style)
            )
        return Group(Text(self._status, style="bold"), table)
