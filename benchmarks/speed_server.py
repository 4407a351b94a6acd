"""The cases that look at a whole server: from its start to the first token, and its memory over many requests."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from .speed_cases import Measured

_GIB = 1 << 30
# The wheel calls the folders smc_decode_server and smc_decode_benchmarks.
_COMMAND = f"{(__package__ or 'benchmarks').replace('benchmarks', 'server')}.cli"
_AT_A_TIME = 16
_BETWEEN_LOOKS = 100


@dataclass
class Server:
    """A server process. ``stages``: seconds from the spawn to what it has done by then."""

    process: asyncio.subprocess.Process
    base: str = ""
    stages: dict[str, float] = field(default_factory=dict)

    def resident(self) -> float:
        """GiB of memory that the server and its processes hold, pages that they share counted once."""
        return sum(map(_proportional, _family(self.process.pid))) / _GIB


@contextlib.asynccontextmanager
async def server(model: str, *arguments: str) -> AsyncIterator[Server]:
    """``smc-decode serve`` on a free port, ended at the end."""
    begin = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", _COMMAND, "serve", "--model", model, "--port", "0", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    started = Server(process)
    reader: asyncio.Task[None] | None = None
    try:
        output = process.stdout
        if output is None:
            raise RuntimeError("the server's output cannot be read")
        while line := (await output.readline()).decode(errors="replace"):
            if line.startswith("loading the engine"):
                started.stages["interpreter, imports, sandbox's self-test"] = time.perf_counter() - begin
            elif line.startswith("serving"):
                started.base = line.split()[1].removesuffix("/v1")
                started.stages["engine loaded, port open"] = time.perf_counter() - begin
                break
        if not started.base:
            raise RuntimeError("the server ended before it served")
        reader = asyncio.create_task(_drain(output))
        yield started
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
        await process.wait()
        if reader is not None:
            reader.cancel()


async def start_to_first_token(model: str) -> Measured:
    """Seconds from starting the command to the first token of a streamed answer."""
    begin = time.perf_counter()
    async with server(model) as started, httpx.AsyncClient(base_url=started.base, timeout=120) as client:
        name = await _model(client)
        body = _body(name, 0) | {"stream": True, "smc": {"n_particles": 1, "block_size": 1}}
        async with client.stream("POST", "/v1/completions", json=body) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data:") and '"text":""' not in line.replace(" ", ""):
                    break
        total = time.perf_counter() - begin
        stages = started.stages | {"first token": total}
    return Measured(total, None, {"stages": {name: round(seconds, 2) for name, seconds in stages.items()}})


async def memory(model: str, requests: int) -> Measured:
    """GiB resident at most, and the growth over the last three quarters of many short requests."""
    numbers = itertools.count(1)
    looks: list[float] = []
    async with server(model) as started, httpx.AsyncClient(base_url=started.base, timeout=120) as client:
        name = await _model(client)

        async def keep_asking() -> None:
            while (number := next(numbers)) <= requests:
                (await client.post("/v1/completions", json=_body(name, number))).raise_for_status()
                if number % _BETWEEN_LOOKS == 0:
                    looks.append(started.resident())

        await asyncio.gather(*(keep_asking() for _ in range(_AT_A_TIME)))
    late = looks[len(looks) // 4 :]
    growth = 1024 * (sum(late[-3:]) / len(late[-3:]) - sum(late[:3]) / len(late[:3]))
    more = {"requests": requests, "growth_mib": round(growth, 1), "looks_gib": [round(look, 3) for look in looks]}
    return Measured(max(looks), None, more)


async def _model(client: httpx.AsyncClient) -> str:
    name: str = (await client.get("/v1/models")).raise_for_status().json()["data"][0]["id"]
    return name


def _body(model: str, number: int) -> dict[str, Any]:
    """A short request, like no other."""
    prompt = f"Request {number}: " + " ".join(str((number * k) % 997) for k in range(1, 20)) + ". Say hello."
    smc = {"n_particles": 2, "block_size": 4}
    return {"model": model, "prompt": prompt, "max_tokens": 8, "seed": number, "smc": smc}


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(1 << 16):
        pass


def _family(pid: int) -> list[int]:
    """A process and its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                parents.setdefault(parent, []).append(int(entry))
    family = [pid]
    for member in family:
        family += parents.get(member, [])
    return family


def _proportional(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024.0
    return 0.0
