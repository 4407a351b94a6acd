"""Server-sent events: kept alive from the first moment, errors in band, framed as the operation's clients expect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

from sse_starlette import EventSourceResponse, JSONServerSentEvent, ServerSentEvent
from starlette.types import Receive, Scope, Send

from ..edge.admission import Ticket
from ..edge.work import Work
from ..errors import APIError, translate

Emit = Callable[[Mapping[str, Any]], Awaitable[None]]
Produce = Callable[[Emit], Awaitable[None]]

_SEND_TIMEOUT = 60.0  # seconds that a client may leave its connection unread
_AHEAD = 64  # chunks that may wait for a slow reader


class Framing(Protocol):
    """How the chunks of one answer become events."""

    def chunk(self, chunk: Mapping[str, Any]) -> Iterable[ServerSentEvent]:
        """The events of a chunk, in order."""
        ...

    def failure(self, error: APIError) -> Iterable[ServerSentEvent]:
        """The events that tell of an error; no chunk comes after it."""
        ...

    def end(self) -> Iterable[ServerSentEvent]:
        """The last events, after an error too."""
        ...


class ChunkFraming:
    """OpenAI's chunks: one nameless event each, then ``[DONE]``. ``extra``: what every chunk has beside its own."""

    def __init__(self, extra: Mapping[str, Any]) -> None:
        self._extra = extra

    def chunk(self, chunk: Mapping[str, Any]) -> Iterable[ServerSentEvent]:
        yield JSONServerSentEvent({**self._extra, **chunk}, sep="\n")

    def failure(self, error: APIError) -> Iterable[ServerSentEvent]:
        yield JSONServerSentEvent(error.body, sep="\n")

    def end(self) -> Iterable[ServerSentEvent]:
        yield ServerSentEvent("[DONE]", sep="\n")


class StreamedReply(EventSourceResponse):
    """The stream of what ``produce`` emits once ``ticket`` is granted, which is given back whatever becomes of it."""

    def __init__(
        self,
        produce: Produce,
        work: Work,
        ticket: Ticket,
        framing: Framing,
        keep_alive_s: float,
        headers: Mapping[str, str],
    ) -> None:
        async def placed(emit: Emit) -> None:
            async with ticket:
                await produce(emit)

        super().__init__(
            _events(lambda emit: work.bounded(placed(emit)), framing),
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


async def _events(produce: Produce, framing: Framing) -> AsyncIterator[ServerSentEvent]:
    queue: asyncio.Queue[Mapping[str, Any] | APIError | None] = asyncio.Queue(_AHEAD)

    async def work() -> None:
        try:
            await produce(queue.put)
        except Exception as error:
            await queue.put(translate(error))
        await queue.put(None)

    yield ServerSentEvent(comment="keep-alive", sep="\n")
    task = asyncio.ensure_future(work())
    try:
        while (told := await queue.get()) is not None:
            for event in framing.failure(told) if isinstance(told, APIError) else framing.chunk(told):
                yield event
        for event in framing.end():
            yield event
    finally:
        task.cancel()
