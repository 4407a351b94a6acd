"""Python source that may be unfinished: parsing it, and closing its open end by *cuts*. Nothing is executed here."""

from __future__ import annotations

import ast
import io
import re
import threading
import tokenize
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

CUT = "__unfinished__"
"""The message of the NotImplementedError that marks a cut."""

MAX_SOURCE = 100_000
"""Characters; a longer program is not judged but counts as no Python."""

SPACES = "\u00a0\u1680\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u200e\u200f"

STRING = (
    r'"""(?:[^"\\]|\\[\s\S]?|"(?!""))*+(?:"""|\Z)'
    r"|'''(?:[^'\\]|\\[\s\S]?|'(?!''))*+(?:'''|\Z)"
    r'|"(?:[^"\\\n]|\\[\s\S]?)*+"?'
    r"|'(?:[^'\\\n]|\\[\s\S]?)*+'?"
)
"""A string literal, closed or not. No two branches begin alike, so that matching takes linear time."""

_ODD = re.compile(f"[\r{SPACES}{INVISIBLE}]")
_KEPT_OR_ODD = re.compile(rf"#[^\n]*|{STRING}|[{SPACES}{INVISIBLE}]+")
_AS_SPACE = str.maketrans({**dict.fromkeys(SPACES, " "), **dict.fromkeys(INVISIBLE, "")})
_BLOCKS = frozenset([
    "if", "elif", "else", "for", "while", "try", "except", "finally", "with", "def", "class", "async", "match",
    "case",
])  # fmt: skip
_LAYOUT = (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
_WARNINGS = threading.Lock()


def parse(source: str) -> ast.Module | None:
    """The syntax tree, or None for what is no Python (nesting that is too deep for the parser included)."""
    if len(source) > MAX_SOURCE or "\0" in source:
        return None
    try:
        # the filters are process-wide: the lock keeps two parses from restoring each other's
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source, "<candidate>")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def parse_parts(sources: Sequence[str]) -> list[ast.Module | None]:
    """:func:`parse` of many small sources, with the set-up done once."""
    trees: list[ast.Module | None] = []
    with _WARNINGS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for source in sources:
            try:
                trees.append(ast.parse(source, "<candidate>") if "\0" not in source else None)
            except (SyntaxError, ValueError, RecursionError, MemoryError):
                trees.append(None)
    return trees


def plain_source(text: str) -> str:
    """``text`` with the line ends and spaces that Python knows; what strings and comments hold stays."""
    if _ODD.search(text) is None:
        return text
    text = text.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    return _KEPT_OR_ODD.sub(lambda match: match[0] if match[0][0] in "#\"'" else match[0].translate(_AS_SPACE), text)


def closed_source(code: str) -> str | None:
    """``code``, made whole where its end is open; None for what no continuation makes Python."""
    if parse(code) is not None:
        return code
    lines = closed_lines(code if code.endswith("\n") else code + "\n")
    return None if lines is None else with_cuts(lines)


def is_code(text: str) -> bool:
    """Whether ``text`` is Python, or the beginning of some."""
    source = closed_source(text)
    return source is not None and parse(source) is not None


@dataclass(frozen=True, slots=True)
class Lines:
    """The finished logical lines of a source: their text, and for each its indentation, first word and whether it
    opens a block."""

    text: str
    logical: tuple[tuple[str, str, bool], ...]


def closed_lines(full: str) -> Lines | None:
    """The logical lines that are certainly finished; None if there is an error that no continuation can mend."""
    closed = full[: full.rfind("\n") + 1]  # the last line may still grow
    physical = closed.split("\n")
    logical: list[tuple[str, str, bool]] = []
    last_row = 0
    first: tokenize.TokenInfo | None = None
    previous: tokenize.TokenInfo | None = None
    try:
        for token in tokenize.generate_tokens(io.StringIO(closed).readline):
            if token.type == tokenize.ERRORTOKEN and token.string.strip():
                return None
            if token.type == tokenize.NEWLINE:
                if first is not None and previous is not None:
                    indent = physical[first.start[0] - 1][: first.start[1]]
                    opens = previous.string == ":" and first.string in _BLOCKS
                    logical.append((indent, _keyword(first, physical), opens))
                last_row, first, previous = token.end[0], None, None
            elif token.type not in _LAYOUT:
                first, previous = first or token, token
    except IndentationError:
        return None
    except (tokenize.TokenError, SyntaxError) as error:
        message = str(error.args[0]) if error.args else ""
        if "EOF" not in message and "triple-quoted" not in message:
            return None
    while logical and logical[-1][1] == "@":  # a decorator waits for its function
        logical.pop()
        last_row -= 1
    return Lines("\n".join(physical[:last_row]), tuple(logical))


def _keyword(first: tokenize.TokenInfo, physical: Sequence[str]) -> str:
    if first.string == "async":
        rest = physical[first.start[0] - 1][first.end[1] :].split()
        return rest[0] if rest else "async"
    return first.string


def with_cuts(lines: Lines, script: bool = False) -> str:
    """The source with a cut wherever control would go on into the missing text."""
    stack: list[tuple[str, str]] = []
    for indent, word, opens in lines.logical:
        while stack and len(stack[-1][0]) >= len(indent):
            stack.pop()
        if opens:
            stack.append((indent, word))
    opened = bool(lines.logical) and lines.logical[-1][2]
    level = "" if not lines.logical else lines.logical[-1][0] + ("    " if opened else "")
    tail: list[str] = []
    for depth in range(len(stack), 0, -1):
        indent, word = stack[depth - 1]
        inside = script or any(outer == "def" for _, outer in stack[: depth - 1])
        tail += _ending(word, level, inside or word == "def", bool(tail))
        level = indent
        if word == "try":
            tail.append(f"{level}except BaseException: {_cut(inside)}")
    if script:
        tail.append(_cut(True))
    return "\n".join([lines.text, *tail, ""])


def _cut(inside: bool) -> str:
    return f"raise NotImplementedError({CUT!r})" if inside else "pass"


def _ending(word: str, level: str, inside: bool, filled: bool) -> list[str]:
    """The last lines of a block that ``word`` opened. ``filled``: a block inside it has been closed already."""
    if word == "match":  # holds cases only
        return [] if filled else [f"{level}case _:", f"{level}    {_cut(True)}"]
    return [level + ("pass" if word == "class" else _cut(inside))]
