"""Starting, draining and dying: what the server knows of its own state and of its engine's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from smc_decode.engines.base import Engine, EngineError

from ..edge.admission import Admission
from ..edge.work import Work

_POLL = 2.0  # seconds between looks at the engine
_PATIENCE = 10.0  # seconds that one look may take
_log = structlog.get_logger("server.process.life")


class Lifecycle:
    """Watches the engine, and drains the server when it is told to stop."""

    def __init__(self, engine: Engine, admission: Admission, work: Work, drain_timeout_s: float) -> None:
        self._engine = engine
        self._admission = admission
        self._work = work
        self._drain_timeout_s = drain_timeout_s
        self.created = int(time.time())
        self.engine_fault: str | None = None

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

    def abort(self) -> None:
        """End all work that is going on; its clients are told."""
        self._work.abort()

    async def drain(self) -> bool:
        """Take no more requests and wait for those that are in; those that take too long are ended (False)."""
        try:
            await asyncio.wait_for(self._admission.drain(), self._drain_timeout_s)
        except TimeoutError:
            _log.warning("drain timed out", running=self._admission.running, waiting=self._admission.waiting)
            self._work.abort()
            return False
        return True
