"""Finds the examples that a prompt gives of its function and turns them into assertions.

Forms: doctests (``>>> f(1)`` and the value below it, ``>>> print(f(1))``), assert statements, calls with a value
(``f(1) == 2``, ``f(1) => 2``, ``f(1) ➞ 2``, ``f(1) -> 2``, ``f(1) returns 2``, ``f(1) should return 2``, ``f(1) #
returns 2``), sentences (``For x = 1, y = 2 the output should be 3``) and labelled lines (``Input: x = 1, y = 2`` /
``Output: 3``). Only literals, calls of the function and of a few harmless built-ins are read, so that an example can
never be more than a call and a value.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from smc_decode.potentials.code.doctests import Doctests
from smc_decode.potentials.code.example import Example, Found, consistent
from smc_decode.potentials.code.example_text import lines_of
from smc_decode.potentials.code.example_values import BUILTINS, Values, closers, word_value
from smc_decode.potentials.code.prompt_code import asserts_in, infer_entry_point
from smc_decode.potentials.code.syntax import parse

__all__ = ["Example", "find_examples"]

MAX_EXAMPLES = 64
MAX_CALLS = 500
MAX_PROMPT = 50_000
MAX_ASSERT_LINES = 20
MAX_INPUT_LINES = 40

_SEPARATOR = re.compile(
    r"[ \t]*(?:\n[ \t]*(?=#[ \t]*(?:[-=]{1,2}>|➞|→)))?(?:#[ \t]*)?(?:={1,3}>?|[-=]{1,2}>|[➞→⇒➔↦⟶⟹⇨≡]|:"
    r"|(?:should\s+|must\s+|will\s+|would\s+)?(?:returns?|gives?|outputs?|evaluates?\s+to|be|is|equals?|yields?)\b)"
    r"[ \t]*(?:#?[ \t]*(?:=>|->))?[ \t]*(?:returns?\b)?[ \t]*",
    re.IGNORECASE,
)
_RESULT = re.compile(
    r"(?:the\s+)?(?:output|result|answer|function)\s+(?:should|must|will|would)\s+(?:be|return)\s*:?\s*",
    re.IGNORECASE,
)
_LABEL = r"^[\s*•#>-]*(?:(?:example|sample|test)\s*\d*\s*[:.]?\s*)?"
_INPUT = re.compile(rf"{_LABEL}inputs?\s*\d*\s*:[ \t]*", re.IGNORECASE)
_OUTPUT = re.compile(rf"{_LABEL}(?:expected\s+)?(?:outputs?|results?)\s*\d*\s*:[ \t]*", re.IGNORECASE)
_OUTPUT_BEHIND = re.compile(r"[\s,;.|]*(?:->|→|=>|\b(?:expected\s+)?(?:output|result)s?\s*:)[ \t]*", re.IGNORECASE)
_FOR = re.compile(r"\b(?:for|if|when|given)\s+(?=[A-Za-z_]\w*\s*=[^=])", re.IGNORECASE)
_NAMED = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s*[=:](?!=)\s*")
_ASSERTS = re.compile(r"\s*assert\b")
_DEFINED = re.compile(r"^(?:async\s+)?def\s+(\w+)", re.MULTILINE)


def find_examples(prompt: str, entry_point: str | None = None) -> list[Example]:
    """The examples of ``prompt`` for its function (default: the one that its assertions call, else the last one that
    it defines), without repetitions."""
    prompt = prompt[:MAX_PROMPT]
    entry_point = entry_point or infer_entry_point(prompt, asserts_in(prompt))
    if not entry_point or "." in entry_point:
        return []
    finder = _Finder(prompt, entry_point)
    found = [*finder.doctests(), *finder.asserts(), *finder.calls(entry_point)]
    if not found:
        found = [*finder.sentences(), *finder.labelled()]
    if not found:  # the prompt may call its function by another name
        found = list(finder.calls(None))
    return consistent(found)[:MAX_EXAMPLES]


class _Finder:
    def __init__(self, prompt: str, entry_point: str) -> None:
        self.entry_point = entry_point
        self.signature = _signature(prompt, entry_point)
        self.parameters = [argument.arg for argument in self.signature.args] if self.signature else []
        self.defined = {*_DEFINED.findall(prompt), entry_point}
        self.values = Values(self.defined)
        self.lines = lines_of(prompt)

    def doctests(self) -> Iterator[Found]:
        return Doctests(self.values, self.entry_point, self._on_one_line).read(self.lines)

    def _on_one_line(self, source: str) -> Iterator[Found]:
        """``f(1) -> 2`` or ``f(1)  2``: not what the interpreter shows, but what people write."""
        return self._calls_in(source, 0, self.entry_point, bare=True)

    # -- assert statements ------------------------------------------------------------------------------------------

    def asserts(self) -> Iterator[Found]:
        """Assert statements, which may run over several lines. They are taken out of the text."""
        reader = Doctests(self.values, self.entry_point, self._on_one_line)
        index = 0
        while index < len(self.lines):
            if _ASSERTS.match(self.lines[index]):
                for length in range(1, MAX_ASSERT_LINES + 1):
                    source = "\n".join(self.lines[index : index + length]).strip()
                    statement = self.values.statement(source)
                    if isinstance(statement, ast.Assert):
                        yield from reader.assertion(statement.test)
                        self.lines[index : index + length] = [""] * length
                        break
                    if sum(map(source.count, "[({")) <= sum(map(source.count, "])}")):
                        break
            index += 1

    # -- calls in running text --------------------------------------------------------------------------------------

    def calls(self, name: str | None) -> Iterator[Found]:
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
            if name is None and (word in BUILTINS or word in self.defined):
                continue
            yield from self._calls_in(text, match.start(), word)

    def _calls_in(self, text: str, start: int, name: str, bare: bool = False) -> Iterator[Found]:
        """The example that begins at ``start``, if it is one. ``bare``: no sign need stand between call and value."""
        for end in closers(text, start):
            call = self.values.expression(text[start:end])
            if call is None:
                continue
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
                return
            call = self._quoted(call)
            separator = _SEPARATOR.match(text, end)
            if call is None or (separator is None and not bare):
                return
            after = separator.end() if separator is not None else end
            expected = self.values.value_at(text, after)
            if expected is not None:
                yield Found(call, expected)
            return

    def _quoted(self, call: ast.Call) -> ast.Call | None:
        """The call with the entry point's name; arguments that are bare words become strings, as they are meant."""
        arguments: list[ast.expr] = []
        for argument in call.args:
            if isinstance(argument, ast.Name):
                word = word_value(argument.id)
                if word is None and (argument.id in self.parameters or len(call.args) != len(self.parameters)):
                    return None  # a formula, not an example
                argument = word or ast.Constant(argument.id)
            arguments.append(argument)
        renamed = ast.Call(ast.Name(self.entry_point, ast.Load()), arguments, call.keywords)
        fits = self._fits(len(arguments) + len(call.keywords))
        return renamed if fits and self.values.is_plain(renamed) else None

    def _fits(self, count: int) -> bool:
        if self.signature is None or self.signature.vararg or self.signature.kwarg:
            return True
        required = len(self.signature.args) - len(self.signature.defaults)
        return required <= count <= len(self.signature.args) + len(self.signature.kwonlyargs)

    # -- sentences and labelled lines -------------------------------------------------------------------------------

    def sentences(self) -> Iterator[Found]:
        """``For x = 1, y = 2 the output should be 3.``"""
        for line in self.lines:
            start, result = _FOR.search(line), _RESULT.search(line)
            if start is None or result is None or result.start() < start.end():
                continue
            call = self._assignments(line[start.end() : result.start()])
            expected = self.values.value_at(line, result.end())
            if call is not None and expected is not None:
                yield Found(call, expected)

    def labelled(self) -> Iterator[Found]:
        """``Input: x = 1, y = 2`` (or one a line, or without names) and then ``Output: 3``."""
        given: list[str] | None = None
        for index, line in enumerate(self.lines):
            label, output = _INPUT.match(line), _OUTPUT.match(line)
            if label:
                given = [line[label.end() :]]
                before = _OUTPUT_BEHIND.search(given[0])
                if before:  # both on one line
                    yield from self._pair([given[0][: before.start()]], given[0], before.end())
                    given = None
            elif output and given is not None:
                below = line[output.end() :].strip() or index + 1 == len(self.lines)
                where, at = (line, output.end()) if below else (self.lines[index + 1], 0)
                yield from self._pair(given, where, at)
                given = None
            elif given is not None and len(given) < MAX_INPUT_LINES:
                given.append(line)

    def _pair(self, given: list[str], line: str, at: int) -> Iterator[Found]:
        call = self._assignments("\n".join(given)) or self._positional(given)
        expected = self.values.value_at(line, at)
        if call is not None and expected is not None:
            yield Found(call, expected)

    def _assignments(self, text: str) -> ast.Call | None:
        """``x = 1, y = 2`` (or ``x : 1``) as a call, where the names are the function's first parameters."""
        known = {name.lower(): name for name in self.parameters}
        marks = list(_NAMED.finditer(text))
        if len(marks) != len(self.parameters):
            return None
        arguments: dict[str, ast.expr] = {}
        words: list[ast.expr] = []
        for mark, following in zip(marks, [*marks[1:], None], strict=False):
            piece = text[mark.end() : following.start() if following else len(text)]
            tidy = re.sub(r"(?:[,;.\s]|\band\b)+\Z", "", piece.strip())
            value = self.values.value(tidy) or self.values.value_at(piece, 0, strict=False)
            if value is None:
                return None
            arguments[known.get(mark[1].lower(), mark[1])] = value
            words.append(value)
        if not words:
            return None
        if set(arguments) == set(self.parameters):
            words = [arguments[name] for name in self.parameters]
        return self._call(words)

    def _positional(self, given: list[str]) -> ast.Call | None:
        """Values without names: ``1, 2``, or one a line."""
        lines = [line.strip().rstrip(",;.") for line in given if line.strip()]
        text = ", ".join(lines)
        if len(self.parameters) == 1:
            value = self.values.value(text)
            return None if value is None else self._call([value])
        value = self.values.value(f"({text},)") if text else None
        if not isinstance(value, ast.Tuple) or len(value.elts) != len(self.parameters):
            return None
        return self._call(value.elts)

    def _call(self, arguments: list[ast.expr]) -> ast.Call:
        return ast.Call(ast.Name(self.entry_point, ast.Load()), arguments, [])


def _signature(prompt: str, entry_point: str) -> ast.arguments | None:
    match = re.search(rf"^(?:async\s+)?def\s+{re.escape(entry_point)}\s*\(", prompt, re.MULTILINE)
    if match is None:
        return None
    for end in closers(prompt, match.start()):
        tree = parse(prompt[match.start() : end] + ": pass")
        if tree is not None and isinstance(tree.body[0], (ast.FunctionDef, ast.AsyncFunctionDef)):
            return tree.body[0].args
    return None
