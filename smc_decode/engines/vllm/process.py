"""Our side of the engine's process: start it, hand it requests, get their replies, notice its death, end it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from smc_decode.engines.base import EngineError
from smc_decode.engines.vllm.channel import Channel
from smc_decode.engines.vllm.environment import worker_environment
from smc_decode.engines.vllm.messages import (
    Abort,
    Failed,
    Measure,
    Measured,
    Ping,
    Pong,
    Ready,
    Reply,
    Request,
    Stop,
    Submit,
)
from smc_decode.engines.vllm.settings import VLLMSettings

_LOG_TAIL = 2000


class Mailbox:
    """Where the replies to one caller's requests arrive, in that caller's event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._arrived: asyncio.Queue[Reply | EngineError] = asyncio.Queue()

    def put(self, replies: Sequence[Reply | EngineError]) -> None:
        """From any thread. A loop that is closed wants nothing any more."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._put, replies)

    def _put(self, replies: Sequence[Reply | EngineError]) -> None:
        for reply in replies:
            self._arrived.put_nowait(reply)

    async def get(self) -> Reply:
        """The next reply. Raises EngineError when the engine died."""
        reply = await self._arrived.get()
        if isinstance(reply, EngineError):
            # Each waiter gets an exception of its own: a traceback belongs to one.
            raise EngineError(str(reply))
        return reply


class EngineProcess:
    """A running engine. Safe to use from several event loops and threads."""

    def __init__(self, settings: VLLMSettings) -> None:
        self._settings = settings
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._send_lock = threading.Lock()
        self._owners: dict[int, Mailbox] = {}
        self._error: EngineError | None = None
        self._ready: Ready | None = None
        self._started: asyncio.Future[None] | None = None
        self._closing = False
        self._log = tempfile.TemporaryFile("w+b")  # noqa: SIM115  (lives as long as the process)
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "smc_decode.engines.vllm.inside.worker", "--socket", str(theirs.fileno())],
                env=worker_environment(settings),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                # Not in the terminal's group: Ctrl-C is ours to handle.
                start_new_session=True,
            )
        finally:
            theirs.close()
        self._reader = threading.Thread(target=self._read, name="vllm-replies", daemon=True)

    @classmethod
    async def start(cls, settings: VLLMSettings) -> EngineProcess:
        """Start the process and wait until the model is loaded.

        Raises EngineError when it cannot be: the message ends with what vLLM said.
        """
        process = cls(settings)
        process._started = asyncio.get_running_loop().create_future()
        try:
            process._send(settings)
            process._reader.start()
            async with asyncio.timeout(settings.start_timeout):
                await process._started
        except TimeoutError:
            await process.shutdown()
            raise EngineError(
                f"vLLM did not load {settings.model} within {settings.start_timeout} s: raise start_timeout"
            ) from None
        except BaseException:
            await process.shutdown()
            raise
        return process

    @property
    def ready(self) -> Ready:
        if self._ready is None:
            raise EngineError("the vLLM engine is not loaded")
        return self._ready

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def error(self) -> EngineError | None:
        """Why the engine is dead, or None."""
        return self._error

    def next_id(self) -> int:
        return next(self._ids)

    def submit(self, requests: Sequence[Request]) -> Mailbox:
        """Hand over requests, in one message. Raises EngineError when the engine is dead."""
        mailbox = Mailbox()
        with self._lock:
            if self._error is not None:
                raise EngineError(str(self._error))
            for request in requests:
                self._owners[request.id] = mailbox
        self._send(Submit(list(requests)))
        return mailbox

    def abort(self, ids: Iterable[int]) -> None:
        """Stop work on requests; their replies are not delivered any more. Harmless for those that have ended."""
        with self._lock:
            known = [i for i in ids if self._owners.pop(i, None) is not None]
            dead = self._error is not None
        if known and not dead:
            with contextlib.suppress(EngineError):
                self._send(Abort(known))

    async def ping(self, timeout: float) -> int:
        """The number of requests in work. Raises EngineError when the engine is dead or does not answer."""
        reply = await self._ask(Ping, timeout)
        return reply.unfinished if isinstance(reply, Pong) else 0

    async def metrics(self, timeout: float) -> str:
        """vLLM's own metrics in Prometheus' text format. Raises EngineError as :meth:`ping` does."""
        reply = await self._ask(Measure, timeout)
        return reply.text if isinstance(reply, Measured) else ""

    async def _ask(self, question: Callable[[int], Ping | Measure], timeout: float) -> Reply:
        identity = self.next_id()
        mailbox = Mailbox()
        with self._lock:
            if self._error is not None:
                raise EngineError(str(self._error))
            self._owners[identity] = mailbox
        self._send(question(identity))
        try:
            async with asyncio.timeout(timeout):
                return await mailbox.get()
        except TimeoutError:
            raise EngineError(f"the vLLM engine has not answered for {timeout:g} s") from None
        finally:
            with self._lock:
                self._owners.pop(identity, None)

    async def shutdown(self, grace: float = 5.0) -> None:
        """End the process and reap it. Idempotent; callers that wait for replies get EngineError."""
        self._closing = True
        with contextlib.suppress(EngineError):
            self._send(Stop())
        await asyncio.to_thread(self._end, grace)
        self._die(EngineError("the vLLM engine was shut down"))
        self._channel.close()

    def _end(self, grace: float) -> None:
        if self._ready is None:  # still loading: it would not hear us
            self._process.terminate()
        for force in (self._process.terminate, self._process.kill):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
                return
            force()
        self._process.wait()

    # ---- the reader thread ------------------------------------------------------------------------------------

    def _read(self) -> None:
        while True:
            try:
                message: Any = self._channel.receive()
            except EOFError:
                self._die(self._why_dead())
                return
            if isinstance(message, list):
                self._deliver(message)
            elif isinstance(message, Ready):
                self._ready = message
                self._settle(None)
            elif isinstance(message, Failed):
                self._die(EngineError(f"the vLLM engine failed: {message.message}{self._said()}"))

    def _deliver(self, replies: list[Reply]) -> None:
        by_owner: dict[Mailbox, list[Reply | EngineError]] = {}
        with self._lock:
            for reply in replies:
                owner = self._owners.pop(reply.id, None)
                if owner is not None:
                    by_owner.setdefault(owner, []).append(reply)
        for owner, theirs in by_owner.items():
            owner.put(theirs)

    def _die(self, error: EngineError) -> None:
        with self._lock:
            if self._error is None:
                self._error = error
            owners = set(self._owners.values())
            self._owners.clear()
        for owner in owners:
            owner.put([self._error])
        self._settle(self._error)

    def _settle(self, error: EngineError | None) -> None:
        started = self._started
        if started is None:
            return

        def settle() -> None:
            if started.done():
                return
            if error is None:
                started.set_result(None)
            else:
                started.set_exception(EngineError(str(error)))

        with contextlib.suppress(RuntimeError):
            started.get_loop().call_soon_threadsafe(settle)

    def _why_dead(self) -> EngineError:
        if self._closing:
            return EngineError("the vLLM engine was shut down")
        try:
            code: int | None = self._process.wait(5)
        except subprocess.TimeoutExpired:
            code = None
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        hint = " (the kernel kills a process when memory runs out)" if code == -9 else ""
        return EngineError(f"the vLLM engine's process {how}{hint}{self._said()}")

    def _said(self) -> str:
        """The end of what vLLM printed, for an error message."""
        with contextlib.suppress(OSError, ValueError):
            self._log.seek(0, 2)
            self._log.seek(max(0, self._log.tell() - _LOG_TAIL))
            text = self._log.read().decode(errors="replace").strip()
            if text:
                return f"; it said:\n{text}"
        return ""

    def _send(self, message: object) -> None:
        try:
            with self._send_lock:
                self._channel.send(message)
        except OSError as error:
            raise EngineError(str(self._error or f"the vLLM engine is gone: {error}")) from error
