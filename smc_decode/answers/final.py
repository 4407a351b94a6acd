"""Where the final answer stands in a text: in the last box, behind ``####`` or "the answer is", or in a last display.

Linear in the text: boxes are found in one pass, and lines are looked at once.
"""

from __future__ import annotations

import re

MAX_ANSWER = 2_000

_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*|[{}]")
_BARE = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])[ \t]*([^\s{}$\\.,;]+|\\[A-Za-z]+)")
_SAID = re.compile(
    r"\b(?:(?:final|correct)\s+)?(?:answer|option|choice)\s*(?:choice\s*)?(?:is|:|=|would\s+be|must\s+be)(?=[\s:*_$(\\]|$)"
    r"|\bfinal\s+answer\b\s*[*_#:]*\s*$",
    re.IGNORECASE | re.MULTILINE,
)
_MATH = re.compile(
    r"\s*[*_]*\s*(?:\$\$(?P<a>(?:\\.|[^$\\])+)\$\$|\$(?P<b>(?:\\.|[^$\\\n])+)\$|\\\[(?P<c>.{1,2000}?)\\\]|\\\((?P<d>.{1,2000}?)\\\))",
    re.DOTALL,
)
_SENTENCE = re.compile(
    r"(?:(?<!\\)[.!?](?=\s|$)|\n|,\s+(?=(?:as|which|since|because|so|where|and\s+(?:the|this|we))\b))"
)
_LEADING = re.compile(
    r"^(?:(?:simply|just|therefore|thus|then|indeed|exactly|approximately|equal\s+to)\s+)+", re.IGNORECASE
)


def final_answer(text: str) -> str | None:
    """The final answer as it is written, or None."""
    return _boxed(text) or _after_hashes(text) or _said(text) or _last_display(text)


def _boxed(text: str) -> str | None:
    """The content of the last complete box that is not empty; several boxes of the last sentence are a list."""
    boxes = _boxes(text)
    if not boxes:
        return None
    last = len(boxes) - 1
    first = last
    while first > 0 and _joins(text[boxes[first - 1][1] : boxes[first][0]]):
        first -= 1
    return ", ".join(content for _, _, content in boxes[first:])[:MAX_ANSWER]


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """(start, end, content) of the complete boxes, the outer ones of nested ones, in order."""
    found: list[tuple[int, int, str]] = []
    stack: list[tuple[int, int]] = []
    command = (-1, -1)  # the last command and its end, where its brace would be
    for match in _BOX.finditer(text):
        if match[0] == "{":
            stack.append((match.start(), command[0] if match.start() == command[1] else -1))
        elif match[0] == "}":
            if stack:
                opened, box = stack.pop()
                if box >= 0:
                    _keep(found, box, match.end(), text[opened + 1 : match.start()])
        else:
            command = match.span()
            bare = _BARE.match(text, match.start())
            if text[match.end() : match.end() + 1] != "{" and bare is not None:
                _keep(found, match.start(), bare.end(), bare[1])
    return found


def _keep(found: list[tuple[int, int, str]], start: int, end: int, content: str) -> None:
    while found and found[-1][0] > start:
        found.pop()  # a box within this one
    if content.strip() and end - start <= MAX_ANSWER:
        found.append((start, end, content.strip()))


def _joins(between: str) -> bool:
    """Whether two boxes are one answer: nothing but ``or``, ``and``, a comma and a variable's name between them."""
    if len(between) > 60:
        return False
    bare = re.sub(r"\\(?:text|mathrm|quad|qquad|ldots)(?![A-Za-z])|[$\\{}\s*]", " ", between)
    bare = re.sub(r"\b[a-zA-Z]_?\d?\s*(?:=|in|is)(?=\s|$)", " ", bare)
    return re.fullmatch(r"\s*(?:,|;|and|or|,\s*(?:and|or))\s*", bare) is not None


def _after_hashes(text: str) -> str | None:
    marked = text.rpartition("\n#### " if "\n#### " in text else "####")
    if not marked[1]:
        return None
    line = marked[2].strip().split("\n", 1)[0].strip(" *#:")
    said = re.fullmatch(r"(?:the\s+)?(?:final\s+)?answer(?:\s+is)?:?", line, re.IGNORECASE)
    return None if said is not None else line[:MAX_ANSWER] or None


def _said(text: str) -> str | None:
    """What follows the last "the answer is"."""
    last = None
    for match in _SAID.finditer(text):
        last = match
    if last is None:
        return None
    rest = text[last.end() : last.end() + 2 * MAX_ANSWER].lstrip(" \t\r\n:*_#")
    math = _MATH.match(rest)
    if math is not None:
        return next(group for group in math.groups() if group is not None).strip()[:MAX_ANSWER] or None
    sentence = _SENTENCE.split(rest, maxsplit=1)[0]
    answer = _LEADING.sub("", sentence.strip(" \t*_$:`")).rstrip(".*$ ")
    return answer[:MAX_ANSWER] or None


def _last_display(text: str) -> str | None:
    """A formula that stands alone at the end."""
    tail = text.rstrip()
    for opening, closing in (("$$", "$$"), ("\\[", "\\]")):
        body = tail.removesuffix(".").removesuffix(closing)
        if body == tail.removesuffix("."):
            continue
        start = body.rfind(opening)
        if start >= 0 and len(body) - start <= MAX_ANSWER:
            content = body[start + len(opening) :].strip().rstrip(".,")
            return content or None
    return None
