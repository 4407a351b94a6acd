"""Places at processes, shared round robin by key: one key's long queue costs another at most one turn."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable, Iterator
from concurrent.futures import Future


class FairPlaces:
    """``size`` places. A place that is given back goes to the key that has waited longest since its last turn, and
    within a key to whoever came first. Thread-safe."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self._free = size
        self._waiting: OrderedDict[Hashable, deque[Future[None]]] = OrderedDict()
        self._lock = threading.Lock()

    def ask(self, key: Hashable) -> Future[None]:
        """A future that is done when the place is the caller's, to be given back. It may be cancelled until then."""
        wish: Future[None] = Future()
        with self._lock:
            self._waiting.setdefault(key, deque()).append(wish)
            self._hand_out()
        return wish

    def waiting(self, key: Hashable) -> int:
        """How many of a key's wishes wait."""
        with self._lock:
            return len(self._waiting.get(key, ()))

    def give_back(self) -> None:
        """Let the next one have the place."""
        with self._lock:
            self._free += 1
            self._hand_out()

    @contextlib.contextmanager
    def place(self, key: Hashable) -> Iterator[None]:
        """Wait for a place, in a thread of one's own, and hold it within the block."""
        self.ask(key).result()
        try:
            yield
        finally:
            self.give_back()

    @contextlib.asynccontextmanager
    async def aplace(self, key: Hashable) -> AsyncIterator[None]:
        """:meth:`place` for asyncio."""
        wish = self.ask(key)
        try:
            await asyncio.wrap_future(wish)
        except BaseException:
            if not wish.cancel() and not wish.cancelled():  # it was given in the same moment
                self.give_back()
            raise
        try:
            yield
        finally:
            self.give_back()

    def _hand_out(self) -> None:
        while self._free and self._waiting:
            key, wishes = next(iter(self._waiting.items()))
            wish = wishes.popleft()
            del self._waiting[key]
            if wishes:
                self._waiting[key] = wishes  # behind the others
            if wish.set_running_or_notify_cancel():
                self._free -= 1
                wish.set_result(None)
