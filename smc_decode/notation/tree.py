"""What a piece of mathematics says, as a tree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Node:
    """``op``: ``num``, ``var``, ``const``, ``neg``, ``add``, ``sub``, ``mul``, ``div``, ``pow``, ``mod``, ``choose``,
    ``of``, ``fact``, ``percent``, ``deg``, ``unit``, ``compound``, ``mixed``, ``base``, ``series``, ``remainder``,
    ``pm``, ``group``, or a function's name. ``args``: the operands. ``name``: of a variable, constant or unit, a
    number as it is written, a series' operation. ``places``: the decimals of a number as it is written."""

    op: str
    args: tuple[Node, ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""
    places: int | None = None

    def walk(self) -> Iterator[Node]:
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(node.args)


def bare(node: Node) -> Node:
    """Without units, signs and per cents around it."""
    while node.op in ("unit", "neg", "percent", "deg"):
        node = node.args[0]
    return node


def is_number(node: Node) -> bool:
    """A number and no operation: a sign, a unit and a per cent sign are part of it."""
    return bare(node).op == "num"


def variables(node: Node) -> frozenset[str]:
    return frozenset(each.name for each in node.walk() if each.op == "var")


def has(node: Node, *ops: str) -> bool:
    return any(each.op in ops for each in node.walk())
