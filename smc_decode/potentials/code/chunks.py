"""Splits a text at its margin into top-level statements, where some of it may be prose. One pass, linear time."""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from smc_decode.potentials.code.syntax import STRING, parse, parse_parts

MAX_PARTS = 5_000
"""Top-level statements of a text that does not parse as a whole; what comes after them is not read."""

_TOKEN = re.compile(rf"#[^\n]*|{STRING}|[()\[\]{{}}]|\\\n|\n")
_STARTS_ANYWAY = re.compile(
    r"(?:async\s+def|def|class)\s+\w+\s*[(:]|import\s+\w+\s*$|from\s+[\w.]+\s+import\b|@\w+", re.MULTILINE
)
_GOES_ON = re.compile(r"[\s#)\]}]|(?:else|elif|except|finally)\b|\Z")
_BROKEN = re.compile(
    r"(?:@|(?:async|def|class|if|for|while|try|with)\b).*\n(?:[ \t]*\n)*[ \t]+\S|(?:async\s+)?def\s+\w+\s*\("
)
_TWO_WORDS = re.compile(r"([A-Za-z]+)[ \t]+([A-Za-z]+)\b")
_KEYWORDS = frozenset([*keyword.kwlist, *keyword.softkwlist])
_INFIX = frozenset(["and", "or", "if", "in", "is", "not", "for", "else"])


@dataclass(frozen=True, slots=True)
class Part:
    """A top-level statement: its syntax tree, its source, and where its text begins and ends. ``node`` None: no
    Python."""

    node: ast.stmt | None
    source: str
    start: int
    end: int

    @property
    def broken(self) -> bool:
        """No Python, though it can hardly be prose."""
        return self.node is None and _BROKEN.match(self.source) is not None


def margins(text: str) -> list[int]:
    """The offsets at which top-level statements (or lines of prose) begin."""
    found = [] if _GOES_ON.match(text) else [0]
    decorated = text.startswith("@")
    depth = 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in "([{":
            depth += 1
        elif mark in ")]}":
            depth = max(depth - 1, 0)
        elif mark == "\n":
            start = token.end()
            if (depth and not _STARTS_ANYWAY.match(text, start)) or _GOES_ON.match(text, start):
                continue
            depth = 0
            if not decorated:
                found.append(start)
            decorated = text.startswith("@", start)
    return found


def parts_of(text: str) -> list[Part]:
    """The top-level statements of a finished ``text``, in order, and what is no Python between them."""
    tree = parse(text)
    if tree is not None:
        return list(_statements(tree, text, 0))
    starts = margins(text)[:MAX_PARTS]
    pieces = [(start, text[start:end]) for start, end in pairwise([*starts, len(text)])]
    if starts and text[: starts[0]].strip():  # what stands indented before the first margin
        pieces.insert(0, (0, text[: starts[0]]))
    asked = [piece for _, piece in pieces if not _is_prose(piece)]
    trees = iter(parse_parts(asked))
    parts: list[Part] = []
    for start, piece in pieces:
        tree = None if _is_prose(piece) else next(trees)
        if tree is None:
            parts.append(Part(None, piece, start, start + len(piece)))
        else:
            parts += _statements(tree, piece, start)
    return parts


def _is_prose(piece: str) -> bool:
    """Whether it is certainly no Python: two words side by side that nothing joins."""
    words = _TWO_WORDS.match(piece)
    return words is not None and words[1] not in _KEYWORDS and words[2] not in _INFIX


def _statements(tree: ast.Module, text: str, offset: int) -> Iterator[Part]:
    lines = text.split("\n")
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line) + 1)
    rows = [_rows(node) for node in tree.body]
    for index, (node, (first, last)) in enumerate(zip(tree.body, rows, strict=True)):
        alone = (index == 0 or rows[index - 1][1] < first) and (index + 1 == len(rows) or rows[index + 1][0] > last)
        source = "\n".join(lines[first - 1 : last]) if alone else _unparsed(node)
        if source:
            yield Part(node, source, offset + starts[first - 1], offset + min(starts[last], len(text)))


def _rows(node: ast.stmt) -> tuple[int, int]:
    decorators: Sequence[ast.expr] = getattr(node, "decorator_list", ())
    return min([node.lineno, *(each.lineno for each in decorators)]), node.end_lineno or node.lineno


def _unparsed(node: ast.stmt) -> str:
    try:
        return ast.unparse(node)
    except (RecursionError, ValueError):
        return ""
