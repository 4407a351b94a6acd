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
    answer an ``X-Request-Id``, so that the application's own is left out where the proxy had one.
    """

    def __init__(self, app: App, *, open_to_others: bool) -> None:
        self._app = app
        self._open = open_to_others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
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


def _is_local(scope: Scope) -> bool:
    client = scope.get("client")
    if client is None:
        return False
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False
