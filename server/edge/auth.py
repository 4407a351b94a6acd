"""API keys, and which hosts may be named while there are none.

Keys are compared as digests in constant time, all of them at every request. Without keys the server is on loopback
only, and a request must name a loopback host: a web page that resolves its own name to 127.0.0.1 is refused.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from starlette.requests import HTTPConnection

from server.openai.errors import invalid, unauthorised
from server.settings import ConfigError, ServerSettings, is_loopback

KEY_VARIABLE = "SMC_DECODE_API_KEY"
ANONYMOUS = "anonymous"


class Keys:
    """The server's API keys by name. Without any, everyone is let in as ``anonymous``."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._digests = {name: _digest(key) for name, key in keys.items()}

    def __bool__(self) -> bool:
        return bool(self._digests)

    def owner(self, key: str) -> str | None:
        """The name under which ``key`` is known, or None."""
        digest = _digest(key)
        found = None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found


class Gate:
    """Says who sends a request."""

    def __init__(self, keys: Keys, settings: ServerSettings) -> None:
        self._keys = keys
        self._check_host = settings.is_loopback and not keys
        self._hosts = {host.lower() for host in settings.allowed_hosts}
        self._loopback = settings.is_loopback

    @property
    def needs_key(self) -> bool:
        return bool(self._keys)

    def identify(self, connection: HTTPConnection) -> str:
        """The name of the request's key.

        Raises APIError: 401 for a missing or unknown key; 400 for a host that this server is not.
        """
        self._refuse_foreign_host(connection)
        if not self._keys:
            return ANONYMOUS
        scheme, _, key = connection.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            raise unauthorised("this server needs an API key: send the header 'Authorization: Bearer KEY'")
        owner = self._keys.owner(key.strip())
        if owner is None:
            raise unauthorised("this API key is not known here: ask the server's operator for one")
        return owner

    def is_local(self, connection: HTTPConnection) -> bool:
        """Whether the client can only be on this machine: loopback, and no proxy in between."""
        proxied = any(name in connection.headers for name in ("forwarded", "x-forwarded-for", "x-real-ip"))
        return self._loopback and not proxied

    def _refuse_foreign_host(self, connection: HTTPConnection) -> None:
        if not self._check_host:
            return
        host = connection.url.hostname or ""
        if not is_loopback(host) and host.lower() not in self._hosts:
            raise invalid(
                f"this server does not answer for the host {host!r}: use 127.0.0.1, or let the operator add it to "
                "allowed_hosts",
                None,
                "host_not_allowed",
            )


def read_keys(settings: ServerSettings, environ: Mapping[str, str] = os.environ) -> Keys:
    """The keys of the file and of the environment variable, named for logs and limits.

    A file holds one key a line, ``KEY`` or ``NAME KEY``; ``#`` begins a comment. The variable holds keys separated
    by commas. Raises ConfigError: the file cannot be read or holds no key; another address than loopback
    without any key.
    """
    keys: dict[str, str] = {}
    if settings.api_key_file is not None:
        keys.update(_keys_of_file(settings.api_key_file))
        if not keys:
            raise ConfigError(f"api_key_file {settings.api_key_file} holds no key: write one a line")
    for number, key in enumerate(filter(None, map(str.strip, environ.get(KEY_VARIABLE, "").split(",")))):
        keys[f"env-{number + 1}"] = key
    if not keys and not settings.is_loopback:
        raise ConfigError(
            f"host {settings.host} can be reached from elsewhere, so API keys are needed: set {KEY_VARIABLE}, or "
            "api_key_file (--api-key-file), or listen on 127.0.0.1"
        )
    return Keys(keys)


def _keys_of_file(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read api_key_file {path}: {error}") from None
    return dict(_named(number, line.split()) for number, line in enumerate(lines, 1) if _holds_key(line))


def _holds_key(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith("#")


def _named(number: int, words: Sequence[str]) -> tuple[str, str]:
    return (words[0], words[1]) if len(words) > 1 else (f"key-{number}", words[0])


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
