"""Tokens to a tree: precedence climbing with a bound on the depth, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from smc_decode.notation.cursor import END, Cursor, Unreadable
from smc_decode.notation.numerals import read_number
from smc_decode.notation.quantities import read_unit
from smc_decode.notation.signs import OPERATOR_WORDS
from smc_decode.notation.tokens import Token
from smc_decode.notation.tree import Node

MAX_DEPTH = 60

_SUM, _PRODUCT, _SIGN, _APPLIED, _POWER = 10, 20, 22, 25, 40
_INFIX = {
    "+": ("add", _SUM), "-": ("sub", _SUM), "±": ("pm", _SUM), "*": ("mul", _PRODUCT), "/": ("div", _PRODUCT),
    "mod": ("mod", _PRODUCT), "choose": ("choose", _PRODUCT), "of": ("of", _PRODUCT), "^": ("pow", _POWER),
    "**": ("pow", _POWER),
}  # fmt: skip
_POSTFIX = frozenset(["!", "%", "deg", "sup", "squared", "cubed", "'"])


@dataclass(frozen=True, slots=True)
class Style:
    """``units``: words after a number are its unit. ``variables``: letters stand for numbers."""

    units: bool = True
    variables: bool = False


class Parser(Cursor):
    """Reads one expression from ``tokens[at:end]``."""

    def __init__(self, tokens: Sequence[Token], at: int, end: int, style: Style) -> None:
        super().__init__(tokens, at, end)
        self._style = style
        self._depth = 0

    def expression(self, power: int = 0) -> Node:
        """The longest expression from here on whose operators bind tighter than ``power``. Raises Unreadable."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        node = self._infixes(self._postfixes(self._primary()), power)
        self._depth -= 1
        return node

    # -- primaries --

    def _primary(self) -> Node:
        token = self.take()
        reader = self._READERS.get(token.kind)
        if reader is None:
            raise Unreadable(f"{token.text!r} begins no expression")
        return reader(self, token)

    def _variable(self, token: Token) -> Node:
        if not self._style.variables:
            raise Unreadable("a variable")
        name = token.text
        if self.sees("op", "_"):
            self.at += 1
            name += "_" + self._subscript()
        while self.sees("op", "'"):
            self.at += 1
            name += "'"
        return Node("var", name=name)

    def _subscript(self) -> str:
        token = self.take()
        if token.kind != "open":
            return token.text
        parts = []
        while not self.sees("close", "{"):
            if self.peek() is END:
                raise Unreadable("an open subscript")
            parts.append(self.take().text)
        self.at += 1
        return "".join(parts)

    def _constant(self, token: Token) -> Node:
        return Node("const", name=token.text)

    def _bracketed(self, token: Token) -> Node:
        if token.text == "set":
            raise Unreadable("a set")
        node = self.expression()
        self.expect("close", token.text if token.text != "[" else "]")
        return Node(token.text, (node,)) if token.text in ("floor", "ceil") else Node("group", (node,))

    def _operator(self, token: Token) -> Node:
        if token.text in "+-" or token.text == "±":
            node = self.expression(_SIGN)
            if token.text == "±":
                return Node("pm", (Node("num"), node))
            return Node("neg", (node,)) if token.text == "-" else node
        if token.text in ("√", "∛"):
            return Node("sqrt" if token.text == "√" else "cbrt", (self._argument(),))
        if token.text == "|" and self._style.variables:
            node = self.expression()
            self.expect("op", "|")
            return Node("abs", (node,))
        raise Unreadable(f"{token.text!r} begins no expression")

    # -- functions --

    def _function(self, token: Token) -> Node:
        name = token.text
        if name in ("frac", "binom") and self.sees("open", "{"):
            first, second = self._argument(), self._argument()
            return Node("div" if name == "frac" else "choose", (Node("group", (first,)), Node("group", (second,))))
        if name in ("sqrt", "root"):
            return self._root()
        base = self._log_base() if name in ("log", "lg") else None
        exponent = self._function_power()
        args = self._arguments()
        if base is not None:
            args = (*args, base)
        if exponent == Node("neg", (Node("num", value=Fraction(1), name="1"),)):
            name, exponent = "arc" + name, None
            if name[3:] not in ("sin", "cos", "tan"):
                raise Unreadable("an inverse function")
        node = Node(name, args)
        return node if exponent is None else Node("pow", (node, exponent))

    def _root(self) -> Node:
        degree = None
        if self.sees("open", "["):
            self.at += 1
            degree = self.expression()
            self.expect("close", "]")
        argument = self._argument()
        return Node("sqrt", (argument,)) if degree is None else Node("root", (argument, degree))

    def _log_base(self) -> Node | None:
        if not self.sees("op", "_"):
            return None
        self.at += 1
        return self._argument()

    def _function_power(self) -> Node | None:
        if self.sees("op", "^"):
            self.at += 1
            return self._argument()
        if self.sees("op", "sup"):
            return Node("num", value=self.take().value)
        return None

    def _arguments(self) -> tuple[Node, ...]:
        """In brackets, separated by commas, or the product that follows."""
        if not self.sees("open", "(", "{"):
            return (self._product(),)
        closing = self.take().text
        args = [self.expression()]
        while self.sees("op", ","):
            self.at += 1
            args.append(self.expression())
        self.expect("close", closing)
        return tuple(args)

    def _product(self) -> Node:
        node = self._postfixes(self._primary())
        while self.peek().kind in ("num", "var", "const") and self._juxtaposes():
            node = Node("mul", (node, self._powers(self._postfixes(self._primary()))))
        return self._powers(node)

    def _powers(self, node: Node) -> Node:
        return self._infixes(node, _APPLIED)

    def _argument(self) -> Node:
        """One argument of a LaTeX command: a group, or what stands next."""
        if self.sees("open", "{", "("):
            closing = self.take().text
            node = self.expression()
            self.expect("close", closing)
            return node
        if self.sees("op", "-"):
            self.at += 1
            return Node("neg", (self._argument(),))
        return self._primary()

    # -- what follows an operand --

    def _postfixes(self, node: Node) -> Node:
        while True:
            token = self.peek()
            if token.kind == "op" and token.text in _POSTFIX:
                if token.text == "!" and token.spaced:
                    return node
                self.at += 1
                node = self._postfix(node, token)
            elif token.kind == "op" and token.text == "^" and self._degrees():
                node = Node("deg", (node,))
            elif self._style.units and token.kind == "word" and (taken := read_unit(self, node)) is not None:
                node = taken
            else:
                return node

    def _postfix(self, node: Node, token: Token) -> Node:
        if token.text in ("squared", "cubed", "sup"):
            value = token.value if token.text == "sup" else Fraction(2 if token.text == "squared" else 3)
            return Node("pow", (node, Node("num", value=value)))
        name = {"!": "fact", "%": "percent", "deg": "deg"}.get(token.text)
        if name is None:
            raise Unreadable("a prime")
        return Node(name, (node,))

    def _degrees(self) -> bool:
        """``^\\circ`` or ``^{\\circ}``."""
        ahead = 2 if self.peek(1).text == "{" else 1
        if self.peek(ahead).text != "deg" or (ahead == 2 and self.peek(3).text != "{"):
            return False
        self.at += ahead + (2 if ahead == 2 else 1)
        return True

    # -- operators --

    def _infixes(self, node: Node, power: int) -> Node:
        while True:
            token = self.peek()
            if token.kind == "op" and token.text in _INFIX:
                name, binding = _INFIX[token.text]
                if binding <= power or not self._continues(token):
                    return node
                self.at += 1
                node = self._combine(name, binding, node)
            elif self._times_letter(token) and power < _PRODUCT:
                self.at += 1
                node = Node("mul", (node, self.expression(_PRODUCT)))
            elif self._worded(token) and power < _PRODUCT:
                self.at += 2
                name = "div" if token.text == "divided" else "mul"
                node = Node(name, (node, self.expression(_PRODUCT)))
            elif power < _PRODUCT and self._juxtaposes():
                node = Node("mul", (node, self.expression(_PRODUCT)))
            else:
                return node

    def _combine(self, name: str, binding: int, node: Node) -> Node:
        if name == "pow":
            return Node("pow", (node, self._exponent()))
        if self.sees("dots"):
            return self._series(name, node)
        return Node(name, (node, self.expression(binding)))

    def _exponent(self) -> Node:
        if self.sees("op", "-"):
            self.at += 1
            return Node("neg", (self._exponent(),))
        if self.sees("open", "{", "("):
            closing = self.take().text
            node = self.expression()
            self.expect("close", closing)
        else:
            node = self._primary()
        return self._infixes(node, _POWER - 1) if self.sees("op", "^", "**") else node

    def _series(self, name: str, node: Node) -> Node:
        """``1 + 2 + ... + 10``."""
        self.at += 1
        operator = self.take()
        if name not in ("add", "mul") or operator.kind != "op" or _INFIX.get(operator.text, ("",))[0] != name:
            raise Unreadable("a series without an end")
        last = self.expression(_SUM if name == "add" else _PRODUCT)
        terms: list[Node] = []
        while node.op == name and len(terms) < 8:
            terms.append(node.args[1])
            node = node.args[0]
        return Node("series", (*reversed([*terms, node]), last), name=name)

    def _continues(self, token: Token) -> bool:
        """Whether an operand follows; in prose a dash or a star may end the expression."""
        following = self.peek(1)
        if following.kind == "word":
            return following.text[:1].isalpha() and (len(following.text) == 1 or token.text not in "-*/of")
        return following.kind not in ("sep", "rel", "close") or token.text not in "-*/**of"

    def _times_letter(self, token: Token) -> bool:
        return token.kind == "word" and token.text in ("x", "X") and self.peek(1).kind in ("num", "open")

    def _worded(self, token: Token) -> bool:
        return token.kind == "word" and token.text in ("divided", "multiplied") and self.peek(1).text == "by"

    def _juxtaposes(self) -> bool:
        token, before = self.peek(), self.peek(-1)
        if token.kind == "open":
            if self.peek(1).kind == "word" and not self._style.variables:
                return False
            return token.text in ("(", "[", "{", "floor", "ceil") and (
                token.text == "(" or self._style.variables or not token.spaced
            )
        if token.kind == "num":
            return before.kind == "close" and not (before.text == "]" and token.spaced)
        if token.kind == "op":
            return token.text in ("√", "∛")
        if token.kind == "func":
            return token.text not in OPERATOR_WORDS
        return token.kind == "const" or (token.kind == "var" and self._style.variables)

    _READERS: ClassVar[dict[str, Callable[[Parser, Token], Node]]] = {}


Parser._READERS = {
    "num": read_number,
    "var": Parser._variable,
    "const": Parser._constant,
    "open": Parser._bracketed,
    "op": Parser._operator,
    "func": Parser._function,
}
