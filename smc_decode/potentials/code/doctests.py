"""The doctests of a prompt: what follows ``>>>``, and the value below it."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Sequence

from smc_decode.potentials.code.example import Found
from smc_decode.potentials.code.example_values import Values

MAX_OUTPUT_LINES = 40

_CONTINUES = re.compile(r"\s*\.\.\.(\s|$)")
_PROMPTS = re.compile(r"\s*(?:>>>|\.\.\.(?:\s|$))")


class Doctests:
    """Reads a session of the interpreter. ``otherwise`` reads an example out of a line that is no statement."""

    def __init__(self, values: Values, entry_point: str, otherwise: Callable[[str], Iterator[Found]]) -> None:
        self._values = values
        self._entry_point = entry_point
        self._otherwise = otherwise
        self._setup: list[str] = []
        self._names: set[str] = set()
        self._results: set[str] = set()
        """Names whose values come from the function."""

    def read(self, lines: Sequence[str]) -> Iterator[Found]:
        """The examples in ``lines``."""
        index = 0
        while index < len(lines):
            line = lines[index].strip()
            index += 1
            if not line.startswith(">>>"):
                continue
            source = [line[3:].strip()]
            while index < len(lines) and _CONTINUES.match(lines[index]):
                source.append(lines[index].strip()[3:])
                index += 1
            below = index
            while below < min(len(lines), index + MAX_OUTPUT_LINES) and _is_output(lines[below]):
                below += 1
            yield from self._one("\n".join(source), lines[index:below])
            index = below

    def _one(self, source: str, wanted: Sequence[str]) -> Iterator[Found]:
        statement = self._values.statement(source)
        if statement is None:
            yield from self._otherwise(source)
        elif isinstance(statement, ast.Assign):
            self._assign(statement)
        elif isinstance(statement, ast.Assert):
            yield from self.assertion(statement.test)
        elif isinstance(statement, ast.Expr):
            yield from self._expression(statement.value, source, wanted)

    def assertion(self, test: ast.expr) -> Iterator[Found]:
        """The example that an assert statement is."""
        if not self._asks(test) or not self._is_plain(test):
            return
        match test:
            case ast.Compare(
                left=ast.Call() as call, ops=[ast.Eq()], comparators=[ast.Constant(value=float()) as value]
            ):
                yield Found(call, value, tuple(self._setup))
            case _:
                yield Found(test, None, tuple(self._setup))

    def _assign(self, statement: ast.Assign) -> None:
        names = {node.id for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)}
        if self._is_plain(statement.value):
            self._setup.append(ast.unparse(statement))
            self._names |= names
            self._results |= names if self._asks(statement.value) else set()
        else:
            self._names -= names

    def _expression(self, value: ast.expr, source: str, wanted: Sequence[str]) -> Iterator[Found]:
        printed = _printed(value)
        if not wanted:
            yield from self._silent(value, source)
        elif printed is not None and self._asks(printed) and self._is_plain(printed):
            yield Found(_call("str", printed), ast.Constant(_output(wanted)), tuple(self._setup))
        elif self._asks(value) and self._is_plain(value):
            yield from self._with_value(value, source, wanted)

    def _with_value(self, value: ast.expr, source: str, wanted: Sequence[str]) -> Iterator[Found]:
        for length in range(_in_brackets(wanted), 0, -1):
            expected = self._values.value("\n".join(wanted[:length]).strip())
            if expected is not None and not _is_bare_tuple(expected, wanted[0]):
                yield self._found(value, expected)
                return
        if not isinstance(value, ast.Compare):
            yield from self._otherwise(source)

    def _found(self, value: ast.expr, expected: ast.expr) -> Found:
        truth = expected.value if isinstance(expected, ast.Constant) else None
        if isinstance(value, (ast.Compare, ast.BoolOp, ast.UnaryOp)) and isinstance(truth, bool):
            said = value if truth else ast.UnaryOp(ast.Not(), value)
            return Found(said, None, tuple(self._setup))
        return Found(value, expected, tuple(self._setup))

    def _silent(self, value: ast.expr, source: str) -> Iterator[Found]:
        """A line without output: a comparison that is meant to hold, a change in place, or an example on one line."""
        if isinstance(value, ast.Compare) and self._asks(value) and self._is_plain(value):
            yield Found(value, None, tuple(self._setup))
            return
        touched = {node.id for node in ast.walk(value) if isinstance(node, ast.Name)} & self._names
        if touched and self._asks(value) and self._is_plain(value):
            self._setup.append(ast.unparse(value))
            self._results |= touched
            return
        if touched:  # who knows what became of them
            self._names -= touched
        yield from self._otherwise(source)

    def _asks(self, node: ast.expr) -> bool:
        """Whether it calls the function, or reads what a call gave or changed."""
        return any(
            (isinstance(inner, ast.Name) and inner.id in self._results and inner.id in self._names)
            or (isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == self._entry_point)
            for inner in ast.walk(node)
        )

    def _is_plain(self, node: ast.expr) -> bool:
        return self._values.is_plain(node, self._names)


def _is_output(line: str) -> bool:
    return bool(line.strip()) and not _PROMPTS.match(line)


def _in_brackets(lines: Sequence[str]) -> int:
    """How many of the lines a value takes that begins on the first: on, as long as brackets are open."""
    depth = 0
    for number, line in enumerate(lines, 1):
        depth += sum(map(line.count, "[({")) - sum(map(line.count, "])}"))
        if depth <= 0:
            return number
    return len(lines)


def _is_bare_tuple(expected: ast.expr, first: str) -> bool:
    return isinstance(expected, ast.Tuple) and not first.lstrip().startswith("(")


def _printed(value: ast.expr) -> ast.expr | None:
    """What ``print(...)`` prints, where that is one thing."""
    match value:
        case ast.Call(func=ast.Name(id="print"), args=[only], keywords=[]) if not isinstance(only, ast.Starred):
            return only
        case _:
            return None


def _output(wanted: Sequence[str]) -> str:
    return "\n".join("" if line.strip() == "<BLANKLINE>" else line.strip() for line in wanted)


def _call(name: str, argument: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(name, ast.Load()), [argument], [])
