"""Starting, draining and dying: what the server knows of its own state and of its engine's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog

from server.edge.admission import Admission
from server.openai.errors import unavailable
from smc_decode.engines.base import Engine, EngineError

_POLL = 2.0  # seconds between looks at the engine
_PATIENCE = 10.0  # seconds that one look may take
T = TypeVar("T")
_log = structlog.get_logger("server.process.life")


class Lifecycle:
    """Watches the engine, and drains the server when it is told to stop."""

    def __init__(self, engine: Engine, admission: Admission, drain_timeout_s: float) -> None:
        self._engine = engine
        self._admission = admission
        self._drain_timeout_s = drain_timeout_s
        self.created = int(time.time())
        self.engine_fault: str | None = None
        self._work: set[asyncio.Future[Any]] = set()
        self._aborted = False

    @property
    def draining(self) -> bool:
        return self._admission.draining

    @property
    def busy(self) -> int:
        """Requests that are in, running or waiting."""
        return self._admission.running + self._admission.waiting

    async def check(self) -> str | None:
        """What is wrong with the engine now, or None."""
        try:
            await asyncio.wait_for(self._engine.health(), _PATIENCE)
        except EngineError as error:
            self.engine_fault = str(error) or "the engine is down"
        except TimeoutError:
            self.engine_fault = f"the engine gave no sign of life for {_PATIENCE:g} s"
        else:
            self.engine_fault = None
        return self.engine_fault

    async def watch(self, on_death: Callable[[], None] | None) -> None:
        """Look at the engine now and then; tell ``on_death`` once when it is gone."""
        told = False
        while True:
            await asyncio.sleep(_POLL)
            fault = await self.check()
            if fault is None:
                told = False
            elif not told:
                told = True
                _log.error("engine died", reason=fault)
                if on_death is not None:
                    on_death()

    async def until_aborted(self, work: Awaitable[T]) -> T:
        """The result of a request's ``work``. Raises APIError (503) when the server stops before it is done."""
        task = asyncio.ensure_future(work)
        self._work.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._aborted and current is not None and not current.cancelling():
                raise unavailable("the server was stopped during this request", "server_stopped", 10.0) from None
            raise
        finally:
            self._work.discard(task)
            task.cancel()

    def abort(self) -> None:
        """End all work that is going on; its clients are told."""
        self._admission.draining = self._aborted = True
        for task in self._work:
            task.cancel()

    async def drain(self) -> bool:
        """Take no more requests and wait for those that are in; those that take too long are ended (False)."""
        try:
            await asyncio.wait_for(self._admission.drain(), self._drain_timeout_s)
        except TimeoutError:
            _log.warning("drain timed out", running=self._admission.running, waiting=self._admission.waiting)
            self.abort()
            return False
        return True
