"""Who may start: particle slots for the engine's sake, a bounded queue, and limits for each API key.

A request takes all its slots at once or waits in order of arrival, so that nothing can lock up. Whatever way a
request ends, closing its ticket gives back what it held.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable

from ..errors import too_many, unavailable

_FIRST_GUESS = 5.0  # seconds a request is thought to take before any has ended


class Ticket:
    """One request's place: queued or running until closed. Use it as an async context manager, or call both ends."""

    def __init__(self, admission: Admission, key: str, slots: int) -> None:
        self._admission = admission
        self.key = key
        self.slots = slots
        self.granted = asyncio.get_running_loop().create_future()
        self.started: float | None = None
        self.closed = False

    async def wait(self) -> None:
        """Return when the slots are this request's."""
        await asyncio.shield(self.granted)

    def close(self) -> None:
        """Give everything back. Closing twice is harmless."""
        if not self.closed:
            self.closed = True
            self._admission._leave(self)

    async def __aenter__(self) -> Ticket:
        try:
            await self.wait()
        except BaseException:
            self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class Admission:
    """Grants ``capacity`` particle slots, first come, first served."""

    def __init__(
        self,
        capacity: int,
        queue_length: int,
        *,
        requests_per_key: int = 0,
        requests_per_minute: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = capacity
        self.used = 0
        self.draining = False
        self._queue_length = queue_length
        self._requests_per_key = requests_per_key
        self._requests_per_minute = requests_per_minute
        self._clock = clock
        self._waiting: deque[Ticket] = deque()
        self._running: set[Ticket] = set()
        self._per_key: Counter[str] = Counter()
        self._recent: dict[str, deque[float]] = {}
        self._seconds = _FIRST_GUESS
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        return len(self._running)

    def enter(self, key: str, slots: int) -> Ticket:
        """A ticket for a request that wants ``slots`` (more than there are: all of them).

        Raises APIError: 503 while the server drains; 429 when the queue is full or the key's limit is reached.
        """
        if self.draining:
            raise unavailable("the server is shutting down", "server_draining", 10.0)
        self._check_key(key)
        ticket = Ticket(self, key, min(slots, self.capacity))
        if self._fits(ticket) and not self._waiting:
            self._grant(ticket)
        elif len(self._waiting) >= self._queue_length:
            raise too_many(
                f"{len(self._waiting)} requests are waiting already: try again later", "queue_full", self._wait_guess()
            )
        else:
            self._waiting.append(ticket)
        self._per_key[key] += 1
        self._idle.clear()
        return ticket

    async def drain(self) -> None:
        """Take no more requests; return when those that are in have ended."""
        self.draining = True
        await self._idle.wait()

    def _check_key(self, key: str) -> None:
        if self._requests_per_key and self._per_key[key] >= self._requests_per_key:
            raise too_many(
                f"this key has {self._requests_per_key} requests in progress, which is its limit",
                "key_concurrency_exceeded",
                self._seconds,
            )
        if self._requests_per_minute:
            recent = self._recent.setdefault(key, deque())
            now = self._clock()
            while recent and recent[0] <= now - 60.0:
                recent.popleft()
            if len(recent) >= self._requests_per_minute:
                raise too_many(
                    f"this key may send {self._requests_per_minute} requests a minute",
                    "rate_limit_exceeded",
                    recent[0] + 60.0 - now,
                )
            recent.append(now)

    def _fits(self, ticket: Ticket) -> bool:
        return self.used + ticket.slots <= self.capacity

    def _grant(self, ticket: Ticket) -> None:
        self.used += ticket.slots
        self._running.add(ticket)
        ticket.started = self._clock()
        if not ticket.granted.done():
            ticket.granted.set_result(None)

    def _leave(self, ticket: Ticket) -> None:
        self._per_key[ticket.key] -= 1
        if self._per_key[ticket.key] <= 0:
            del self._per_key[ticket.key]
        if ticket in self._running:
            self._running.remove(ticket)
            self.used -= ticket.slots
            if ticket.started is not None:
                self._seconds += 0.2 * (self._clock() - ticket.started - self._seconds)
        else:
            self._waiting.remove(ticket)
        while self._waiting and self._fits(self._waiting[0]):
            self._grant(self._waiting.popleft())
        if not self._running and not self._waiting:
            self._idle.set()

    def _wait_guess(self) -> float:
        side_by_side = max(len(self._running), 1)
        return min(self._seconds * (len(self._waiting) + 1) / side_by_side, 60.0)
