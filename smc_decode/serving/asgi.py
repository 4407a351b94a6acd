"""An application behind a proxy that is not ours: who may come in, and one request id."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Drain = Callable[[], Awaitable[object]]

_ID = b"x-request-id"
_REFUSED = json.dumps(
    {
        "error": {
            "message": "this server has no API keys and answers clients on its own machine only: set api_key_file",
            "type": "authentication_error",
            "param": None,
            "code": "keys_needed",
        }
    }
).encode()


class Fronted:
    """``app`` behind the proxy of Ray Serve.

    Without keys a server answers its own machine only. Here the address that it is bound to says nothing, as the proxy
    listens: what counts is the client that the proxy names. ``open_to_others``: there are keys. The proxy gives every
    answer an ``X-Request-Id``, so that the application's own is left out where the proxy had one. ``drain`` is awaited
    before the application is told to end: requests that came after Serve's own wait are refused in our words, and what
    still goes on ends with an error that its client is told.
    """

    def __init__(self, app: App, *, open_to_others: bool, drain: Drain | None = None) -> None:
        self._app = app
        self._open = open_to_others
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, self._drained(receive), send)
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not self._open and not _is_local(scope):
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": _REFUSED})
            return
        named = any(name.lower() == _ID for name, _ in scope["headers"])

        async def passed_on(message: Message) -> None:
            if named and message["type"] == "http.response.start":
                message["headers"] = [each for each in message.get("headers", ()) if each[0].lower() != _ID]
            await send(message)

        await self._app(scope, receive, passed_on)

    def _drained(self, receive: Receive) -> Receive:
        async def received() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown" and self._drain is not None:
                await self._drain()
            return message

        return received


def _is_local(scope: Scope) -> bool:
    client = scope.get("client")
    if client is None:
        return False
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
