"""What the command line prints of a configuration: its rewards, a stored run, the tables in force."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tomli_w
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from smc_decode.engines.bundled_model import default_cache_dir

from ..settings import ConfigError, Settings
from .loading import open_catalogue, open_sandbox


def show_rewards(settings: Settings, as_json: bool) -> None:
    """List the rewards of the configuration. Raises ConfigError."""
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
    head = events[0]
    console.print(f"{head.get('id')}   {head.get('model')}   preset {head.get('preset')}   seed {head.get('seed')}")
    console.print(_blocks(events))
    finished = [event for event in events if event["event"] == "Finished"]
    if not finished:
        console.print("the run did not end well: there is no answer", style="yellow")
        return
    answer = finished[0]["answer"]["text"] or str(finished[0]["answer"]["token_ids"])
    console.print(Panel(Text(answer), title="answer", title_align="left"))


def _blocks(events: Iterable[Mapping[str, Any]]) -> Table:
    """One row a block."""
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
    return table


def show_config(settings: Settings) -> None:
    """Print the configuration as a file would hold it."""
    print(tomli_w.dumps(settings.model_dump(mode="json", exclude_none=True)), end="")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
