"""The fenced code blocks of an answer, in the ways in which models write them. One pass, linear time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

PYTHON_NAMES = frozenset(["python", "py", "python2", "python3", "py2", "py3", "ipython", "cpython", "sage"])

_OPENER = re.compile(r"(?P<lead>(?:[ \t>]|[-*+][ \t]|\d{1,3}[.)][ \t])*)(?P<fence>`{3,}|~{3,})(?P<info>[^\n]*)")
_CLOSER = re.compile(r"(?P<lead>[ \t>]*)(?P<fence>`{3,}|~{3,})[ \t]*\Z")
_QUOTE = re.compile(r"^[ \t]*(?:>[ \t]?)+")
_LANGUAGE = re.compile(r"[ \t]*\{?\.?(?P<name>[A-Za-z][\w+#.-]*)?")
_CODE_AFTER = re.compile(r"(?:from\s+[\w.]+\s+import\b|import\s+\w|(?:async\s+)?def\s+\w|class\s+\w|@\w|\w+\s*=[^=])")
_THOUGHT = "(?:think|thinking|thought|reasoning|reflection|scratchpad|analysis)"
_THINKS = re.compile(rf"\s*<{_THOUGHT}>", re.IGNORECASE)
_THOUGHT_ENDS = re.compile(rf"^[ \t]*</{_THOUGHT}>|</{_THOUGHT}>[ \t]*$", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its code without the fence's own indentation, the language in small letters ('' if none is
    named), whether it is closed, and where it begins and ends in the text, fences included."""

    code: str
    language: str
    closed: bool
    start: int
    end: int

    @property
    def tagged(self) -> bool:
        """Whether it is called Python."""
        name = self.language.rstrip(".0123456789")
        return name in PYTHON_NAMES or self.language in PYTHON_NAMES


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of ``text``, in order; the last one may be open."""
    return list(_blocks(text))


def fenced_code(text: str) -> str | None:
    """The code of the last fenced block, closed or not; None without a fence."""
    found = blocks_of(text)
    return found[-1].code if found else None


def without_thoughts(text: str) -> str | None:
    """What follows the model's thoughts (``<think>...</think>``); None while they go on."""
    thinks = _THINKS.match(text)
    while thinks:
        end = _THOUGHT_ENDS.search(text, thinks.end())
        if end is None:
            return None
        text = text[end.end() :]
        thinks = _THINKS.match(text)
    # the prompt may have opened them: then the tag stands where no code is
    ends = list(_THOUGHT_ENDS.finditer(text))
    if ends and not any(block.start < ends[-1].start() < block.end and block.closed for block in _blocks(text)):
        return text[ends[-1].end() :]
    return text


@dataclass(slots=True)
class _Open:
    start: int
    width: int
    quoted: bool
    fence: str
    language: str
    lines: list[str]


def _blocks(text: str) -> Iterator[Block]:
    opened: _Open | None = None
    position = 0
    for line in text.split("\n"):
        end = min(position + len(line) + 1, len(text))
        if opened is None:
            opened, whole = _open(line, position)
            if whole is not None:
                yield Block(whole[0], whole[1], True, position, end)
        elif _opens_anew(line, opened):  # its end was forgotten
            yield _block(opened, True, position)
            opened, _ = _open(line, position)
        else:
            closes, last = _closes(line, opened)
            if last is not None:
                opened.lines.append(last)
            if closes:
                yield _block(opened, True, end)
                opened = None
        position = end
    if opened is not None:
        yield _block(opened, False, len(text))


def _open(line: str, position: int) -> tuple[_Open | None, tuple[str, str] | None]:
    """The block that a line opens, or the whole block (code and language) that it holds."""
    match = _OPENER.match(line)
    if match is None:
        return None, None
    fence, info = match["fence"], match["info"]
    language = _LANGUAGE.match(info)
    name = (language["name"] or "") if language else ""
    rest = info[language.end() :].strip() if language else info.strip()
    code = rest if name.lower() in PYTHON_NAMES and _CODE_AFTER.match(rest) else ""
    if not code and _CODE_AFTER.match(info.strip()):
        name, code = "", info.strip()
    if "`" in info and fence[0] == "`":  # all on one line, or no fence
        ended = code.endswith(fence) and "`" not in code.removesuffix(fence)
        return None, (code.removesuffix(fence) + "\n", name.lower()) if ended else None
    quote, _, indentation = match["lead"].rpartition(">")
    width = len(indentation.removeprefix(" " if quote or match["lead"].startswith(">") else "").expandtabs(4))
    return _Open(position, width, ">" in match["lead"], fence, name.lower(), [code] if code else []), None


def _opens_anew(line: str, opened: _Open) -> bool:
    if opened.fence not in line:
        return False
    match = _OPENER.match(line)
    return (
        match is not None
        and match["fence"] == opened.fence
        and match["info"].strip().lower() in PYTHON_NAMES
        and len(match["lead"].expandtabs(4)) <= opened.width + 3
        and opened.language not in ("md", "markdown")
    )


def _closes(line: str, opened: _Open) -> tuple[bool, str | None]:
    """Whether a line closes the block, and what of the line is code."""
    fence = opened.fence
    if fence not in line:
        return False, line
    match = _CLOSER.match(line)
    if match is not None and match["fence"][0] == fence[0] and len(match["fence"]) >= len(fence):
        if len(match["lead"].expandtabs(4)) <= opened.width + 3:
            return True, None
        return False, line  # a fence inside of the code, in a docstring
    code = line.rstrip()
    if code.endswith(fence) and fence[0] not in code[: -len(fence)] and code[: -len(fence)].strip():
        return True, code[: -len(fence)]
    return False, line


def _block(opened: _Open, closed: bool, end: int) -> Block:
    lines = [_QUOTE.sub("", line) for line in opened.lines] if opened.quoted else opened.lines
    code = "\n".join(_dedented(lines, opened.width))
    return Block(code + "\n" if closed and opened.lines else code, opened.language, closed, opened.start, end)


def _dedented(lines: list[str], width: int) -> list[str]:
    """The lines without the indentation that the fence itself has."""
    if not width:
        return lines
    indents = [len(line) - len(line.lstrip(" \t")) for line in lines if line.strip()]
    common = min([width, *indents])
    return [line[common:] if not line[:common].strip() else line.lstrip(" \t") for line in lines]
