"""The code in a prompt, and which function it asks for. Linear in the prompt's length."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from smc_decode.potentials.code.binding import DEFINITIONS, FUNCTIONS, effects_of
from smc_decode.potentials.code.blocks import blocks_of
from smc_decode.potentials.code.chunks import margins, parts_of
from smc_decode.potentials.code.essentials import is_stub
from smc_decode.potentials.code.syntax import MAX_SOURCE, closed_source, is_code, parse, plain_source

_DEFINES = re.compile(r"^(?:async\s+)?def\s|^class\s", re.MULTILINE)
_DEFINES_FUNCTION = re.compile(r"^(?:@.*\n)*(?:async\s+)?def\s|^class\s+\w+\s*[(:]", re.MULTILINE)
_ASSERTS = re.compile(r"^[ \t]*(?:>>>[ \t]*)?(assert\b[^\n]*)", re.MULTILINE)
_MAX_ASSERTS = 64


def code_of_prompt(prompt: str) -> str:
    """The code in a prompt: all of it, its fenced blocks up to the last with a function, or the part that reads as
    code; or ''."""
    prompt = plain_source(prompt[: MAX_SOURCE + 1])
    if len(prompt) > MAX_SOURCE:
        return ""
    if is_code(prompt):
        return prompt
    fenced = [
        block.code
        for block in blocks_of(prompt)
        if (block.tagged or not block.language) and _DEFINES.search(block.code) and is_code(block.code)
    ]
    if fenced:
        return "\n".join([*(each.rstrip("\n") + "\n" for each in fenced[:-1]), fenced[-1]])
    return _among_prose(prompt)


def _among_prose(prompt: str) -> str:
    """The top-level statements up to the last function, whose body may be missing."""
    pieces = [prompt[start:end] for start, end in pairwise([*margins(prompt), len(prompt)])]
    kept: list[str] = []
    length = 0
    for piece in pieces:
        defines = _DEFINES_FUNCTION.match(piece) is not None
        tree = parse(piece)
        if tree is None and not (defines and is_code(piece)):
            continue
        if tree is not None and all(isinstance(node, (ast.Expr, ast.Assert, ast.AnnAssign)) for node in tree.body):
            continue  # a word, a call, an example
        kept.append(piece)
        length = len(kept) if defines else length
    return "".join(kept[:length])


def infer_entry_point(prompt: str, tests: Sequence[str] = ()) -> str | None:
    """The function under test: what the tests call, else the prompt's last function (the last method of a class
    ``Solution``). None if neither says."""
    tree = parse(closed_source(prompt) or "")
    defined = [] if tree is None else list(_functions(tree))
    names = [name for name in defined if "." not in name]
    called: list[str] = []
    for test in tests:
        parsed = parse(test)
        if parsed is None:
            continue
        if any(isinstance(node, FUNCTIONS) and node.name == "check" for node in parsed.body):
            return defined[-1] if defined else None  # check(candidate) may call the prompt's helpers by name
        called += _called_by(parsed)
    known = [name for name in names if name in called]
    foreign = [name for name in called if not hasattr(builtins, name) and name != "candidate"]
    if known or foreign:
        return known[-1] if known else foreign[0]
    return defined[-1] if defined else None


def asked_functions(code: str) -> list[tuple[str, str]]:
    """The functions that a prompt's code leaves to be written, each with its own part of the code: signature and
    docstring."""
    found: dict[str, str] = {}
    for part in parts_of(code):
        if isinstance(part.node, FUNCTIONS) and is_stub(part.node):
            found[part.node.name] = part.source
    return list(found.items())


def asserts_in(prompt: str) -> list[str]:
    """The assert statements that stand in a prompt, one a line, as in MBPP's."""
    found = (match[1].strip() for match in _ASSERTS.finditer(prompt))
    return [line for line, _ in zip(found, range(_MAX_ASSERTS), strict=False)]


def _functions(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, FUNCTIONS):
            yield node.name
        elif isinstance(node, ast.ClassDef) and node.name == "Solution":
            yield from (f"Solution.{each.name}" for each in node.body if isinstance(each, FUNCTIONS))


def _called_by(tree: ast.Module) -> list[str]:
    """The functions that a test calls by name: in its assertions, or anywhere if it has none."""
    own = {name for node in tree.body for name in effects_of(node).binds if isinstance(node, _BINDERS)}
    places: list[ast.AST] = [node.test for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    return [
        call.func.id
        for place in (places or [tree])
        for call in ast.walk(place)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id not in own
    ]


_BINDERS = (*DEFINITIONS, ast.Import, ast.ImportFrom)
