"""Tokens to a tree: precedence climbing with a bound on the depth, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from smc_decode.notation.signs import OPERATOR_WORDS
from smc_decode.notation.tokens import Token
from smc_decode.notation.tree import Node
from smc_decode.notation.units import SHORT, scale

MAX_DEPTH = 60

_SUM, _PRODUCT, _SIGN, _APPLIED, _POWER = 10, 20, 22, 25, 40
_INFIX = {
    "+": ("add", _SUM), "-": ("sub", _SUM), "±": ("pm", _SUM), "*": ("mul", _PRODUCT), "/": ("div", _PRODUCT),
    "mod": ("mod", _PRODUCT), "choose": ("choose", _PRODUCT), "of": ("of", _PRODUCT), "^": ("pow", _POWER),
    "**": ("pow", _POWER),
}  # fmt: skip
_POSTFIX = frozenset(["!", "%", "deg", "sup", "squared", "cubed", "'"])
_TRIGONOMETRIC = frozenset(["sin", "cos", "tan", "cot", "sec", "csc"])
_END = Token("sep", "", 0, 0, False)


class Unreadable(ValueError):
    """The tokens are no expression, or one that is nested too deeply."""


@dataclass(frozen=True, slots=True)
class Style:
    """``units``: words after a number are its unit. ``variables``: letters stand for numbers."""

    units: bool = True
    variables: bool = False


class Parser:
    """Reads one expression from ``tokens[at:end]``."""

    def __init__(self, tokens: Sequence[Token], at: int, end: int, style: Style) -> None:
        self._tokens = tokens
        self._end = end
        self._style = style
        self._depth = 0
        self.at = at

    def expression(self, power: int = 0) -> Node:
        """The longest expression from here on whose operators bind tighter than ``power``. Raises Unreadable."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise Unreadable("nested too deeply")
        node = self._infixes(self._postfixes(self._primary()), power)
        self._depth -= 1
        return node

    # -- looking --

    def peek(self, ahead: int = 0) -> Token:
        position = self.at + ahead
        return self._tokens[position] if position < self._end else _END

    def _take(self) -> Token:
        token = self.peek()
        self.at += 1
        return token

    def _is(self, kind: str, *texts: str) -> bool:
        token = self.peek()
        return token.kind == kind and (not texts or token.text in texts)

    def _expect(self, kind: str, *texts: str) -> None:
        if not self._is(kind, *texts):
            raise Unreadable(f"{self.peek().text!r} where {texts} should be")
        self.at += 1

    # -- primaries --

    def _primary(self) -> Node:
        token = self._take()
        reader = self._READERS.get(token.kind)
        if reader is None:
            raise Unreadable(f"{token.text!r} begins no expression")
        return reader(self, token)

    def _number(self, token: Token) -> Node:
        node = Node("num", value=token.value, places=token.places, name=token.text)
        if self._is("op", "_"):
            return self._in_base(token)
        following = self.peek()
        if (
            following.kind == "num"
            and following.text.isalnum()
            and not following.text.isdecimal()
            and len(following.text) == 1
        ):
            self.at += 1  # 2½
            return Node("mixed", (node, Node("num", value=following.value, name=following.text)))
        return self._mixed(node, token)

    def _mixed(self, node: Node, token: Token) -> Node:
        """``2 1/2`` and ``2\\frac{1}{2}``: a whole number and a fraction of whole numbers below one."""
        if token.places is not None or not token.text.isdecimal():
            return node
        first, slash, second = self.peek(), self.peek(1), self.peek(2)
        whole = [each.kind == "num" and each.text.isdecimal() for each in (first, second)]
        if all(whole) and slash.kind == "op" and slash.text == "/" and first.spaced and first.value < second.value:
            self.at += 3
            part = Node("div", (Node("num", value=first.value), Node("num", value=second.value)))
            return Node("mixed", (node, part))
        if first.kind == "func" and first.text == "frac":
            digits = [self.peek(2), self.peek(5)]
            closed = [self.peek(ahead).text for ahead in (1, 3, 4, 6)] == ["{"] * 4
            if closed and all(each.text.isdecimal() for each in digits) and digits[0].value < digits[1].value:
                self.at += 7
                return Node("mixed", (node, Node("div", tuple(Node("num", value=each.value) for each in digits))))
        return node

    def _in_base(self, token: Token) -> Node:
        self.at += 1
        braced = self._is("open", "{")
        self.at += braced
        base = self._take()
        if braced:
            self._expect("close", "{")
        if base.kind == "word" and base.text.lower() in _BASES:
            size = _BASES[base.text.lower()]
        elif base.kind == "num" and base.text.isdecimal():
            size = int(base.value)
        else:
            raise Unreadable("no base")
        if size == 10:
            return Node("num", value=token.value, places=token.places, name=token.text)
        digits = token.text.replace(" ", "").replace(",", "")
        if not 2 <= size <= 36 or not digits.isdecimal() or any(int(digit) >= size for digit in digits):
            raise Unreadable("no number of this base")
        return Node("base", value=Fraction(int(digits, size) if len(digits) < 400 else 0), name=f"{digits}_{size}")

    def _variable(self, token: Token) -> Node:
        if not self._style.variables:
            raise Unreadable("a variable")
        name = token.text
        if self._is("op", "_"):
            self.at += 1
            name += "_" + self._subscript()
        while self._is("op", "'"):
            self.at += 1
            name += "'"
        return Node("var", name=name)

    def _subscript(self) -> str:
        token = self._take()
        if token.kind != "open":
            return token.text
        parts = []
        while not self._is("close", "{"):
            if self.peek() is _END:
                raise Unreadable("an open subscript")
            parts.append(self._take().text)
        self.at += 1
        return "".join(parts)

    def _constant(self, token: Token) -> Node:
        return Node("const", name=token.text)

    def _bracketed(self, token: Token) -> Node:
        if token.text == "set":
            raise Unreadable("a set")
        node = self.expression()
        self._expect("close", token.text if token.text != "[" else "]")
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
            self._expect("op", "|")
            return Node("abs", (node,))
        raise Unreadable(f"{token.text!r} begins no expression")

    # -- functions --

    def _function(self, token: Token) -> Node:
        name = token.text
        if name in ("frac", "binom") and self._is("open", "{"):
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
        if self._is("open", "["):
            self.at += 1
            degree = self.expression()
            self._expect("close", "]")
        argument = self._argument()
        return Node("sqrt", (argument,)) if degree is None else Node("root", (argument, degree))

    def _log_base(self) -> Node | None:
        if not self._is("op", "_"):
            return None
        self.at += 1
        return self._argument()

    def _function_power(self) -> Node | None:
        if self._is("op", "^"):
            self.at += 1
            return self._argument()
        if self._is("op", "sup"):
            return Node("num", value=self._take().value)
        return None

    def _arguments(self) -> tuple[Node, ...]:
        """In brackets, separated by commas, or the product that follows."""
        if not self._is("open", "(", "{"):
            return (self._product(),)
        closing = self._take().text
        args = [self.expression()]
        while self._is("op", ","):
            self.at += 1
            args.append(self.expression())
        self._expect("close", closing)
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
        if self._is("open", "{", "("):
            closing = self._take().text
            node = self.expression()
            self._expect("close", closing)
            return node
        if self._is("op", "-"):
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
            elif self._style.units and token.kind == "word" and (taken := self._unit(node)) is not None:
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

    def _unit(self, node: Node) -> Node | None:
        """Up to three words behind a number that are its unit; a further ``per hour`` or ``/hour`` belongs to them."""
        length = 0
        while length < 4 and self.peek(length).kind == "word" and not self._is_remainder(length):
            length += 1
        following = self.peek(length)
        first = self.peek().text
        if length == 4 or (len(first) == 1 and not self._is_short_unit(first, following)):
            return None
        if following.kind == "word" or following.kind in ("var", "unread", "const", "func"):
            return None
        name = self.peek(0 if scale(first) else length - 1).text
        if following.kind == "num":
            return self._compound(node, name, length)
        self.at += length
        return Node("unit", (node,), name=name + self._unit_power() + self._per())

    def _is_remainder(self, ahead: int) -> bool:
        return self.peek(ahead).text.lower() in _NO_UNITS

    def _is_short_unit(self, letter: str, following: Token) -> bool:
        return letter in SHORT and (following.kind == "num" or self.peek().spaced)

    def _compound(self, node: Node, name: str, length: int) -> Node | None:
        """``1 hour 30 minutes``: a further quantity of the same dimension is added."""
        if self._is_and(length - 1):
            length -= 1
            name = self.peek(0).text
            ahead = length + 1
        else:
            ahead = length
        unit, following = scale(name), self.peek(ahead + 1)
        part = "min" if following.text == "m" and unit is not None and unit[0] == "time" else following.text
        smaller = scale(part) if following.kind == "word" else None
        if unit is None or smaller is None or unit[0] != smaller[0] or smaller[1] >= unit[1]:
            return None
        self.at += ahead
        number = self._take()
        self.at += 1
        rest = Node("unit", (Node("num", value=number.value, places=number.places),), name=part)
        return Node("compound", (Node("unit", (node,), name=name), rest))

    def _is_and(self, ahead: int) -> bool:
        return ahead > 0 and self.peek(ahead).text.lower() == "and"

    def _unit_power(self) -> str:
        """``cm^2`` and ``cm²``."""
        token, following = self.peek(), self.peek(1)
        if token.kind == "op" and token.text == "sup":
            self.at += 1
            return f"^{token.value}"
        if token.kind == "op" and token.text == "^" and following.kind == "num":
            self.at += 2
            return f"^{following.text}"
        return ""

    def _per(self) -> str:
        per = self.peek()
        slash = per.kind == "op" and per.text == "/"
        if (slash or per.text in ("per", "a", "an")) and self.peek(1).kind == "word":
            self.at += 2
            return "/" + self.peek(-1).text
        return ""

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
        if self._is("dots"):
            return self._series(name, node)
        return Node(name, (node, self.expression(binding)))

    def _exponent(self) -> Node:
        if self._is("op", "-"):
            self.at += 1
            return Node("neg", (self._exponent(),))
        if self._is("open", "{", "("):
            closing = self._take().text
            node = self.expression()
            self._expect("close", closing)
        else:
            node = self._primary()
        return self._infixes(node, _POWER - 1) if self._is("op", "^", "**") else node

    def _series(self, name: str, node: Node) -> Node:
        """``1 + 2 + ... + 10``."""
        self.at += 1
        operator = self._take()
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
    "num": Parser._number,
    "var": Parser._variable,
    "const": Parser._constant,
    "open": Parser._bracketed,
    "op": Parser._operator,
    "func": Parser._function,
}
_BASES = {"two": 2, "binary": 2, "eight": 8, "octal": 8, "ten": 10}
_NO_UNITS = frozenset(
    ["r", "remainder", "rem", "equals", "is", "with", "so", "then", "by", "divided", "multiplied", "x"]
)


def parse_whole(tokens: Sequence[Token], start: int, end: int, style: Style) -> Node | None:
    """The tree of ``tokens[start:end]`` if that is one expression, else None."""
    parser = Parser(tokens, start, end, style)
    try:
        node = parser.expression()
    except Unreadable:
        return None
    return node if parser.at == end else None
