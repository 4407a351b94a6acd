"""Who sends a request: a dependency of every route of the application, which a route must opt out of.

Without keys the server is on loopback only, and a request must name a loopback host: a web page that resolves its own
name to 127.0.0.1 is refused. Starlette's TrustedHostMiddleware does not fit here: it knows no ranges (all of
127.0.0.0/8 is this machine), answers in plain text where every error here is JSON, and has no routes that opt out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from ..errors import APIError, invalid, unauthorised
from ..settings import ServerSettings, is_loopback
from .auth import ANONYMOUS, Keys

EndpointT = TypeVar("EndpointT", bound=Callable[..., object])


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request."""

    owner: str
    """The name of the request's key."""
    is_local: bool
    """Whether the client can only be on this machine: loopback, no proxy in between, and no keys."""


class Gate:
    """Says who sends a request."""

    def __init__(self, keys: Keys, settings: ServerSettings) -> None:
        self._keys = keys
        self._hosts = {host.lower() for host in settings.allowed_hosts}
        # Keys are there for clients elsewhere: with them, the operator says whose code is taken (allow_client_tests).
        self._local = settings.is_loopback and not keys

    @property
    def needs_key(self) -> bool:
        return bool(self._keys)

    async def admit(self, request: Request) -> None:
        """The application's dependency: notes the :class:`Caller` for the route, unless it is :func:`open_to_all`.

        Raises APIError: as :meth:`identify`.
        """
        if not getattr(request.scope.get("endpoint"), "open_to_all", False):
            request.state.caller = self.identify(request)

    def identify(self, request: Request) -> Caller:
        """Who this is. Raises APIError: 401 for a missing or unknown key; 400 for a host that this server is not."""
        self._refuse_foreign_host(request)
        return Caller(self._owner(request), self._is_local(request))

    def knows(self, request: Request) -> bool:
        """Whether :meth:`identify` would let the request in."""
        try:
            self.identify(request)
        except APIError:
            return False
        return True

    def _owner(self, request: Request) -> str:
        if not self._keys:
            return ANONYMOUS
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise unauthorised("this server needs an API key: send the header 'Authorization: Bearer KEY'")
        owner = self._keys.owner(key.strip())
        if owner is None:
            raise unauthorised("this API key is not known here: ask the server's operator for one")
        return owner

    def _is_local(self, request: Request) -> bool:
        proxied = any(name in request.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip"))
        return self._local and not proxied

    def _refuse_foreign_host(self, request: Request) -> None:
        if not self._local:
            return
        host = request.url.hostname or ""
        if not is_loopback(host) and host.lower() not in self._hosts:
            raise invalid(
                f"this server does not answer for the host {host!r}: use 127.0.0.1, or let the operator add it to "
                "allowed_hosts",
                None,
                "host_not_allowed",
            )


def open_to_all(endpoint: EndpointT) -> EndpointT:
    """Opt a route out of the gate: anybody may ask it."""
    endpoint.open_to_all = True  # type: ignore[attr-defined]
    return endpoint


def _caller(request: Request) -> Caller:
    caller: Caller = request.state.caller
    return caller


From = Annotated[Caller, Depends(_caller)]
"""A route's parameter: who sends the request. A route that is open to all has none."""
