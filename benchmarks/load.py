"""Load on a running server: many connections for some minutes, whole and streamed answers, several presets.

python -m benchmarks.load --base-url http://127.0.0.1:8000/v1 --connections 32 --seconds 300 --pid $SERVER_PID
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

PROMPTS = (
    "Name three colours and say what they are like.",
    "What is the capital of France, and what is it known for?",
    "Write a Python function that adds two numbers.",
    "Tell me a short story about a dog and a river.",
    "Why is the sky blue?",
    "List the days of the week in reverse order.",
)
_RESIDENT = re.compile(r"^process_resident_memory_bytes (\S+)$", re.MULTILINE)
_WARM_UP = 60.0  # seconds after which memory is held to be that of a server at work
_MIB = 1 << 20


@dataclass(frozen=True)
class Load:
    """What is asked of the server."""

    base_url: str
    connections: int
    seconds: float
    presets: tuple[str, ...]
    max_tokens: int
    api_key: str
    every: float = 10.0
    """Seconds between two looks at the memory."""


@dataclass(frozen=True)
class Answered:
    """One request. Times in seconds; ``first`` is the time to the first text of a stream."""

    preset: str
    stream: bool
    seconds: float
    first: float | None = None
    answer_tokens: int = 0
    drawn_tokens: int = 0
    """All tokens that the engine drew for it: particles, rollouts and Metropolis-Hastings proposals."""
    failure: str = ""


@dataclass(frozen=True)
class Memory:
    """Resident bytes ``at`` so many seconds: of the server's process, and of it with its engine (0: not known)."""

    at: float
    server: int
    tree: int = 0


@dataclass
class Report:
    """All that was measured."""

    load: Load
    seconds: float = 0.0
    answered: list[Answered] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)

    @property
    def failures(self) -> Counter[str]:
        return Counter(each.failure for each in self.answered if each.failure)

    def growth(self) -> tuple[float, float] | None:
        """MiB that the server, and it with its engine, gained from the second minute to the last; None: too short."""
        settled = [each for each in self.memory if each.at >= _WARM_UP]
        share = max(1, len(settled) // 4)
        if len(settled) < 4:
            return None
        first, last = settled[:share], settled[-share:]
        gains = [
            np.mean([getattr(each, name) for each in last]) - np.mean([getattr(each, name) for each in first])
            for name in ("server", "tree")
        ]
        return float(gains[0]) / _MIB, float(gains[1]) / _MIB

    def as_json(self) -> dict[str, Any]:
        load = {key: value for key, value in asdict(self.load).items() if key != "api_key"}
        return {
            "load": load,
            "seconds": self.seconds,
            "requests": len(self.answered),
            "failures": dict(self.failures),
            "groups": [asdict(group) for group in groups(self)],
            "memory_growth_mib": self.growth(),
            "memory": [asdict(each) for each in self.memory],
        }


@dataclass(frozen=True)
class Group:
    """Requests of one kind. Latencies in seconds, tokens per second of the whole run."""

    name: str
    requests: int
    failed: int
    p50: float
    p95: float
    first_p50: float | None
    first_p95: float | None
    answer_tokens_per_s: float
    drawn_tokens_per_s: float


def groups(report: Report) -> list[Group]:
    """By preset and form, and all together at the end."""
    kinds = sorted({(each.preset, each.stream) for each in report.answered})
    made = [
        _group(f"{preset}, {'streamed' if stream else 'whole'}", [
            each for each in report.answered if (each.preset, each.stream) == (preset, stream)
        ], report.seconds)
        for preset, stream in kinds
    ]  # fmt: skip
    return [*made, _group("all", report.answered, report.seconds)]


def _group(name: str, some: Sequence[Answered], seconds: float) -> Group:
    good = [each for each in some if not each.failure]
    firsts = [each.first for each in good if each.first is not None]
    return Group(
        name=name,
        requests=len(some),
        failed=len(some) - len(good),
        p50=_quantile([each.seconds for each in good], 0.5) or 0.0,
        p95=_quantile([each.seconds for each in good], 0.95) or 0.0,
        first_p50=_quantile(firsts, 0.5),
        first_p95=_quantile(firsts, 0.95),
        answer_tokens_per_s=sum(each.answer_tokens for each in good) / max(seconds, 1e-9),
        drawn_tokens_per_s=sum(each.drawn_tokens for each in good) / max(seconds, 1e-9),
    )


def _quantile(values: Sequence[float], q: float) -> float | None:
    return float(np.quantile(values, q)) if values else None


# ---- the run -----------------------------------------------------------------------------------------------------


async def run(load: Load, pid: int | None = None, transport: httpx.AsyncBaseTransport | None = None) -> Report:
    """Keep ``connections`` requests in progress until the time is up, and let those that are in end."""
    report = Report(load)
    headers = {"Authorization": f"Bearer {load.api_key}"}
    limits = httpx.Limits(max_connections=load.connections + 1)
    async with httpx.AsyncClient(
        base_url=load.base_url, headers=headers, limits=limits, timeout=600, transport=transport
    ) as client:
        models = (await client.get("/models")).raise_for_status().json()["data"]
        model = models[0]["id"]
        began = time.monotonic()
        # Every combination comes up equally often, whichever connection is free.
        kinds = itertools.cycle(itertools.product(load.presets, (False, True)))
        numbers = itertools.count()

        async def connection() -> None:
            while time.monotonic() - began < load.seconds:
                preset, stream = next(kinds)
                number = next(numbers)
                body = {
                    "model": model,
                    "messages": [{"role": "user", "content": PROMPTS[number % len(PROMPTS)]}],
                    "max_tokens": load.max_tokens,
                    "seed": number,
                    "stream": stream,
                    "smc": {"preset": preset},
                }
                report.answered.append(await ask(client, body))

        watch = asyncio.create_task(_watch_memory(client, report, began, pid))
        await asyncio.gather(*(connection() for _ in range(load.connections)))
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        report.seconds = time.monotonic() - began
    return report


async def ask(client: httpx.AsyncClient, body: dict[str, Any]) -> Answered:
    """One request, and what became of it: a failure is a result, not an exception."""
    preset, stream = body["smc"]["preset"], body["stream"]
    began = time.monotonic()
    try:
        if stream:
            return await _ask_streamed(client, {**body, "stream_options": {"include_usage": True}}, began)
        reply = await client.post("/chat/completions", json=body)
        seconds = time.monotonic() - began
        if reply.status_code != 200:
            return Answered(preset, stream, seconds, failure=f"status {reply.status_code}")
        return Answered(preset, stream, seconds, None, *_tokens(reply.json()["usage"]))
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return Answered(preset, stream, time.monotonic() - began, failure=type(error).__name__)


async def _ask_streamed(client: httpx.AsyncClient, body: dict[str, Any], began: float) -> Answered:
    preset = body["smc"]["preset"]
    first = usage = None
    ended = False
    async with client.stream("POST", "/chat/completions", json=body) as reply:
        if reply.status_code != 200:
            return Answered(preset, True, time.monotonic() - began, failure=f"status {reply.status_code}")
        async for line in reply.aiter_lines():
            if line == "data: [DONE]":
                ended = True
            elif line.startswith("data: "):
                chunk = json.loads(line.removeprefix("data: "))
                if "error" in chunk:
                    return Answered(preset, True, time.monotonic() - began, failure=chunk["error"]["code"])
                said = any(choice["delta"].get("content") for choice in chunk["choices"])
                if said and first is None:
                    first = time.monotonic() - began
                usage = chunk.get("usage") or usage
    seconds = time.monotonic() - began
    if not ended or usage is None:
        return Answered(preset, True, seconds, failure="the stream broke off")
    return Answered(preset, True, seconds, first, *_tokens(usage))


def _tokens(usage: dict[str, Any]) -> tuple[int, int]:
    drawn = usage.get("smc", {})
    return usage["completion_tokens"], sum(drawn.get(key, 0) for key in ("sampled", "rollout", "mh"))


# ---- memory ------------------------------------------------------------------------------------------------------


async def _watch_memory(client: httpx.AsyncClient, report: Report, began: float, pid: int | None) -> None:
    metrics = str(httpx.URL(report.load.base_url).join("/metrics"))
    while True:
        await asyncio.sleep(report.load.every)
        try:
            found = _RESIDENT.search((await client.get(metrics)).text)
        except httpx.HTTPError:
            continue
        server = int(float(found[1])) if found else 0
        report.memory.append(Memory(time.monotonic() - began, server, 0 if pid is None else tree_bytes(pid)))


def tree_bytes(pid: int, proc: Path = Path("/proc")) -> int:
    """Resident bytes of a process and all below it, as Linux tells them; 0 for one that is gone."""
    children: dict[int, list[int]] = {}
    resident: dict[int, int] = {}
    for folder in proc.iterdir():
        if folder.name.isdigit():
            fields = dict(_status(folder / "status"))
            if "PPid" in fields:
                children.setdefault(int(fields["PPid"]), []).append(int(folder.name))
                resident[int(folder.name)] = 1024 * int(fields.get("VmRSS", "0 kB").split()[0])
    total, waiting = 0, [pid]
    while waiting:
        each = waiting.pop()
        total += resident.get(each, 0)
        waiting += children.get(each, [])
    return total


def _status(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # it ended meanwhile
        return
    for line in text.splitlines():
        name, _, value = line.partition(":")
        yield name, value.strip()


# ---- what is shown -----------------------------------------------------------------------------------------------


def show(report: Report, console: Console) -> None:
    """The figures as tables."""
    table = Table(
        "requests", "number", "failed", "p50 s", "p95 s", "first text p50 s", "p95 s", "answer tok/s", "drawn tok/s"
    )
    for each in groups(report):
        firsts = ("-" if value is None else f"{value:.2f}" for value in (each.first_p50, each.first_p95))
        table.add_row(
            each.name,
            str(each.requests),
            str(each.failed),
            f"{each.p50:.2f}",
            f"{each.p95:.2f}",
            *firsts,
            f"{each.answer_tokens_per_s:.1f}",
            f"{each.drawn_tokens_per_s:.1f}",
        )
    table.columns[0].no_wrap = True
    console.print(table)
    memory = Table("seconds", "server MiB", "with its engine MiB")
    for look in report.memory:
        memory.add_row(f"{look.at:.0f}", f"{look.server / _MIB:.1f}", f"{look.tree / _MIB:.1f}" if look.tree else "-")
    console.print(memory)
    for failure, number in report.failures.most_common():
        console.print(f"failed {number} times: {failure}", highlight=False)
    growth = report.growth()
    if growth is not None:
        console.print(f"after the first minute: server {growth[0]:+.1f} MiB, with its engine {growth[1]:+.1f} MiB")


def main(
    base_url: Annotated[str, typer.Option(help="The server's address, ending in /v1.")] = "http://127.0.0.1:8000/v1",
    connections: Annotated[int, typer.Option(help="Requests at a time.", min=1)] = 32,
    seconds: Annotated[float, typer.Option(help="How long new requests are sent.", min=1)] = 300,
    presets: Annotated[str, typer.Option(help="Presets, with commas.")] = "base,smc",
    max_tokens: Annotated[int, typer.Option(help="Most tokens of an answer.", min=1)] = 48,
    api_key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="The server's key.")] = "none",
    pid: Annotated[int | None, typer.Option(help="The server's process, to see its engine's memory too.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures here, as JSON.")] = None,
) -> None:
    """Put load on a server; exit code 1 when a request failed."""
    load = Load(base_url.rstrip("/"), connections, seconds, tuple(presets.split(",")), max_tokens, api_key)
    try:
        report = asyncio.run(run(load, pid))
    except httpx.HTTPError as error:
        typer.echo(f"error: {base_url} does not answer: {error}", err=True)
        raise typer.Exit(2) from None
    show(report, Console())
    if out is not None:
        out.write_text(json.dumps(report.as_json(), indent=1) + "\n", encoding="utf-8")
    raise typer.Exit(1 if report.failures else 0)


if __name__ == "__main__":
    typer.run(main)
