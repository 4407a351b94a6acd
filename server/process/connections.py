"""Connections: how many, and how long one may take over the head of a request.

uvicorn bounds neither: a client that sends half a head holds its connection for good.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import APIError, invalid, slow_request, unavailable
from ..settings import ServerSettings


class BoundedProtocol(H11Protocol):
    """uvicorn's HTTP protocol within the limits of ``settings``."""

    settings: ClassVar[ServerSettings]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.settings.max_connections:
            self._refuse(unavailable("the server has as many connections as it takes", "too_many_connections"))
        else:
            self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_limit()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch_head()

    def _watch_head(self) -> None:
        """Run the clock while a request's head is incomplete; an idle connection has uvicorn's own."""
        reading = self.conn.their_state is h11.IDLE and (self.cycle is None or bool(self.conn.trailing_data[0]))
        if not reading:
            self._forget_limit()
        elif self._head_limit is None:
            seconds = self.settings.receive_timeout_s
            self._head_limit = self.loop.call_later(seconds, self._refuse, slow_request(seconds))

    def _forget_limit(self) -> None:
        if self._head_limit is not None:
            self._head_limit.cancel()
            self._head_limit = None

    def send_400_response(self, msg: str) -> None:
        most = self.settings.max_header_bytes
        self._refuse(invalid(f"this is no HTTP request with a head of at most {most} bytes", None, "bad_request"))

    def _refuse(self, error: APIError) -> None:
        body = json.dumps(error.body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **error.headers}
        head = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}"]
        head += [f"{name}: {value}" for name, value in {**headers, "Connection": "close"}.items()]
        self.transport.write("\r\n".join([*head, "", ""]).encode() + body)
        self.transport.close()


def protocol(settings: ServerSettings) -> type[BoundedProtocol]:
    """The protocol with these limits: uvicorn makes instances of it itself."""
    return type("Bounded", (BoundedProtocol,), {"settings": settings})
