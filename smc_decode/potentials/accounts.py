"""What a request may use of the processes in which rewards run programs and read texts, and whose share it is."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator, Sequence
from typing import Any, Protocol

from smc_decode.potentials.base import PotentialError
from smc_decode.workers.fair import FairPlaces


class BudgetSpent(PotentialError):
    """The rewards of a request have used up its seconds."""


class Account:
    """One request's. ``key``: places are shared round robin by key. ``seconds``: that it may hold places, added up
    over all of them; None: as many as it needs. Thread-safe."""

    def __init__(
        self, key: Hashable = "", seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.key = key
        self.seconds = seconds
        self.used = 0.0
        self._clock = clock
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raises BudgetSpent where nothing is left."""
        if self.seconds is not None and self.used >= self.seconds:
            raise BudgetSpent(
                f"the rewards of this request have used up its budget of {self.seconds:g} process seconds (programs "
                "that run, texts that are read): ask for fewer particles, rollouts or tests, or for shorter timeouts "
                "(the operator sets server.reward_seconds)"
            )

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        """Within the block a place is held. Raises BudgetSpent."""
        self.check()
        began = self._clock()
        try:
            yield
        finally:
            with self._lock:
                self.used += self._clock() - began


class Workers(Protocol):
    """What sources need of a :class:`~smc_decode.workers.pool.WorkerPool`."""

    def call(self, task: str, seconds: float, **args: Any) -> Any: ...

    async def acall(self, task: str, seconds: float, **args: Any) -> Any: ...


class PaidWorkers:
    """Worker processes at an account's expense."""

    def __init__(self, pool: Any, account: Account) -> None:
        self._pool = pool
        self._account = account

    def call(self, task: str, seconds: float, **args: Any) -> Any:
        """``WorkerPool.call``. Raises BudgetSpent too."""
        with self._pool.places.place(self._account.key), self._account.spending():
            return self._pool.run(task, seconds, **args)

    async def acall(self, task: str, seconds: float, **args: Any) -> Any:
        """``WorkerPool.acall``. Raises BudgetSpent too."""
        async with self._pool.places.aplace(self._account.key):
            with self._account.spending():
                return await self._pool.arun(task, seconds, **args)


class PaidSandbox:
    """A sandbox at an account's expense; ``places``: as many as it runs programs at a time."""

    def __init__(self, sandbox: Any, places: FairPlaces, account: Account) -> None:
        self._sandbox = sandbox
        self._places = places
        self._account = account

    async def arun_assertions(
        self, source: str, tests: str | Sequence[str], entry_point: str, timeout: float, **more: Any
    ) -> Any:
        """``Sandbox.arun_assertions``. Raises BudgetSpent too."""
        async with self._paid():
            return await self._sandbox.arun_assertions(source, tests, entry_point, timeout, **more)

    async def arun_calls(self, source: str, calls: Sequence[Any], entry_point: str, timeout: float, **more: Any) -> Any:
        """``Sandbox.arun_calls``. Raises BudgetSpent too."""
        async with self._paid():
            return await self._sandbox.arun_calls(source, calls, entry_point, timeout, **more)

    async def arun_stdin(self, source: str, stdin: str, timeout: float) -> Any:
        """``Sandbox.arun_stdin``. Raises BudgetSpent too."""
        async with self._paid():
            return await self._sandbox.arun_stdin(source, stdin, timeout)

    @contextlib.asynccontextmanager
    async def _paid(self) -> AsyncIterator[None]:
        async with self._places.aplace(self._account.key):
            with self._account.spending():
                yield
