"""What an answer says, without how it says it: keys that are equal where two answers agree (votes, self-consistency).

``text``: the text, spaces and case of no account. ``boxed``: the value in the last ``\\boxed{}`` (or after a last
``####`` or "the answer is"), so that 1/2, 0.5 and \\frac12 agree, read in a worker process under a time limit; what is
no mathematics is compared as words. ``code``: the
syntax tree of the code, layout, comments and docstrings aside. None: the text has no such answer. Packages add theirs
with an entry point in the group ``smc_decode.extractors``.
"""

from __future__ import annotations

import ast
import hashlib
import re
import unicodedata
from collections.abc import Callable, Hashable
from functools import lru_cache

from smc_decode.answers.final import MAX_ANSWER, final_answer
from smc_decode.registry import Registry, UnknownName

Extractor = Callable[[str], Hashable | None]
EXTRACTORS: Registry[Extractor] = Registry("extractor", group="smc_decode.extractors")
WITHOUT_TEXT = ("tokens", "behaviour")
"""Further names that a configuration takes: what they compare is not in the text (``answers/selection.py``)."""

LATEX_SECONDS = 2.0
SHORT_CODE = 2_000
"""Characters of code that are parsed in this process."""
CODE_SECONDS = 10.0


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
    if len(text) <= SHORT_CODE:
        return code_key(text)
    from smc_decode.workers.pool import TaskDied, TaskError, default_workers

    try:
        found: str | None = default_workers().call("code_key", CODE_SECONDS, text=text)
    except (TaskDied, TaskError):
        return None
    return found


def code_key(text: str) -> str | None:
    """:func:`extract_code`, in this process. A digest, where the tree is larger than the text may be."""
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
        dumped = ast.dump(tree)
    except RecursionError:
        dumped = " ".join(text.split())
    return dumped if len(dumped) <= 4 * SHORT_CODE else hashlib.blake2b(dumped.encode("utf-8", "replace")).hexdigest()


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
    """The final answer as it is written: see :func:`smc_decode.answers.final.final_answer`."""
    return final_answer(text)


@lru_cache(maxsize=10_000)
def canonical_value(latex: str) -> str:
    """One text for all ways to write a value. What cannot be read as mathematics is compared as words."""
    from smc_decode.workers.pool import TaskDied, TaskError, default_workers

    try:
        return str(default_workers().call("canonical", LATEX_SECONDS, latex=latex[:MAX_ANSWER]))
    except (TaskDied, TaskError):
        return re.sub(r"\s+", "", latex[:MAX_ANSWER]).casefold()
