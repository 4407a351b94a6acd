"""Worker processes for what may hang or explode: each task has a limit of processor time, and a worker that overruns
is ended.

SymPy, regular expressions and schemas are run on text that a model or a client wrote, so they never run in the server's
process. A worker that dies or overruns after it said that it is ready died of its task (:class:`TaskDied`: the
candidate's fault); one that does not start, or that a busy machine does not let work, is a failure of ours
(RewardFailure). What other processes do never turns a right answer into a wrong one.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from smc_decode.potentials.base import RewardFailure
from smc_decode.potentials.options import MissingExtra
from smc_decode.workers.fair import FairPlaces

_READERS_OF_CODE = ("smc_decode.workers.code", "smc_decode.potentials.code.program", "smc_decode.sandbox.screening",
                    "smc_decode.potentials.code.probes")  # fmt: skip
MODULES = {
    "claims": (),
    "holds": ("sympy", "latex2sympy2_extended"),
    "canonical": ("mpmath",),
    "same": ("mpmath",),
    "json_answer": ("jsonschema", "referencing", "regex", "pydantic_core"),
    "check_schema": ("jsonschema", "referencing", "regex", "pydantic_core"),
    "pattern": ("regex",),
    "gym_question": ("reasoning_gym",),
    "gym_score": ("reasoning_gym",),
    "code_task": _READERS_OF_CODE,
    "refused_tests": _READERS_OF_CODE,
    "examples": _READERS_OF_CODE,
    "test_names": _READERS_OF_CODE,
    "asked_functions": _READERS_OF_CODE,
    "program": _READERS_OF_CODE,
    "code_key": _READERS_OF_CODE,
}
TASKS = Path(__file__).with_name("tasks.py")
START_SECONDS = 60.0
WALL_FACTOR, WALL_SECONDS = 20.0, 60.0
"""A task may take so many times its processor time, and at least so many seconds, by the clock on the wall."""
MAX_ANSWER = 1 << 20
_KEPT = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


class TaskDied(Exception):
    """The task used up its processor time, or took the worker with it."""


class TaskError(Exception):
    """The task raised; the message says what."""


class _Worker:
    def __init__(self) -> None:
        self._loaded: set[str] = set()
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(TASKS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                close_fds=True,
                start_new_session=True,
            )
        except OSError as error:
            raise RewardFailure(f"a worker process cannot be started: {error}") from error
        try:
            self._answer(START_SECONDS)
        except (TaskDied, RewardFailure) as error:
            self.kill()
            raise RewardFailure("a worker process does not start") from error

    def load(self, modules: tuple[str, ...]) -> None:
        """Import what a task needs, so that its time limit is its own. Raises MissingExtra."""
        if self._loaded.issuperset(modules):
            return
        try:
            self.call("load", {"modules": list(modules)}, START_SECONDS)
        except TaskError as error:
            raise MissingExtra(
                f"this needs {', '.join(modules)}: pip install 'smc-decode[rewards]' ({error})"
            ) from error
        except TaskDied as error:
            raise RewardFailure(f"a worker process cannot load {', '.join(modules)}") from error
        self._loaded.update(modules)

    def call(self, task: str, args: Mapping[str, Any], seconds: float) -> Any:
        request = json.dumps({"task": task, "args": args, "seconds": seconds}) + "\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(request.encode())
            self._process.stdin.flush()
        except OSError as error:
            raise TaskDied("the worker is gone") from error
        answer = self._answer(max(WALL_FACTOR * seconds, WALL_SECONDS))
        if "error" in answer:
            raise TaskError(str(answer["error"]))
        return answer["value"]

    def _answer(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        stdout = self._process.stdout
        assert stdout is not None
        buffer = bytearray()
        while not buffer.endswith(b"\n"):
            ready, _, _ = select.select([stdout], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(stdout.fileno(), 1 << 16) if ready else b""
            if not ready:
                raise RewardFailure("a worker process has had no time to work: the machine is too busy")
            if not part or len(buffer) > MAX_ANSWER:
                raise TaskDied("it took too long, or too much memory")
            buffer += part
        answer: dict[str, Any] = json.loads(buffer)
        return answer

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process.wait()


class WorkerPool:
    """At most ``size`` workers, started when they are needed. Thread-safe; :meth:`acall` is for asyncio."""

    def __init__(self, size: int = 2) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self.places = FairPlaces(size)
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="reward-worker")
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._closed = False

    def call(self, task: str, seconds: float, **args: Any) -> Any:
        """Run one task of ``workers.tasks`` in at most ``seconds`` of processor time.

        Raises TaskDied, TaskError or RewardFailure.
        """
        with self.places.place(""):
            return self.run(task, seconds, **args)

    async def acall(self, task: str, seconds: float, **args: Any) -> Any:
        """:meth:`call` without blocking the event loop."""
        async with self.places.aplace(""):
            return await self.arun(task, seconds, **args)

    def run(self, task: str, seconds: float, **args: Any) -> Any:
        """:meth:`call` for who has a place already."""
        with self._lock:
            if self._closed:
                raise RewardFailure("the worker processes have been stopped")
            worker = self._idle.pop() if self._idle else None
        worker = worker or _Worker()
        try:
            worker.load(MODULES[task])
            value = worker.call(task, args, seconds)
        except (TaskError, MissingExtra):
            self._release(worker)
            raise
        except BaseException:
            worker.kill()
            raise
        self._release(worker)
        return value

    async def arun(self, task: str, seconds: float, **args: Any) -> Any:
        """:meth:`acall` for who has a place already."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(self.run, task, seconds, **args))

    def close(self) -> None:
        """End the workers. Idempotent."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _release(self, worker: _Worker) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(worker)
                return
        worker.kill()


@functools.cache
def default_workers() -> WorkerPool:
    """The pool of whoever has none of their own, made at the first call and ended with the process."""
    pool = WorkerPool()
    atexit.register(pool.close)
    return pool
