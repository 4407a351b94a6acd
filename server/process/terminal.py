"""What the command line shows: a live run, the rewards, a stored run, the configuration."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from server.app import create_app
from server.edge.logs import configure_logging
from server.openai.errors import translate
from server.openai.protocol import ChatBody, CompletionBody
from server.openai.templates import chat_prompt, completion_prompts
from server.runs.batch import Batch
from server.runs.plan import make_plan, read_orders
from server.runs.services import Services
from server.runs.wire import event_json
from server.settings import ConfigError, Settings
from smc_decode.engines.bundled_model import default_cache_dir
from smc_decode.events import BlockExtended, Event, Resampled, Weighted

_SHOWN = 24  # particles that fit a screen


async def run_live(settings: Settings, body: Mapping[str, Any]) -> None:
    """Run one request without HTTP and show its population as it changes. Raises ConfigError."""
    from server.process.engines import build_engine, model_name
    from server.process.serving import check, load_reward_models, open_catalogue, open_sandbox

    console = Console()
    check(settings)
    configure_logging(settings.server.model_copy(update={"log_level": "warning", "log_format": "console"}))
    sandbox = await asyncio.to_thread(open_sandbox, settings)
    with console.status("loading the engine and its model"):
        engine = await build_engine(settings.engine)
    name = model_name(settings.engine) or engine.info.model
    chosen = settings.server.model_copy(update={"served_model_name": (name,)})
    catalogue = open_catalogue(settings, sandbox, engine)
    app = create_app(engine, catalogue, chosen, presets=settings.presets, sandbox=sandbox)
    async with app.router.lifespan_context(app):
        try:
            await load_reward_models(catalogue, Console(stderr=True))
            await _run_one(console, app.state.services, {"model": name, **_given(body)})
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(translate(error).message) from error


async def _run_one(console: Console, served: Services, body: Mapping[str, Any]) -> None:
    if "messages" in body:
        chat = ChatBody.model_validate(body)
        orders, prompt = read_orders(served, chat), await chat_prompt(served.engine, chat)
    else:
        completion = CompletionBody.model_validate(body)
        orders, prompts = read_orders(served, completion), await completion_prompts(served.engine, completion, 1)
        prompt = prompts[0]
    plan = await make_plan(served, orders, prompt, local=True)
    batch = Batch(served, [plan], "terminal", body["model"], {}, orders.fields.trace)
    population = Population(served, plan.config.n_particles)
    with Live(population, console=console, refresh_per_second=8, transient=True) as live:

        async def show(_: int, event: Event) -> None:
            population.read(event)
            live.update(population)

        (ended,) = await batch.run(show)
    result = ended.result
    console.print(population)
    console.print(Panel(Text(result.answer.text or ""), title="answer", title_align="left"))
    usage = result.usage
    numbers = f"log Z {result.log_z:.3f}" if result.log_z is not None else "log Z not available"
    if result.answer.reward is not None:
        numbers += f"   reward {result.answer.reward:.3g}"
    console.print(
        f"{numbers}   blocks {result.blocks}   tokens drawn {usage.drawn} for an answer of {usage.answer}   "
        f"rewards {usage.reward_calls}"
    )
    for warning in ended.warnings:
        console.print(f"warning: {warning}", style="yellow")


class Population:
    """The particles of a run as a table; a reader of its events."""

    def __init__(self, served: Services, n: int) -> None:
        tokenizer = served.engine.tokenizer
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
                told = event_json(event)
                logs = [-1e300 if each is None else each for each in told["log_weights"]]
                top = max(logs)
                raw = [2.718281828459045 ** (each - top) for each in logs]
                self._weights = [each / sum(raw) for each in raw]
                self._rewards = list(event.rewards)
                self._status = (
                    f"block {event.block + 1}   ESS {event.ess:.1f} of {len(logs)}   log Z {event.log_z:.2f}   "
                    f"resampled {self._resampled} times"
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


def show_rewards(settings: Settings, as_json: bool) -> None:
    """List the rewards of the configuration. Raises ConfigError."""
    from server.process.serving import open_catalogue, open_sandbox

    sandbox = open_sandbox(settings)
    with contextlib.ExitStack() as stack:
        if sandbox is not None:
            stack.callback(sandbox.close)
        infos = open_catalogue(settings, sandbox, None).infos()
    if as_json:
        listed = [
            {
                "name": info.name,
                "description": info.description,
                "available": info.available,
                "reason": info.reason,
                "params": info.params,
            }
            for info in infos
        ]
        print(json.dumps(listed, indent=2))
        return
    table = Table(box=None)
    for column in ("reward", "here", "parameters", "what it is"):
        table.add_column(column)
    for info in infos:
        here = "yes" if info.available else f"no: {info.reason}"
        table.add_row(info.name, here, ", ".join(info.params.get("properties", {})), info.description)
    Console().print(table)


def show_trace(settings: Settings, run_id: str) -> None:
    """Show a stored run. Raises ConfigError where it is not there."""
    path = Path(run_id)
    if not path.is_file():
        path = (settings.server.trace_dir or default_cache_dir() / "traces") / f"{run_id}.jsonl"
    try:
        events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ConfigError(f"no stored run can be read from {path}: {error}") from None
    console = Console()
    table = Table(box=None)
    for column in ("block", "ESS", "log Z", "ancestors of the resampling", "accepted moves"):
        table.add_column(column)
    rows: dict[int, list[str]] = {}
    for event in events:
        row = rows.setdefault(event.get("block", -1), ["", "", "", ""])
        match event["event"]:
            case "Weighted":
                row[0], row[1] = f"{event['ess']:.2f}", _number(event["log_z"])
            case "Resampled":
                row[2] = " ".join(map(str, event["ancestors"]))
            case "Rejuvenated":
                row[3] = f"{row[3]} {sum(event['accepted'])}/{sum(event['proposed'])}".strip()
    for block, row in sorted(rows.items()):
        if block >= 0:
            table.add_row(str(block), *row)
    head = events[0]
    console.print(f"{head.get('id')}   {head.get('model')}   preset {head.get('preset')}   seed {head.get('seed')}")
    console.print(table)
    finished = [event for event in events if event["event"] == "Finished"]
    if not finished:
        console.print("the run did not end well: there is no answer", style="yellow")
        return
    answer = finished[0]["answer"]["text"] or str(finished[0]["answer"]["token_ids"])
    console.print(Panel(Text(answer), title="answer", title_align="left"))


def as_toml(tables: Mapping[str, Any], prefix: str = "") -> str:
    """Nested mappings as TOML: a table's values first, then its sub-tables."""
    lines = []
    values = {key: value for key, value in tables.items() if not isinstance(value, Mapping)}
    if values and prefix:
        lines.append(f"[{prefix}]")
    lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    for key, value in tables.items():
        if isinstance(value, Mapping):
            name = key if key.replace("_", "").replace("-", "").isalnum() else json.dumps(key)
            inner = as_toml(value, f"{prefix}.{name}" if prefix else name)
            lines += ["", inner] if lines and inner else [inner] if inner else []
    return "\n".join(lines)


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
