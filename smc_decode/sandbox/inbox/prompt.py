"""What a prompt defines: code that is trusted, so that a program cannot put its own in the place of a helper.

A prompt may be code that ends anywhere (in an open block, bracket or docstring, or after a decorator), or prose with
code in it, fenced or not. Statements are executed one by one, so that one that fails here takes only its own names.
"""

import _ast
import re
import sys

from . import syntax

MAX_PROMPT = 1 << 20
MAX_CUTS = 200  # places at which an unfinished piece is tried to be cut
MAX_PARSED = 400_000  # characters that are parsed in these attempts
FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([^\n`]*)$", re.MULTILINE)
CODE_LINE = re.compile(
    r"(?:from\s+[\w.]+\s+import\b|import\s+\w|(?:async\s+)?def\s+\w+\s*\(|class\s+\w+|@\w|\w+\s*(?::[^=\n]+)?=[^=])"
)
MODULE = "__prompt__"


class Helpers:
    """The finished statements of a prompt, the names that they bind (`bound`), and those of its `classes`."""

    def __init__(self, prompt: str) -> None:
        self._pieces = [piece for text in _code(prompt[:MAX_PROMPT]) if (piece := _finished(text)) is not None]
        self.bound: set[str] = set()
        for piece in self._pieces:
            for statement in piece.body:
                self.bound |= _bound(statement)
        statements = [statement for piece in self._pieces for statement in piece.body]
        self.classes = {statement.name for statement in statements if isinstance(statement, _ast.ClassDef)}
        self.broken: dict[str, str] = {}

    def leading_to(self, entry: str) -> set[str]:
        """Names of helpers that use the entry point, themselves or by way of others."""
        bound_by: dict[str, list[set[str]]] = {}
        for piece in self._pieces:
            for statement in piece.body:
                for name in syntax.loaded(statement):
                    bound_by.setdefault(name, []).append(_bound(statement))
        return syntax.reached_from({entry}, bound_by) - {entry}

    def make(self) -> dict[str, object]:
        """Execute them, and give the names. `broken` says which could not be made, and why."""
        module = type(sys)(MODULE)
        sys.modules[MODULE] = module
        names = module.__dict__
        for piece in self._pieces:
            flags = _future(piece)
            for statement in piece.body:
                try:
                    alone = _ast.Module([statement], [])
                    exec(compile(alone, "<prompt>", "exec", flags, dont_inherit=True), names)
                except (Exception, SystemExit) as error:
                    for name in _bound(statement):
                        self.broken[name] = f"{type(error).__name__}: {error}"
                else:
                    for name in _bound(statement):
                        self.broken.pop(name, None)
        return names


def _code(prompt: str) -> list[str]:
    """The pieces of a prompt that may be code."""
    if "\0" in prompt:
        return []
    fences = list(FENCE.finditer(prompt))
    if not fences or _begins_as_python(prompt):
        return _from_code(prompt)
    pieces, opener = [], None
    for fence in fences:
        if opener is None:
            opener = fence
        elif fence[1][0] == opener[1][0] and len(fence[1]) >= len(opener[1]) and not fence[2].strip():
            pieces.append(_dedented(prompt[opener.end() + 1 : fence.start()]))
            opener = None
    if opener is not None:
        pieces.append(_dedented(prompt[opener.end() + 1 :]))
    return [part for piece in pieces for part in _from_code(piece)]


def _from_code(text: str) -> list[str]:
    """The text, if it begins as Python, or what follows its prose."""
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if CODE_LINE.match(line)), None)
    return [text] if first is None or _begins_as_python(text) else ["\n".join(lines[first:])]


def _dedented(text: str) -> str:
    lines = text.split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines)


def _begins_as_python(text: str) -> bool:
    """Whether statements can be read from its first line on that are more than a word."""
    found = _finished(text)
    return found is not None and not all(isinstance(statement, _ast.Expr) for statement in found.body)


def _parsed(text: str) -> "_ast.Module | None":
    try:
        return syntax.parse(text, "<prompt>")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _finished(text: str) -> "_ast.Module | None":
    """The statements of a piece without the one that is still open; None where there are none."""
    whole = _parsed(text)
    if whole is not None:
        return whole
    lines = text.split("\n")
    margins = [number for number, line in enumerate(lines) if line[:1].strip() and line[0] not in "#)]}"]
    budget = MAX_PARSED
    for number in margins[: -MAX_CUTS - 1 : -1]:
        head = "\n".join(lines[:number])
        budget -= len(head)
        if budget < 0:
            return None
        part = _parsed(head)
        if part is not None:
            return part if part.body else None
    return None


def _future(piece: _ast.Module) -> int:
    """Compiler flags of the piece's `from __future__ import ...`."""
    flags = 0
    for statement in piece.body:
        if isinstance(statement, _ast.ImportFrom) and statement.module == "__future__":
            import __future__

            for alias in statement.names:
                feature = getattr(__future__, alias.name, None)
                flags |= getattr(feature, "compiler_flag", 0)
    return flags


def _bound(statement: _ast.stmt) -> set[str]:
    """Names that a top-level statement binds; a function without a body is only announced."""
    if isinstance(statement, syntax.FUNCTIONS):
        return set() if all(map(_says_nothing, statement.body)) else {statement.name}
    if isinstance(statement, _ast.ClassDef):
        return {statement.name}
    if isinstance(statement, (_ast.If, _ast.Try, _ast.TryStar, _ast.With)):
        return {
            name for inner in syntax.children(statement) if isinstance(inner, _ast.stmt) for name in _bound(inner)
        } | {name for handler in getattr(statement, "handlers", ()) for inner in handler.body for name in _bound(inner)}
    return syntax.defined(statement)


def _says_nothing(statement: _ast.stmt) -> bool:
    if isinstance(statement, _ast.Raise):
        raised = statement.exc.func if isinstance(statement.exc, _ast.Call) else statement.exc
        return isinstance(raised, _ast.Name) and raised.id == "NotImplementedError"
    constant = isinstance(statement, _ast.Expr) and isinstance(statement.value, _ast.Constant)
    return constant or isinstance(statement, _ast.Pass)
