"""One example of a function: a call, the value that it should give, and the assertion that says so."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from smc_decode.potentials.code.example_values import imports_for


@dataclass(frozen=True, slots=True)
class Example:
    """One example: its call and its expected value as source, and the assertion (with the set-up it needs) to run."""

    call: str
    expected: str
    assertion: str


@dataclass(frozen=True, slots=True)
class Found:
    """An example as it was read. ``expected`` None: ``call`` is true by itself. ``setup``: statements that come before
    it."""

    call: ast.expr
    expected: ast.expr | None
    setup: tuple[str, ...] = ()


def consistent(found: Sequence[Found]) -> list[Example]:
    """The examples without repetitions; of several for one call the last. Where the last value of all is a container,
    single numbers and strings are not examples but a formula's parts or slips."""
    by_call: dict[tuple[tuple[str, ...], str], Found] = {}
    for item in found:
        try:
            by_call[item.setup, ast.unparse(item.call)] = item
        except (RecursionError, ValueError):
            continue
    last = found[-1].expected if found else None
    container = isinstance(last, (ast.List, ast.Tuple, ast.Dict, ast.Set))
    kept = ((call, item) for (_, call), item in by_call.items() if not (container and _is_single(item.expected)))
    return list(_examples(kept))


def _is_single(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Constant):
        return node.value is not None and not isinstance(node.value, bool)
    return isinstance(node, (ast.BinOp, ast.UnaryOp))


def _examples(items: Iterator[tuple[str, Found]]) -> Iterator[Example]:
    for call, item in items:
        try:
            yield _example(call, item)
        except (RecursionError, ValueError):
            continue


def _example(call: str, item: Found) -> Example:
    setup = [*imports_for(item.call), *item.setup]
    if item.expected is None:
        test, expected = call, "True"
    else:
        expected = ast.unparse(item.expected)
        setup = [*(line for line in imports_for(item.expected) if line not in setup), *setup]
        rounded = isinstance(item.expected, ast.Constant) and isinstance(item.expected.value, float)
        # documentation rounds what it prints
        test = f"abs({call} - {expected}) <= 1e-06" if rounded else f"{call} == {_grouped(item.expected, expected)}"
    return Example(call, expected, "\n".join([*setup, f"assert {test}"]))


def _grouped(node: ast.expr, source: str) -> str:
    return source if isinstance(node, (ast.Constant, ast.List, ast.Dict, ast.Set, ast.Call)) else f"({source})"
