"""Finds the examples that a prompt gives of its function and turns them into assertions.

Forms: doctests (``>>> f(1)`` and the value below it), calls with a value (``f(1) == 2``, ``f(1) => 2``, ``f(1) ➞ 2``,
``f(1) -> 2``, ``f(1) returns 2``, ``f(1) should return 2``, ``f(1) # returns 2``), sentences (``For x = 1, y = 2 the
output should be 3``) and labelled lines (``Input: x = 1, y = 2`` / ``Output: 3``). Only literals, calls of the
function and of a few harmless built-ins are read, so that an example can never be more than a call and a value.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from smc_decode.potentials.code.program import infer_entry_point, parse

MAX_EXAMPLES = 64
MAX_CALLS = 500
MAX_PROMPT = 50_000
MAX_PARSED = 200_000
"""Characters given to the parser in all, so that a hostile prompt costs a bounded time."""

_BUILTINS = frozenset(
    ["abs", "all", "any", "bool", "dict", "float", "frozenset", "int", "len", "list", "max", "min", "repr", "round"]
) | {"set", "sorted", "str", "sum", "tuple"}
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod)
_WORDS = {"true": True, "false": False, "none": None, "null": None}
_SEPARATOR = re.compile(
    r"[ \t]*(?:#[ \t]*)?(?:={1,3}>?|[-=]{1,2}>|➞|→|⇒|➔|↦|:"
    r"|(?:should\s+|must\s+|will\s+|would\s+)?(?:returns?|gives?|outputs?|evaluates?\s+to|be|is|equals?|yields?)\b)"
    r"[ \t]*(?:#?[ \t]*(?:=>|->))?[ \t]*(?:returns?\b)?[ \t]*",
    re.IGNORECASE,
)
_RESULT = re.compile(
    r"(?:the\s+)?(?:output|result|answer|function)\s+(?:should|must|will|would)\s+(?:be|return)\s*:?\s*",
    re.IGNORECASE,
)
_INPUT = re.compile(r"^\s*(?:\*\s*)?(?:sample\s+)?inputs?\s*\d*\s*:\s*", re.IGNORECASE)
_OUTPUT = re.compile(r"^\s*(?:\*\s*)?(?:sample\s+)?(?:expected\s+)?outputs?\s*\d*\s*:\s*", re.IGNORECASE)
_FOR = re.compile(r"\b(?:for|if|when|given)\s+(?=[A-Za-z_]\w*\s*=[^=])", re.IGNORECASE)
_AFTER_VALUE = re.compile(
    r"[ \t]*(?:\Z|[.;,#)\n]|\(\D|(?:since|because|as|where|if|for|and|but|so|which)\b|=\s*[-\d.]+\s*(?:\Z|\n))"
)


@dataclass(frozen=True, slots=True)
class Example:
    """One example: its call and its expected value as source, and the assertion (with the set-up it needs) to run."""

    call: str
    expected: str
    assertion: str


def find_examples(prompt: str, entry_point: str | None = None) -> list[Example]:
    """The examples of ``prompt`` for its function (default: the last one that it defines), without repetitions."""
    prompt = prompt[:MAX_PROMPT]
    entry_point = entry_point or infer_entry_point(prompt)
    if not entry_point or "." in entry_point:
        return []
    finder = _Finder(prompt, entry_point)
    found = [*finder.doctests(), *finder.calls(entry_point)]
    if not found:
        found = [*finder.sentences(), *finder.labelled()]
    if not found:  # the prompt may call its function by another name
        found = list(finder.calls(None))
    return _consistent(found)[:MAX_EXAMPLES]


@dataclass(frozen=True, slots=True)
class _Found:
    call: ast.expr
    expected: ast.expr | None
    """None: the call is a comparison by itself."""
    setup: tuple[str, ...] = ()


class _Finder:
    def __init__(self, prompt: str, entry_point: str) -> None:
        self.entry_point = entry_point
        self._budget = MAX_PARSED
        self.signature = _signature(prompt, entry_point)
        self.parameters = [argument.arg for argument in self.signature.args] if self.signature else []
        self.defined = set(re.findall(r"^(?:async\s+)?def\s+(\w+)", prompt, re.MULTILINE)) | {entry_point}
        self.lines = [
            line for line in prompt.split("\n") if not re.match(r"\s*(?:async\s+)?(?:def|class|import|from)\s", line)
        ]

    # -- doctests ---------------------------------------------------------------------------------------------------

    def doctests(self) -> Iterator[_Found]:
        setup: list[str] = []
        index = 0
        while index < len(self.lines):
            line = self.lines[index].strip()
            index += 1
            if not line.startswith(">>>"):
                continue
            source = line[3:].strip()
            while index < len(self.lines) and re.match(r"\s*\.\.\.(\s|$)", self.lines[index]):
                source += "\n" + self.lines[index].strip()[3:]
                index += 1
            wanted: list[str] = []
            while index < len(self.lines) and _continues_value(self.lines[index], wanted):
                wanted.append(self.lines[index])
                index += 1
            yield from self._doctest(source, wanted, setup)

    def _doctest(self, source: str, wanted: list[str], setup: list[str]) -> Iterator[_Found]:
        self._budget -= len(source)
        tree = parse(source) if self._budget > 0 else None
        if tree is None or len(tree.body) != 1:
            yield from self._calls_in(source, 0, self.entry_point, bare=True)
            return
        statement = tree.body[0]
        if isinstance(statement, ast.Assign) and self._plain(statement.value, setup):
            setup.append(ast.unparse(statement))
        if not isinstance(statement, ast.Expr) or not self._calls_entry(statement.value):
            return
        call = statement.value
        if isinstance(call, ast.Compare) and self._plain(call, setup):
            yield _Found(call, None, tuple(setup))
            return
        for length in range(len(wanted), 0, -1):
            expected = self._value("\n".join(wanted[:length]).strip())
            if expected is not None and self._plain(call, setup):
                yield _Found(call, expected, tuple(setup))
                return
        yield from self._calls_in(source, 0, self.entry_point, bare=True)

    # -- calls in running text --------------------------------------------------------------------------------------

    def calls(self, name: str | None) -> Iterator[_Found]:
        """``name(...) = value``; without a name, of whatever unknown function is called so."""
        text = "\n".join("" if line.strip().startswith(">>>") else line for line in self.lines)
        position = 0
        pattern = re.compile(rf"(?<![\w.]){re.escape(name)}\s*\(" if name else r"(?<![\w.])[A-Za-z_]\w*\(")
        for _ in range(MAX_CALLS):
            match = pattern.search(text, position)
            if match is None:
                return
            position = match.end()
            word = match[0].rstrip("( \t")
            if name is None and (word in _BUILTINS or word in self.defined):
                continue
            yield from self._calls_in(text, match.start(), word)

    def _calls_in(self, text: str, start: int, name: str, bare: bool = False) -> Iterator[_Found]:
        """The example that begins at ``start``, if it is one. ``bare``: no sign need stand between call and value."""
        for end in _closers(text, start):
            call = self._expression(text[start:end])
            if call is None:
                continue
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
                return
            call = self._quoted(call, name)
            separator = _SEPARATOR.match(text, end)
            if call is None or (separator is None and not bare):
                return
            after = separator.end() if separator is not None else end
            expected = self._value_at(text, after)
            if expected is not None:
                yield _Found(call, expected)
            return

    def _quoted(self, call: ast.Call, name: str) -> ast.Call | None:
        """The call with the entry point's name; arguments that are bare words become strings, as they are meant."""
        arguments: list[ast.expr] = []
        for argument in call.args:
            if isinstance(argument, ast.Name) and argument.id.lower() in _WORDS:
                argument = ast.Constant(_WORDS[argument.id.lower()])
            elif isinstance(argument, ast.Name):
                if argument.id in self.parameters or len(call.args) != len(self.parameters):
                    return None  # a formula, not an example
                argument = ast.Constant(argument.id)
            arguments.append(argument)
        renamed = ast.Call(ast.Name(self.entry_point, ast.Load()), arguments, call.keywords)
        return renamed if self._plain(renamed, []) and self._fits(len(arguments) + len(call.keywords)) else None

    def _fits(self, count: int) -> bool:
        if self.signature is None or self.signature.vararg or self.signature.kwarg:
            return True
        required = len(self.signature.args) - len(self.signature.defaults)
        return required <= count <= len(self.signature.args) + len(self.signature.kwonlyargs)

    # -- sentences and labelled lines -------------------------------------------------------------------------------

    def sentences(self) -> Iterator[_Found]:
        """``For x = 1, y = 2 the output should be 3.``"""
        for line in self.lines:
            start, result = _FOR.search(line), _RESULT.search(line)
            if start is None or result is None or result.start() < start.end():
                continue
            call = self._assignments(line[start.end() : result.start()])
            expected = self._value_at(line, result.end())
            if call is not None and expected is not None:
                yield _Found(call, expected)

    def labelled(self) -> Iterator[_Found]:
        """``Input: x = 1, y = 2`` (or one a line) and then ``Output: 3``."""
        given: str | None = None
        for line in self.lines:
            label, output = _INPUT.match(line), _OUTPUT.match(line)
            if label:
                given = line[label.end() :]
            elif output and given is not None:
                call = self._assignments(given) or self._single(given)
                expected = self._value_at(line, output.end())
                if call is not None and expected is not None:
                    yield _Found(call, expected)
                given = None
            elif given is not None:
                given += "\n" + line

    def _assignments(self, text: str) -> ast.Call | None:
        """``x = 1, y = 2`` (or ``x : 1``) as a call, where the names are the function's first parameters."""
        known = {name.lower(): name for name in self.parameters}
        marks = list(re.finditer(r"(?<![\w.])([A-Za-z_]\w*)\s*[=:](?!=)\s*", text))
        arguments: dict[str, ast.expr] = {}
        words: list[ast.expr] = []
        for mark, following in zip(marks, [*marks[1:], None], strict=False):
            piece = text[mark.end() : following.start() if following else len(text)]
            value = self._value(piece.strip().rstrip(",;.").rstrip()) or self._value_at(piece, 0, strict=False)
            if value is None:
                return None
            arguments[known.get(mark[1].lower(), mark[1])] = value
            words.append(value)
        if not words or len(words) != len(self.parameters):
            return None
        if set(arguments) == set(self.parameters):
            words = [arguments[name] for name in self.parameters]
        return ast.Call(ast.Name(self.entry_point, ast.Load()), words, [])

    def _single(self, text: str) -> ast.Call | None:
        value = self._value(text.strip().rstrip(",;.")) if len(self.parameters) == 1 else None
        return None if value is None else ast.Call(ast.Name(self.entry_point, ast.Load()), [value], [])

    # -- values -----------------------------------------------------------------------------------------------------

    def _value_at(self, text: str, start: int, strict: bool = True) -> ast.expr | None:
        """The longest value that begins at ``start``; it may run over lines only inside brackets."""
        line_end = text.find("\n", start)
        line_end = len(text) if line_end < 0 else line_end
        ends = list(range(min(line_end, start + 500), start, -1))
        if re.match(r"\s*[\[({]", text[start : start + 20]):
            ends += [end for end in _closers(text, start) if end > line_end]
        for end in ends:
            piece = text[start:end]
            if piece[-1] in " \t\n,." or (
                end < len(text) and re.match(r"\w", text[end]) and re.match(r"\w", piece[-1])
            ):
                continue
            value = self._value(piece.strip())
            if value is not None and (not strict or _AFTER_VALUE.match(text, end)):
                return value
        return None

    def _value(self, source: str) -> ast.expr | None:
        if not source or len(source) > 5000:
            return None
        word = source.rstrip(".").lower()
        if word in _WORDS:
            return ast.Constant(_WORDS[word])
        value = self._expression(source)
        if value is None or isinstance(value, ast.Compare) or not self._plain(value, [], calls=False):
            return None
        return value

    def _plain(self, node: ast.expr, setup: Sequence[str], calls: bool = True) -> bool:
        """Whether an expression has literals, calls of known functions and simple arithmetic only."""
        names = {line.partition(" =")[0] for line in setup}
        for inner in ast.walk(node):
            match inner:
                case ast.Call(func=ast.Name(id=name)) if calls and (name in _BUILTINS or name in self.defined):
                    pass
                case ast.Name(id=name) if name in names or (calls and (name in _BUILTINS or name in self.defined)):
                    pass
                case ast.Constant(value=value) if value is not Ellipsis and not isinstance(value, (bytes, complex)):
                    pass
                case ast.BinOp(op=operator) if isinstance(operator, _OPERATORS):
                    pass
                case ast.List() | ast.Tuple() | ast.Dict() | ast.Set() | ast.UnaryOp() | ast.Compare() | ast.keyword():
                    pass
                case ast.operator() | ast.unaryop() | ast.cmpop() | ast.expr_context():
                    pass
                case _:
                    return False
        return True

    def _expression(self, source: str) -> ast.expr | None:
        self._budget -= len(source) + 20
        return _expression(source) if self._budget > 0 else None

    def _calls_entry(self, node: ast.expr) -> bool:
        return any(
            isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == self.entry_point
            for inner in ast.walk(node)
        )


def _signature(prompt: str, entry_point: str) -> ast.arguments | None:
    match = re.search(rf"^(?:async\s+)?def\s+{re.escape(entry_point)}\s*\(", prompt, re.MULTILINE)
    if match is None:
        return None
    for end in _closers(prompt, match.start()):
        tree = parse(prompt[match.start() : end] + ": pass")
        if tree is not None and isinstance(tree.body[0], (ast.FunctionDef, ast.AsyncFunctionDef)):
            return tree.body[0].args
    return None


def _closers(text: str, start: int) -> Iterator[int]:
    """The positions after each closing bracket, in a window that an example may take."""
    seen = 0
    for position in range(start, min(len(text), start + 3000)):
        if text[position] in ")]}":
            seen += 1
            if seen > 60:
                return
            yield position + 1


def _continues_value(line: str, so_far: Sequence[str]) -> bool:
    stripped = line.strip()
    if not stripped or stripped.startswith((">>>", '"""', "'''")):
        return False
    if not so_far:
        return True
    text = "\n".join(so_far)
    return text.count("[") + text.count("(") + text.count("{") > text.count("]") + text.count(")") + text.count("}")


def _expression(source: str) -> ast.expr | None:
    tree = parse(source)
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return None
    value: ast.expr = tree.body[0].value
    return _with_words(value)


def _with_words(value: ast.expr) -> ast.expr:
    """``true``, ``false`` and ``null``, as other languages write them."""

    class Words(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return ast.Constant(_WORDS[node.id]) if node.id in _WORDS else node

    replaced: ast.expr = Words().visit(value)
    return replaced


def _consistent(found: Sequence[_Found]) -> list[Example]:
    """Without repetitions. Where the last value is a container, single numbers and strings are not examples but a
    formula's parts or slips."""
    by_call = {ast.unparse(item.call): item for item in found}
    last = found[-1].expected if found else None
    container = isinstance(last, (ast.List, ast.Tuple, ast.Dict, ast.Set))
    return [_example(call, item) for call, item in by_call.items() if not (container and _single(item.expected))]


def _single(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Constant):
        return node.value is not None and not isinstance(node.value, bool)
    return isinstance(node, (ast.BinOp, ast.UnaryOp))


def _example(call: str, item: _Found) -> Example:
    if item.expected is None:
        test, expected = call, "True"
    else:
        expected = ast.unparse(item.expected)
        rounded = isinstance(item.expected, ast.Constant) and isinstance(item.expected.value, float)
        # documentation rounds what it prints
        test = f"abs({call} - {expected}) <= 1e-06" if rounded else f"{call} == {_grouped(item.expected, expected)}"
    return Example(call, expected, "\n".join([*item.setup, f"assert {test}"]))


def _grouped(node: ast.expr, source: str) -> str:
    return source if isinstance(node, (ast.Constant, ast.List, ast.Dict, ast.Set)) else f"({source})"
