"""A request's work: within its slots, within the deadline, while its client is there and the server goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from starlette.requests import Request

from ..errors import ClientGone, deadline_exceeded, unavailable
from .admission import Admission, Ticket

T = TypeVar("T")


class Work:
    """All work that is going on."""

    def __init__(self, admission: Admission, seconds: float) -> None:
        self._admission = admission
        self._seconds = seconds
        self._tasks: set[asyncio.Future[Any]] = set()
        self._aborted = False

    def enter(self, owner: str, slots: int) -> Ticket:
        """A place for ``slots`` particles. Raises APIError (429, 503)."""
        return self._admission.enter(owner, slots)

    async def answer(self, request: Request, ticket: Ticket, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``, which begins when ``ticket`` is granted.

        The request's body must have been read. Raises ClientGone when the client closes its connection, after ``work``
        has been ended; APIError: 504 past the deadline, 503 when the server stops first.
        """

        async def placed() -> T:
            async with ticket:
                return await work

        try:
            return await _while_connected(request, self.bounded(placed()))
        finally:
            ticket.close()
            work.close()  # where it never began

    async def bounded(self, work: Awaitable[T]) -> T:
        """The result of ``work``. Raises APIError: 504 past the deadline, 503 when the server stops first."""
        limit = asyncio.timeout(self._seconds)
        try:
            async with limit:
                return await self._until_aborted(work)
        except TimeoutError:
            if limit.expired():
                raise deadline_exceeded(self._seconds) from None
            raise

    def abort(self) -> None:
        """End all work that is going on; its clients are told."""
        self._admission.draining = self._aborted = True
        for task in self._tasks:
            task.cancel()

    async def _until_aborted(self, work: Awaitable[T]) -> T:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if self._aborted and current is not None and not current.cancelling():
                raise unavailable("the server was stopped during this request", "server_stopped", 10.0) from None
            raise
        finally:
            self._tasks.discard(task)
            task.cancel()


async def _while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for each in (task, watch):
            each.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
