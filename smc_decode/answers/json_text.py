"""Finds the JSON in an answer that may be unfinished: the answer itself, or the last fenced block that is JSON.

One pass for the fences, and each block is parsed once, so that reading is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

_FENCE = re.compile(r"`{3,}|~{3,}")
_INDENT = re.compile(r"[ \t>*+-]*(?:\d{1,3}[.)])?[ \t]*")
_MAX_INDENT = 40
_INFO = re.compile(r"[\w+#.-]*[ \t]*")
_THOUGHT_OPEN, _THOUGHT_CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Found:
    """``state``: ``json``, with its ``value`` (of an unfinished text what is there so far; ``begun`` False: nothing
    yet); ``pending``: no JSON so far, but it may come; ``none``. ``open_end``: the last string or number may still
    grow."""

    state: str
    value: Any = None
    begun: bool = False
    open_end: bool = False
    note: str = ""


def find_json(text: str, finished: bool, fenced: bool) -> Found:
    """What of an answer is JSON. ``fenced``: it may stand in a fenced block, with prose around."""
    text = text.removeprefix("\ufeff")
    whole = _read(text, finished)
    if whole.state == "json" or not fenced:
        return whole
    visible = _without_thoughts(text)
    if visible is None:
        return Found("none", note="nothing but thoughts") if finished else Found("pending")
    if visible is not text:
        whole = _read(visible, finished)
        if whole.state == "json":
            return whole
    for body, closed in reversed(list(blocks(visible))):
        ended = closed or finished
        found = _read(body if ended else _without_half_fence(body), ended)
        if found.state == "json" and (found.begun or not ended):
            return found
    if finished or visible.lstrip()[:1] in ("{", "["):
        return whole
    return Found("pending")


def blocks(text: str) -> Iterator[tuple[str, bool]]:
    """The fenced blocks, and whether they are closed. A fence may be indented, and be closed on its last line."""
    opened: tuple[str, int] | None = None
    for run in _FENCE.finditer(text):
        if opened is None:
            if _begins_line(text, run.start()):
                opened = run[0], _body_start(text, run.end())
        elif run[0].startswith(opened[0]) and _closes(text, run.end()):
            yield text[opened[1] : run.start()], True
            opened = None
    if opened is not None:
        yield text[opened[1] :], False


def _begins_line(text: str, at: int) -> bool:
    """Whether nothing but an indent or a list's mark stands before it on its line."""
    start = max(at - _MAX_INDENT, 0)
    before = text[start:at]
    line_break = before.rfind("\n")
    if line_break < 0 and start > 0:
        return False
    return _INDENT.fullmatch(before[line_break + 1 :]) is not None


def _without_half_fence(body: str) -> str:
    """An unfinished body without the one or two signs that may become its closing fence."""
    head = body.rstrip()
    for sign in "`~":
        bare = head.rstrip(sign)
        if bare != head and len(head) - len(bare) < 3:
            return bare
    return body


def _body_start(text: str, end: int) -> int:
    """Behind the fence and its language; the body may begin on the same line."""
    info = _INFO.match(text, end)
    start = info.end() if info is not None else end
    line_end = text.find("\n", start, start + 200)
    if line_end >= 0 and text[start:line_end][:1] not in ("{", "[", '"', ""):
        return line_end  # further words of the opening line
    return start if text[start : start + 1] in ("\n", "{", "[", '"', "") else end


def _closes(text: str, end: int) -> bool:
    """Whether a fence of which nothing but space follows on the line; in a JSON string a line's end is escaped."""
    return text[end : end + 1] != "\\" and text[end : end + 1] != '"'


def _without_thoughts(text: str) -> str | None:
    """What stands behind the last ``</think>``; None: the thoughts have not ended."""
    end = text.rfind(_THOUGHT_CLOSE)
    if end >= 0:
        return text[end + len(_THOUGHT_CLOSE) :]
    start = text.lstrip()[: len(_THOUGHT_OPEN)]
    return None if start == _THOUGHT_OPEN else text


def _read(text: str, finished: bool) -> Found:
    """The value of a JSON text; of an unfinished one what is there so far."""
    try:
        value = from_json(text, allow_inf_nan=False, allow_partial=False if finished else "trailing-strings")
    except ValueError as error:
        if not finished and "EOF while" in str(error):
            return Found("json", begun=False)
        return Found("none", note=str(error)[:300])
    if finished:
        return Found("json", value, begun=True)
    if _has_more(text):
        return Found("none", note="more text after the JSON")
    return Found("json", value, begun=True, open_end=_open_end(text, value))


def _has_more(text: str) -> bool:
    """Whether anything but space follows a complete value."""
    try:
        from_json(text, allow_inf_nan=False)
    except ValueError as error:
        return "trailing characters" in str(error)
    return False


def _open_end(text: str, value: Any) -> bool:
    """Whether an unfinished JSON text ends within a string or a number."""
    if text[-1:].isalnum() or text[-1:] in ("-", ".", "+"):
        return True
    try:
        return bool(value != from_json(text, allow_inf_nan=False, allow_partial=True))
    except ValueError:
        return True
