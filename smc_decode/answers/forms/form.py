"""What an answer is found to be, and how intervals, pairs and lists of lists are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from smc_decode.notation.tree import Node

Kind = Literal["value", "list", "tuple", "interval", "union", "matrix", "equation", "words"]

_INFINITE = Node("const", name="inf")


@dataclass(frozen=True, slots=True)
class Form:
    """``text``: the words, the brackets of an interval, tuple or matrix, or what a value that cannot be worked out is
    compared by. ``node``: of a value; of an equation the left side minus the right one."""

    kind: Kind
    parts: tuple[Form, ...] = ()
    text: str = ""
    node: Node | None = None


def interval(low: Form | None, high: Form | None, closed_low: bool, closed_high: bool) -> Form:
    """None: the interval has no bound on this side."""
    minus = Form("value", node=Node("neg", (_INFINITE,)), text="-inf")
    plus = Form("value", node=_INFINITE, text="inf")
    brackets = ("[" if closed_low else "(") + ("]" if closed_high else ")")
    return Form("interval", (low or minus, high or plus), brackets)


def tuple_or_interval(parts: tuple[Form, ...], opening: str, closing: str) -> Form:
    """As the brackets say; an open interval and a pair look the same, and are."""
    brackets = opening + (")" if closing == "(" else "]")
    if len(parts) == 2 and brackets != "()":
        return Form("interval", parts, brackets)
    return Form("tuple", parts, opening)


def flat(forms: Sequence[Form]) -> tuple[Form, ...]:
    """Lists in a list are one."""
    return tuple(part for form in forms for part in (form.parts if form.kind in ("list", "union") else (form,)))
