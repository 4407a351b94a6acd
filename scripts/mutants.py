"""Mutation testing: every small fault in a module, one at a time, must fail the tests that are named for it.

    python scripts/mutants.py [--list] [MODULE ...]

The faults are cosmic-ray's; the modules and their tests are in pyproject.toml, ``[tool.mutants.tests]``. cosmic-ray's
own runner rewrites the working tree and starts Python anew for each fault; here the tests run once, and then in a fork
for each fault, in which the module's functions have the faulty code: a tenth of a second and not two. Survivors are
printed; more than 5 % are too many.
docs/testing.md says which are left and why.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import gc
import inspect
import math
import os
import resource
import sys
import time
import tomllib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

import hypothesis
import pytest
from _pytest.main import pytest_runtestloop as run_all
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from hypothesis import Phase

MOST_SURVIVORS = 0.05
SECONDS = 60
"""Of a test, for one that waits for what never comes."""
MOST_MEMORY = 4 << 30
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


def idle(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where a fault changes no result: annotations, the arguments of ``@dataclass``, and ``strict`` of a ``zip``, which
    looks for what is never so."""
    found = []
    for node in ast.walk(ast.parse(source)):
        parts = [getattr(node, name, None) for name in ("annotation", "returns")]
        if isinstance(node, ast.ClassDef):
            parts += [each for each in node.decorator_list if ast.unparse(each).startswith("dataclass")]
        if isinstance(node, ast.keyword) and node.arg == "strict":
            parts.append(node.value)
        for part in parts:
            if part is not None:
                found.append(((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset)))
    return found


def tree_of(source: str) -> str | None:
    """The syntax tree; None for what is no Python, as cosmic-ray's ``a == not b``, and for ``/`` in a signature, where
    it takes the ``*`` for a product: who names an argument goes on to do so."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    positional = any(isinstance(node, ast.arguments) and node.posonlyargs for node in ast.walk(tree))
    return None if positional else ast.dump(tree)


def mutants(source: str) -> Iterator[Mutant]:
    """Every fault of a module that changes its syntax tree."""
    skipped, honest = idle(source), tree_of(source)
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


Key = tuple[str, int]
"""A code object's qualified name and first line: a fault moves neither."""


def codes(source: str, path: str) -> dict[Key, CodeType]:
    """All code objects of a module, its own among them."""
    found: dict[Key, CodeType] = {}
    waiting = [compile(source, path, "exec", dont_inherit=True)]
    while waiting:
        code = waiting.pop()
        found[code.co_qualname, code.co_firstlineno] = code
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return found


def made_by(path: str) -> list[FunctionType]:
    """Every function that the module has made. To be asked before anything is frozen: what is, is not listed."""
    gc.unfreeze()
    absolute = str(Path(path).resolve())
    functions = (each for each in gc.get_objects() if isinstance(each, FunctionType))
    return [function for function in functions if function.__code__.co_filename == absolute]


def once(code: CodeType) -> tuple[object, ...] | None:
    """What a module or a class body does when it is executed, the functions in it left out; None for a function."""
    if code.co_flags & inspect.CO_OPTIMIZED:
        return None
    return code.co_code, code.co_names, [each for each in code.co_consts if not isinstance(each, CodeType)]


def put_in(path: str, source: str, honest: str, functions: list[FunctionType]) -> None:
    """Give the faulty code to the module's functions; run it anew only where the fault is outside of them.

    A module that was run anew has other classes and registries than those that the tests hold: they would fail by that.
    """
    absolute = str(Path(path).resolve())
    faulty, right = codes(source, absolute), codes(honest, absolute)
    for function in functions:
        code = function.__code__
        function.__code__ = faulty[code.co_qualname, code.co_firstlineno]
    if any(once(faulty[key]) != once(right[key]) for key in right):
        # a constant, a default: what other modules took from this one stays as it was
        module = sys.modules[path.removesuffix(".py").replace("/", ".")]
        exec(compile(source, absolute, "exec", dont_inherit=True), module.__dict__)


WITHOUT = ("cacheprovider", "xdist", "unraisableexception", "threadexception", "faulthandler")
"""Plugins of pytest that cost more than most tests here: two of them collect all garbage at the end."""


class Forks:
    """Plugin of pytest: after the tests have passed, they run again in a fork for each fault of the module ``path``.

    ``survived`` is told of each fault that they do not notice. ``passed``: whether they passed without one, and again
    in a fork: tests that fail where they run twice would notice anything.
    """

    def __init__(self, path: str, honest: str, faults: Sequence[Mutant], survived: Callable[[Mutant], None]) -> None:
        self._path = path
        self._honest = honest
        self._faults = faults
        self._survived = survived
        self.passed = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Only what the faulty code does is done anew: plugins, collection and imports are there already."""
        before = time.process_time()
        result = yield
        self.passed = session.testsfailed == 0
        if self.passed:
            cpu_seconds = math.ceil(10 + 10 * (time.process_time() - before))
            functions = made_by(self._path)
            gc.freeze()  # a collection in a fork would copy every page
            self.passed = self._survives(session, self._honest, functions, cpu_seconds)
        if self.passed:
            for fault in self._faults:
                if self._survives(session, fault.source, functions, cpu_seconds):
                    self._survived(fault)
        return result

    def _survives(self, session: pytest.Session, source: str, functions: list[FunctionType], cpu_seconds: int) -> bool:
        """Whether the tests pass with this source. A fault that does not end within its CPU time is noticed."""
        child = os.fork()
        if child == 0:
            try:
                resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
                resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
                put_in(self._path, source, self._honest, functions)
                run_all(session)
                os._exit(int(session.testsfailed > 0))
            finally:
                os._exit(1)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def tried(
    path: str, honest: str, faults: Sequence[Mutant], tests: list[str], survived: Callable[[Mutant], None]
) -> bool:
    """Try the tests with each of the faults. False: they fail without any."""
    forks = Forks(path, honest, faults, survived)
    without = [option for plugin in WITHOUT for option in ("-p", f"no:{plugin}")]
    quiet = ["-x", "-q", "--noconftest", "--tb=no", f"--timeout={SECONDS}", "-W", "ignore::pytest.PytestWarning"]
    pytest.main([*quiet, *without, *tests], plugins=[forks])
    return forks.passed


def quietly() -> Callable[..., None]:
    """From now on standard output and errors, pytest's, go nowhere; what prints lines as before."""
    out = os.fdopen(os.dup(1), "w")
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)

    def report(*lines: str) -> None:
        for line in lines:
            print(line, file=out, flush=True)

    return report


def main() -> int:
    """The table of modules, after each module's survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", help="default: all that have tests named for them")
    parser.add_argument("--list", action="store_true", help="only count")
    arguments = parser.parse_args()
    sys.path.insert(0, os.getcwd())
    quick = {"deadline": None, "derandomize": True, "database": None, "max_examples": 40, "phases": [Phase.generate]}
    hypothesis.settings.register_profile("mutants", **quick)
    hypothesis.settings.load_profile("mutants")
    report = quietly()
    tested: dict[str, list[str]] = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["mutants"]["tests"]
    rows = []
    for path in arguments.modules or tested:
        honest, alive = Path(path).read_text(), list[Mutant]()
        faults = list(mutants(honest))

        def survived(fault: Mutant, path: str = path, alive: list[Mutant] = alive) -> None:
            alive.append(fault)
            report(f"{path}:{fault.change}")

        if not arguments.list and not tried(path, honest, faults, tested[path], survived):
            report(f"{path}: its tests fail without a fault")
            return 1
        rows.append((path, len(faults), len(alive)))
    report("| module | mutants | survivors |", "|---|---|---|")
    report(*[f"| `{path}` | {count} | {left} |" for path, count, left in rows])
    return int(any(left > MOST_SURVIVORS * count for _, count, left in rows))


if __name__ == "__main__":
    sys.exit(main())
