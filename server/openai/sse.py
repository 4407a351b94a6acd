"""Server-sent events: kept alive from the first moment, errors in band, ended by ``[DONE]``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from sse_starlette import EventSourceResponse, JSONServerSentEvent, ServerSentEvent
from starlette.types import Receive, Scope, Send

from ..edge.admission import Ticket
from ..edge.work import Work
from ..errors import translate

Emit = Callable[[Mapping[str, Any]], Awaitable[None]]
Produce = Callable[[Emit], Awaitable[None]]

_SEND_TIMEOUT = 60.0  # seconds that a client may leave its connection unread
_AHEAD = 64  # chunks that may wait for a slow reader


class StreamedReply(EventSourceResponse):
    """The stream of what ``produce`` emits once ``ticket`` is granted, which is given back whatever becomes of it.

    ``extra``: what every chunk has beside its own.
    """

    def __init__(
        self,
        produce: Produce,
        work: Work,
        ticket: Ticket,
        extra: Mapping[str, Any],
        keep_alive_s: float,
        headers: Mapping[str, str],
    ) -> None:
        async def placed(emit: Emit) -> None:
            async with ticket:
                await produce(emit)

        super().__init__(
            _events(lambda emit: work.bounded(placed(emit)), extra),
            headers=headers,
            ping=keep_alive_s,
            ping_message_factory=lambda: ServerSentEvent(comment="keep-alive", sep="\n"),
            sep="\n",
            send_timeout=_SEND_TIMEOUT,
        )
        self._ticket = ticket

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ticket.close()


async def _events(produce: Produce, extra: Mapping[str, Any]) -> AsyncIterator[ServerSentEvent]:
    queue: asyncio.Queue[Mapping[str, Any] | None] = asyncio.Queue(_AHEAD)

    async def work() -> None:
        try:
            await produce(queue.put)
        except Exception as error:
            await queue.put(translate(error).body)
        await queue.put(None)

    yield ServerSentEvent(comment="keep-alive", sep="\n")
    task = asyncio.ensure_future(work())
    try:
        while (chunk := await queue.get()) is not None:
            body = chunk if "error" in chunk else {**extra, **chunk}
            yield JSONServerSentEvent(body, sep="\n")
        yield ServerSentEvent("[DONE]", sep="\n")
    finally:
        task.cancel()
