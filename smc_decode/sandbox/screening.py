"""Says of tests, before anything runs, that they would accept every program. Nothing of them is executed."""

from __future__ import annotations

import _ast
import contextlib
from collections.abc import Sequence

from smc_decode.sandbox.inbox import syntax
from smc_decode.sandbox.inbox.imports import parse_test
from smc_decode.sandbox.inbox.prompt import Helpers
from smc_decode.sandbox.inbox.reach import FAULTS, modules_of, screen

MAX_NAME = 80


def refuse_tests(tests: str | Sequence[str], entry_point: str, prompt: str = "") -> tuple[int, str] | None:
    """The index of the first test that cannot be used, and why; None if all can.

    A test is refused if it is no Python, if nothing in it would call the candidate, if its assertions are in code that
    nothing runs (functions that nobody calls, a coroutine or generator in place of `check`, a main guard), or if the
    program would say itself whether its answer is right. `prompt`: where tests find helpers.
    """
    sources = [tests] if isinstance(tests, str) else list(tests)
    found = screen(sources, entry_point, Helpers(prompt) if prompt.strip() else None)
    for index, one in enumerate(found):
        if isinstance(one, str):
            return index, one
    if all(not isinstance(one, str) and one.is_setup for one in found):
        return 0, "none of the tests calls the candidate"
    return None


def names_under_test(tests: Sequence[str], prompt: str) -> tuple[list[str], bool]:
    """What tests use that neither they nor the prompt define, in the order of the tests, and whether one of them
    defines `check(candidate)`. Nothing of what is no Python."""
    trees = []
    for test in tests:
        with contextlib.suppress(*FAULTS):
            trees.append(parse_test(test, "<test>", ""))
    given = {name for tree in trees for name in syntax.defined(tree)}
    found: dict[str, None] = {}
    for tree in trees:
        free = syntax.free_names(tree) - given - modules_of(tree) - {"candidate"}
        found |= dict.fromkeys(name for name in syntax.names(tree) if name in free)
    known = Helpers(prompt).bound if found and prompt.strip() else set()
    return [name for name in found if name not in known], any(
        isinstance(node, syntax.FUNCTIONS) and node.name == "check" for tree in trees for node in tree.body
    )


def named_tests(tests: Sequence[str]) -> list[list[tuple[int, int, str]]]:
    """For each source the first line, the last line and the name of its tests: functions, methods of test classes, and
    what else stands at its top by its own text."""
    return [_named(source) for source in tests]


def _named(source: str) -> list[tuple[int, int, str]]:
    try:
        tree = syntax.parse(source, "<test>")
    except FAULTS:
        return []
    lines = source.splitlines()
    found = []
    for node in tree.body:
        if isinstance(node, _ast.ClassDef):
            methods = [each for each in node.body if isinstance(each, syntax.FUNCTIONS)]
            found += [(each.lineno, each.end_lineno or each.lineno, f"{node.name}.{each.name}") for each in methods]
        else:
            name = node.name if isinstance(node, syntax.FUNCTIONS) else lines[node.lineno - 1].strip()[:MAX_NAME]
            found.append((node.lineno, node.end_lineno or node.lineno, name))
    return found
