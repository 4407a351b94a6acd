"""What an answer says, without how it says it: keys that are equal where two answers agree (votes, self-consistency).

``text``: the text, spaces and case of no account. ``boxed``: the value in the last ``\\boxed{}`` (or after a last
``####`` or "the answer is"), so that 1/2, 0.5 and \\frac12 agree; plain numbers are read here, other LaTeX by
math-verify in a worker process under a time limit, and what that cannot read is compared as text. ``code``: the
syntax tree of the code, layout, comments and docstrings aside. None: the text has no such answer. Packages add theirs
with an entry point in the group ``smc_decode.extractors``.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Callable, Hashable
from fractions import Fraction
from functools import lru_cache

from smc_decode.registry import Registry, UnknownName

Extractor = Callable[[str], Hashable | None]
EXTRACTORS: Registry[Extractor] = Registry("extractor", group="smc_decode.extractors")
WITHOUT_TEXT = ("tokens", "behaviour")
"""Further names that a configuration takes: what they compare is not in the text (``answers/selection.py``)."""

LATEX_SECONDS = 2.0
MAX_BOXED = 2_000

_ANSWER_IS = re.compile(r"(?:final\s+)?answer\s*(?:is|:)\s*\**:?\s*\$?([^\n]*)", re.IGNORECASE)
_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|-?\.\d+")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{?(-?\d+)\}?\{?(\d+)\}?|(-?\d+)/(\d+)")
_WRAPPED = re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox|boxed|fbox)\s*\{([^{}]*)\}")


@EXTRACTORS.register("text")
def extract_text(text: str) -> Hashable | None:
    """The text in one normal form of Unicode, without case and runs of spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()) or None


@EXTRACTORS.register("boxed")
def extract_boxed(text: str) -> Hashable | None:
    """The mathematical value of the final answer, as a canonical text."""
    found = boxed(text)
    return None if found is None else canonical_value(found)


@EXTRACTORS.register("code")
def extract_code(text: str) -> Hashable | None:
    """The syntax tree of the code (of the fenced block if there is one), without docstrings and comments."""
    from smc_decode.potentials.code.program import fenced_code, parse

    code = fenced_code(text)
    tree = parse(text if code is None else code)
    if tree is None and code is None:
        tree = parse("def body():\n" + text)  # the body of a function
    if tree is None:
        return None
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:] or [ast.Pass()]
    try:
        return ast.dump(tree)
    except RecursionError:
        return extract_text(text)


def check_extractor(name: str) -> str:
    """``name``, if a configuration may have it. Raises RegistryError."""
    if name in WITHOUT_TEXT:
        return name
    try:
        return EXTRACTORS.check(name)
    except UnknownName:
        allowed = ", ".join(sorted([*EXTRACTORS, *WITHOUT_TEXT]))
        raise UnknownName(f"unknown extractor {name!r}; allowed: {allowed}") from None


def boxed(text: str) -> str | None:
    """The content of the last complete ``\\boxed{...}``, else what follows a last ``####`` or "the answer is"."""
    for match in reversed(list(re.finditer(r"\\f?boxed\s*\{", text))):
        depth = 1
        for position in range(match.end(), min(len(text), match.end() + MAX_BOXED)):
            depth += {"{": 1, "}": -1}.get(text[position], 0)
            if depth == 0:
                return text[match.end() : position].strip() or None
    marked = text.rpartition("####")
    if marked[1]:
        return marked[2].strip().split("\n")[0][:MAX_BOXED].strip() or None
    said = list(_ANSWER_IS.finditer(text))
    if said:
        answer = said[-1][1].strip("*$ \t").rstrip(".*$ ")
        return answer[:MAX_BOXED] or None
    return None


@lru_cache(maxsize=10_000)
def canonical_value(latex: str) -> str:
    """One text for all ways to write a value. What cannot be read as mathematics is compared as it is written."""
    plain = _tidy(latex)
    number = _plain_number(plain)
    if number is not None:
        return str(number)
    if re.fullmatch(r"[A-Za-z][A-Za-z .'-]*", plain):  # a word or a choice
        return plain.casefold()
    from smc_decode.workers.pool import TaskDied, TaskError, default_workers

    try:
        value = default_workers().call("canonical", LATEX_SECONDS, latex=latex[:MAX_BOXED])
    except (TaskDied, TaskError):
        value = None
    return re.sub(r"\s+", "", plain).casefold() if value is None else str(value)


def _tidy(latex: str) -> str:
    text = latex.strip().strip("$").strip().rstrip(".")
    text = _WRAPPED.sub(r"\1", text)
    for old, new in (("\\left", ""), ("\\right", ""), ("\\!", ""), ("\\,", ""), ("\\ ", " "), ("\\$", ""), ("−", "-")):
        text = text.replace(old, new)
    text = re.sub(r"^\(([A-Za-z])\)$", r"\1", text.strip())
    return text.replace("{,}", ",").strip()


def _plain_number(text: str) -> Fraction | None:
    text = text.replace(" ", "").removeprefix("+").removeprefix("$")
    percent = text.endswith("%")
    text = text.removesuffix("%").removesuffix("\\")
    if len(text) > 200:
        return None
    if _NUMBER.fullmatch(text):
        value = Fraction(text.replace(",", ""))
    elif match := _FRACTION.fullmatch(text):
        top, bottom = int(match[2] or match[4]), int(match[3] or match[5])
        if bottom == 0:
            return None
        value = Fraction(-top if match[1] else top, bottom)
    else:
        return None
    return value / 100 if percent else value
