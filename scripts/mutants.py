"""Mutation testing: every small fault in a module, one at a time, must fail the tests that are named for it.

    python scripts/mutants.py [--list] [MODULE ...]

The faults are cosmic-ray's; the modules and their tests are in pyproject.toml, ``[tool.mutants.tests]``. cosmic-ray's
own runner rewrites the working tree and starts Python anew for each fault; here a fork, in which NumPy and pytest are
loaded already, imports the faulty source in place of the file. Survivors are printed, and are too many at 5 %.
docs/testing.md says which are left and why.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib.util
import os
import resource
import sys
import tomllib
from collections.abc import Iterator
from importlib.abc import InspectLoader, MetaPathFinder
from pathlib import Path
from typing import NamedTuple

import hypothesis
import numpy
import pydantic
import pytest
import scipy.special
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

LOADED = (numpy, pydantic, scipy.special)
"""Imported for the forks."""
MOST_SURVIVORS = 0.05
CPU_SECONDS = 60
ARITHMETIC = ("Add", "Sub", "Mul", "Div")
SKIPPED = ("RemoveDecorator", "VariableReplacer", "VariableInserter", "ExceptionReplacer", "NoOp")


class Mutant(NamedTuple):
    """A module's source with one fault, and the lines that it changed."""

    source: str
    change: str


def operators() -> list[str]:
    """The names of the faults that are worth a try: arithmetic for arithmetic, anything for a comparison."""
    kept = []
    for name in operator_names():
        parts = name.split("/")[1].split("_")
        binary = parts[0] == "ReplaceBinaryOperator"
        if parts[0] in SKIPPED or (binary and not all(part in ARITHMETIC for part in parts[1:])):
            continue
        kept.append(name)
    return kept


def annotations(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where annotations are: nothing reads them."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for name in ("annotation", "returns"):
            part = getattr(node, name, None)
            if part is not None:
                found.append(((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)))
    return found


def tree_of(source: str) -> str | None:
    """The syntax tree; None for what is no Python, as cosmic-ray's ``a == not b``."""
    try:
        return ast.dump(ast.parse(source))
    except SyntaxError:
        return None


def mutants(source: str) -> Iterator[Mutant]:
    """Every fault of a module that changes its syntax tree."""
    skipped, honest = annotations(source), tree_of(source)
    for name in operators():
        operator = get_operator(name)()
        places = (place for node in ast_nodes(get_ast(source)) for place in operator.mutation_positions(node))
        for occurrence, (start, end) in enumerate(places):
            if any(low <= start and end <= high for low, high in skipped):
                continue
            mutated = mutate_code(source, operator, occurrence)
            if mutated is None or tree_of(mutated) in (None, honest):
                continue
            lines = difflib.unified_diff(source.splitlines(), mutated.splitlines(), lineterm="", n=0)
            change = " | ".join(line for line in lines if not line.startswith(("---", "+++", "@@")))
            yield Mutant(mutated, f"{start[0]}: {change}")


class Faulty(MetaPathFinder, InspectLoader):
    """Imports one module from the source that it was given."""

    def __init__(self, path: str, source: str) -> None:
        self.name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.path, self.source = path, source

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> object:
        if fullname != self.name:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=self.path)

    def is_package(self, fullname: str) -> bool:
        return self.path.endswith("__init__.py")

    def get_source(self, fullname: str) -> str:
        return self.source


def survives(path: str, source: str, tests: list[str]) -> bool:
    """Whether the tests pass with this source. A fault that does not end within its CPU time is noticed."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        sys.meta_path.insert(0, Faulty(path, source))
        hypothesis.settings.register_profile("mutants", deadline=None, derandomize=True, database=None)
        hypothesis.settings.load_profile("mutants")
        os._exit(int(pytest.main(["-x", "-q", "--noconftest", "-p", "no:cacheprovider", *tests])))
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def main() -> int:
    """The table of modules, after each module's survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="default: all that have tests named for them")
    parser.add_argument("--list", action="store_true", help="only count")
    arguments = parser.parse_args()
    sys.path.insert(0, os.getcwd())
    tested: dict[str, list[str]] = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutants"]["tests"]
    rows = []
    for path in arguments.modules or tested:
        source = Path(path).read_text()
        faults = list(mutants(source))
        alive = []
        if not arguments.list:
            if not survives(path, source, tested[path]):
                sys.exit(f"{path}: its tests fail without a fault: {' '.join(tested[path])}")
            alive = [fault for fault in faults if survives(path, fault.source, tested[path])]
        print(*[f"{path}:{fault.change}" for fault in alive], sep="\n", flush=True)
        rows.append((path, len(faults), len(alive)))
    print("\n| module | mutants | survivors |\n|---|---|---|")
    print(*[f"| `{path}` | {count} | {left} |" for path, count, left in rows], sep="\n")
    return int(any(left > MOST_SURVIVORS * count for _, count, left in rows))


if __name__ == "__main__":
    sys.exit(main())
