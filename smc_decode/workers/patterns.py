"""Regular expressions of requests, and those of JSON schemas in ECMAScript's notation. Runs in a worker process."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

_ESCAPES = {
    "d": "[0-9]", "D": "[^0-9]", "w": "[A-Za-z0-9_]", "W": "[^A-Za-z0-9_]",
}  # fmt: skip
_IN_CLASS = {"d": "0-9", "w": "A-Za-z0-9_"}
_ECMA = re.compile(
    r"\\u\{(?P<point>[0-9A-Fa-f]{1,6})\}|\\c(?P<control>[A-Za-z])|\\k<(?P<name>\w+)>|\\(?P<escape>.)|(?P<open>\[\^?)|(?P<close>\])"
    r"|(?P<end>\$)|(?P<nested>&&|\|\||--|~~)",
    re.DOTALL,
)


def match(pattern: str, text: str, search: bool, patience: float, strip: bool = False, finished: bool = True) -> str:
    """``full``; ``found``: full, and whatever follows does not change it; ``partial``: it can still become a match; or
    ``none``."""
    import regex

    compiled = regex.compile(pattern)
    if search:
        return _searched(compiled, text.strip() if strip and finished else text, patience)
    if strip:
        text = text.strip() if finished else text.lstrip()
    found = compiled.fullmatch(text, partial=True, timeout=patience)
    if found is not None:
        return "partial" if found.partial else "full"
    if strip and not finished and text != text.rstrip():  # space at the end is left out if nothing follows
        whole = compiled.fullmatch(text.rstrip(), timeout=patience)
        return "none" if whole is None else "partial"
    return "none"


def _searched(compiled: Any, text: str, patience: float) -> str:
    if not compiled.search(text, timeout=patience):
        return "partial"
    followed = all(compiled.search(text + more, timeout=patience) for more in ("\n\x00", "x"))
    return "found" if followed else "full"


@lru_cache(maxsize=500)
def ecma(pattern: str) -> Any:
    """A pattern of ECMA 262 (with its ``u`` flag) as a compiled one of the ``regex`` module. Raises ValueError."""
    import regex

    try:
        return regex.compile(_translated(pattern))
    except regex.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error


def _translated(pattern: str) -> str:
    inside = False

    def replace(found: re.Match[str]) -> str:
        nonlocal inside
        kind = found.lastgroup
        if kind == "open":
            if inside:
                return "\\" + found[0] if found[0] == "[" else r"\[\^"
            inside = True
            return found[0]
        if kind == "close":
            inside = False
            return found[0]
        return _piece(found, inside)

    return _ECMA.sub(replace, pattern)


def _piece(found: re.Match[str], inside: bool) -> str:
    kind = found.lastgroup
    if kind == "end":
        return found[0] if inside else r"\Z"  # Python's $ also matches before a last line break
    if kind == "nested":
        return "".join("\\" + sign for sign in found[0]) if inside else found[0]
    if kind == "point":
        return re.escape(chr(min(int(found["point"], 16), 0x10FFFF)))
    if kind == "control":
        return re.escape(chr(ord(found["control"].upper()) - 64))
    if kind == "name":
        return f"(?P={found['name']})"
    letter = found["escape"]
    return (_IN_CLASS if inside else _ESCAPES).get(letter) or ("/" if letter == "/" else found[0])
