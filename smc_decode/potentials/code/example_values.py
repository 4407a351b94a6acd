"""Reads calls and values out of running text: literals, calls of known functions, simple arithmetic, nothing else.

All of it draws on one budget of characters given to the parser, so that a hostile prompt costs a bounded time.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator

from smc_decode.potentials.code.syntax import STRING, parse

MAX_PARSED = 100_000
MAX_VALUE = 5_000

BUILTINS = frozenset(
    [
        "abs",
        "all",
        "any",
        "bool",
        "dict",
        "float",
        "frozenset",
        "int",
        "isinstance",
        "len",
        "list",
        "max",
        "min",
        "repr",
    ]
) | {"round", "set", "sorted", "str", "sum", "tuple", "type"}
MODULES = {
    "Counter": "collections", "OrderedDict": "collections", "defaultdict": "collections", "deque": "collections",
    "Decimal": "decimal", "Fraction": "fractions", "isclose": "math",
}  # fmt: skip
"""Names that examples take from the standard library, and from where."""
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod)
_WORDS = {"true": True, "false": False, "none": None, "null": None}
_INFINITE = {"inf": "inf", "+inf": "inf", "-inf": "-inf", "infinity": "inf", "-infinity": "-inf"}
_THOUSANDS = re.compile(r"[ \t]*(-?\d{1,3}(?:,\d{3})+)(?![\d,]*\d)(\.\d+)?")
_DELIMITERS = frozenset(" \t.;,#)—–!/-<(=")
_TOKEN = re.compile(rf"{STRING}|[()\[\]{{}}]")
_AFTER_VALUE = re.compile(
    r"[ \t]*(?:\Z|[.;#)\n—–!]|,(?![ \t]*[-\d\[({\"'])|//|--|<-|(?<=[ \t])\(|\(\D|=\s*[-\d.]+\s*(?:\Z|\n)"
    r"|(?:since|because|as|where|when|while|whereas|if|for|and|but|so|which|i\.e|e\.g)\b)"
)


class Values:
    """Reads values and calls. ``known``: functions that examples may call, beside harmless built-ins."""

    def __init__(self, known: Collection[str]) -> None:
        self.known = known
        self._budget = MAX_PARSED

    def statement(self, source: str) -> ast.stmt | None:
        """``source`` as one statement."""
        self._budget -= len(source) + 40
        tree = parse(source) if self._budget > 0 and len(source) <= MAX_VALUE else None
        return tree.body[0] if tree is not None and len(tree.body) == 1 else None

    def expression(self, source: str) -> ast.expr | None:
        """``source`` as an expression; ``true``, ``false`` and ``null`` as other languages write them."""
        statement = self.statement(source)
        return _with_words(statement.value) if isinstance(statement, ast.Expr) else None

    def value(self, source: str) -> ast.expr | None:
        """``source`` as a value without calls."""
        if not source or len(source) > MAX_VALUE:
            return None
        word = source.rstrip(".").lower()
        if word in _WORDS:
            return ast.Constant(_WORDS[word])
        if word in _INFINITE:
            return ast.Call(ast.Name("float", ast.Load()), [ast.Constant(_INFINITE[word])], [])
        value = self.expression(source)
        if value is None or isinstance(value, (ast.Compare, ast.BoolOp)) or not self.is_plain(value, calls=False):
            return None
        return value

    def value_at(self, text: str, start: int, strict: bool = True) -> ast.expr | None:
        """The longest value that begins at ``start``; it may run over lines only inside brackets."""
        thousands = _THOUSANDS.match(text, start)
        if thousands:  # 1,000 is no tuple; 1,234 may be either
            groups = thousands[1].split(",")[1:]
            sure = any(group.startswith("0") for group in groups) and _AFTER_VALUE.match(text, thousands.end())
            return self.value(thousands[0].strip().replace(",", "")) if sure else None
        for end in self._ends(text, start):
            piece = text[start:end]
            inside_word = end < len(text) and re.match(r"\w", text[end]) and re.match(r"\w", piece[-1])
            if piece[-1] in " \t\n,." or inside_word or (strict and not _AFTER_VALUE.match(text, end)):
                continue
            value = self.value(piece.strip())
            if value is not None and not (isinstance(value, ast.Tuple) and piece.strip()[0] != "("):
                return value
        return None

    def _ends(self, text: str, start: int) -> Iterator[int]:
        line_end = text.find("\n", start)
        line_end = len(text) if line_end < 0 else line_end
        last = min(line_end, start + 500)
        yield from (end for end in range(last, start, -1) if end == last or text[end] in _DELIMITERS)
        if re.match(r"\s*[\[({]", text[start : start + 20]):
            yield from (end for end in closers(text, start) if end > line_end)

    def is_plain(self, node: ast.expr, names: Collection[str] = (), calls: bool = True) -> bool:
        """Whether an expression has literals, calls of known functions and simple arithmetic only. ``names``: further
        names that it may read."""
        return all(self._is_plain_part(inner, names, calls) for inner in ast.walk(node))

    def _is_plain_part(self, inner: ast.AST, names: Collection[str], calls: bool) -> bool:
        match inner:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="math"), attr="isclose")):
                return calls
            case ast.Call(func=ast.Name(id=name)):
                return calls and self._is_known(name)
            case ast.Name(id=name):
                return name in names or (calls and (self._is_known(name) or name == "math"))
            case ast.Attribute(value=ast.Name(id="math"), attr=name):
                return calls and name in ("isclose", "inf", "pi", "e")
            case ast.Constant(value=value):
                return value is not Ellipsis and not isinstance(value, bytes)
            case ast.BinOp(op=operator):
                return isinstance(operator, _OPERATORS)
            case ast.List() | ast.Tuple() | ast.Dict() | ast.Set() | ast.UnaryOp() | ast.Compare() | ast.BoolOp():
                return True
            case _:
                return isinstance(
                    inner, (ast.keyword, ast.operator, ast.unaryop, ast.cmpop, ast.boolop, ast.expr_context)
                )

    def _is_known(self, name: str) -> bool:
        return name in BUILTINS or name in MODULES or name in self.known


def closers(text: str, start: int) -> Iterator[int]:
    """The positions after each closing bracket, the likeliest first, in a window that an example may take."""
    end = min(len(text), start + 3000)
    likely = None
    depth = 0
    for token in _TOKEN.finditer(text, start, end):
        depth += (token[0] in "([{") - (token[0] in ")]}")
        if depth == 0 and token[0] in ")]}":
            likely = token.end()
            yield likely
            break
    seen = 0
    for position in range(start, end):
        if text[position] in ")]}":
            seen += 1
            if seen > 60:
                return
            if position + 1 != likely:
                yield position + 1


def imports_for(node: ast.AST) -> list[str]:
    """The import statements that an example needs."""
    names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
    found = sorted(f"from {MODULES[name]} import {name}" for name in names & MODULES.keys())
    return [*(["import math"] if "math" in names else []), *found]


def word_value(name: str) -> ast.expr | None:
    """``true``, ``none`` and their like, in whatever letters; None for other names."""
    return ast.Constant(_WORDS[name.lower()]) if name.lower() in _WORDS else None


def _with_words(value: ast.expr) -> ast.expr:
    whole = ast.Expr(value)
    for node in list(ast.walk(whole)):
        for name, field in ast.iter_fields(node):
            if isinstance(field, list):
                field[:] = [_as_word(each) for each in field]
            else:
                setattr(node, name, _as_word(field))
    return whole.value


def _as_word(node: object) -> object:
    return ast.Constant(_WORDS[node.id]) if isinstance(node, ast.Name) and node.id in _WORDS else node
