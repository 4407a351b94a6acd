"""API keys. They are compared as digests in constant time, all of them at every request.

A key's owner is what limits and stored runs go by: a name that the operator wrote, or a digest of the key. It is never
the key's place in a file, so that taking one key out gives nothing of its owner's to another.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..settings import ConfigError, ServerSettings

KEY_VARIABLE = "SMC_DECODE_API_KEY"
ANONYMOUS = "anonymous"
_DIGEST_NAME = re.compile(r"key-[0-9a-f]{16}")


class Keys:
    """The server's API keys by their owners' names. Without any, everyone is let in as ``anonymous``."""

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


def read_keys(settings: ServerSettings, environ: Mapping[str, str] = os.environ) -> Keys:
    """The keys of the file and of the environment variable.

    A file holds one key a line, ``KEY`` or ``NAME KEY``; ``#`` begins a comment. The variable holds keys separated
    by commas. Raises ConfigError: the file cannot be read, holds no key, or a name or key twice; another address than
    loopback without any key.
    """
    keys: dict[str, str] = {}
    if settings.api_key_file is not None:
        _add(keys, _lines(settings.api_key_file), f"api_key_file {settings.api_key_file}")
        if not keys:
            raise ConfigError(f"api_key_file {settings.api_key_file} holds no key: write one a line")
    spelled = filter(None, map(str.strip, environ.get(KEY_VARIABLE, "").split(",")))
    _add(keys, ((f"key {number}", None, key) for number, key in enumerate(spelled, 1)), KEY_VARIABLE)
    if not keys and not settings.is_loopback:
        raise ConfigError(
            f"host {settings.host} can be reached from elsewhere, so API keys are needed: set {KEY_VARIABLE}, or "
            "api_key_file (--api-key-file), or listen on 127.0.0.1"
        )
    return Keys(keys)


def _lines(path: Path) -> Iterable[tuple[str, str | None, str]]:
    """(place, owner's name if one is written, key) of each line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read api_key_file {path}: {error}") from None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        yield f"line {number}", words[0] if len(words) > 1 else None, words[1] if len(words) > 1 else words[0]


def _add(keys: dict[str, str], spelled: Iterable[tuple[str, str | None, str]], where: str) -> None:
    for place, name, key in spelled:
        if name == ANONYMOUS or (name is not None and _DIGEST_NAME.fullmatch(name)):
            raise ConfigError(f"{where}, {place}: the name {name!r} is the server's own: take another")
        owner = name or f"key-{_digest(key).hex()[:16]}"
        if owner in keys and (name is not None or keys[owner] != key):
            raise ConfigError(f"{where}, {place}: the name {owner!r} is there twice: owners need names of their own")
        if name is not None and key in keys.values():
            raise ConfigError(f"{where}, {place}: the key of {name!r} is another owner's too: give each their own")
        if key not in keys.values():
            keys[owner] = key


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
