"""The limits on a request's body, kept before anything reads it."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..errors import APIError, slow_request, too_large


class BodyLimit:
    """ASGI middleware: 413 for bodies above ``limit`` bytes, by their declared length or by what arrives; 408 where
    ``seconds`` pass in which nothing more arrives."""

    def __init__(self, app: ASGIApp, limit: int, seconds: float) -> None:
        self.app = app
        self.limit = limit
        self.seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if declared.isdigit() and int(declared) > self.limit:
            await too_large(self.limit).response()(scope, receive, send)
            return
        body = _Body(receive, self.limit, self.seconds)
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self.app(scope, body.receive, noted)
        except APIError as error:
            if started:
                raise
            await error.response()(scope, receive, send)


class _Body:
    """A body as it arrives."""

    def __init__(self, receive: Receive, limit: int, seconds: float) -> None:
        self._receive = receive
        self._limit = limit
        self._seconds: float | None = seconds
        self._received = 0

    async def receive(self) -> Message:
        """The next message. Raises APIError (408, 413)."""
        message = await self._next()
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            if self._received > self._limit:
                raise too_large(self._limit)
            if not message.get("more_body", False):
                self._seconds = None  # what comes now is that the client goes, whenever that is
        return message

    async def _next(self) -> Message:
        seconds = self._seconds
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                return await self._receive()
        except TimeoutError:
            if limit.expired() and seconds is not None:
                raise slow_request(seconds) from None
            raise
