"""Which statements of an answer belong to its program, and which only show it off.

Kept is what the entry point needs (its last definition, helpers, imports, constants, tables and what fills them) and
whatever else does no harm. Left out are prints, assertions, main guards, calls of the entry point and of functions
that make them, and what hangs on these.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smc_decode.potentials.code.binding import DEFINITIONS, FUNCTIONS, Effects, callers_of, effects_of
from smc_decode.potentials.code.chunks import Part

_SHOWS = frozenset(["print", "pprint"])
_ENDS = frozenset(["exit", "quit", "_exit", "testmod", "main", "run_docstring_examples"])
_READS = frozenset(["input"])
_BY_NAME = frozenset(["eval", "exec", "globals", "locals", "vars", "__import__"])
"""With these anything may be called."""
_KNOWN = frozenset([*dir(builtins), "__name__", "__file__", "__doc__", "__builtins__"])


@dataclass(frozen=True, slots=True)
class Statement:
    """A top-level statement with its effects."""

    part: Part
    node: ast.stmt
    effects: Effects


def statements(parts: Sequence[Part]) -> list[Statement]:
    """What of ``parts`` is Python."""
    return [Statement(part, part.node, effects_of(part.node)) for part in parts if part.node is not None]


def is_stub(node: ast.stmt) -> bool:
    """A function or class without a body of its own: a docstring, ``...``, ``pass``, ``raise NotImplementedError``."""
    if not isinstance(node, DEFINITIONS):
        return False
    return all(_says_nothing(each) or (isinstance(node, ast.ClassDef) and is_stub(each)) for each in node.body)


def _says_nothing(node: ast.stmt) -> bool:
    match node:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Raise(exc=ast.Name(id="NotImplementedError") | ast.Call(func=ast.Name(id="NotImplementedError"))):
            return True
        case _:
            return False


def without_stubs(found: Sequence[Statement]) -> list[Statement]:
    """Stubs give way to the real definitions of their names."""
    real = {name for each in found if not is_stub(each.node) for name in each.effects.binds}
    return [each for each in found if not (is_stub(each.node) and each.effects.binds <= real)]


def relevant(groups: Sequence[Sequence[Statement]], names: set[str], always: set[int]) -> list[list[Statement]]:
    """The groups of statements (the pieces of an answer) that set one of ``names``, or what those need in turn: of
    each name the last one that sets it. ``always``: groups that are kept in any case."""
    choice = _Choice(groups)
    for index in always & set(range(len(groups))):
        choice.take(index)
    choice.todo += names
    seen: set[str] = set()
    while choice.todo:
        name = choice.todo.pop()
        if name not in seen:
            seen.add(name)
            choice.need(name)
    return [list(group) for index, group in enumerate(groups) if index in choice.taken]


class _Choice:
    def __init__(self, groups: Sequence[Sequence[Statement]]) -> None:
        self._groups = groups
        self.taken: set[int] = set()
        self.todo: list[str] = []
        self._setters: dict[str, list[int]] = {}
        self._last: dict[str, int] = {}  # that sets it otherwise than by an import or a stub
        self._changers: dict[str, list[int]] = {}
        everything = [each for group in groups for each in group]
        changes = {each.node.name: each.effects.changes for each in everything if isinstance(each.node, FUNCTIONS)}
        for index, group in enumerate(groups):
            for each in group:
                self._enter(index, each)
                for name in changed_by(each, changes):
                    self._changers.setdefault(name, []).append(index)
            if any(each.effects.everything for each in group):
                self.take(index)

    def _enter(self, index: int, each: Statement) -> None:
        imports = isinstance(each.node, (ast.Import, ast.ImportFrom))
        for name in each.effects.binds:
            setters = self._setters.setdefault(name, [])
            if not setters or setters[-1] != index:
                setters.append(index)
            if not imports and not is_stub(each.node):
                self._last[name] = index

    def take(self, index: int) -> None:
        if index not in self.taken:
            self.taken.add(index)
            self.todo.extend(name for each in self._groups[index] for name in each.effects.loads)

    def need(self, name: str) -> None:
        """Take the last group that sets ``name``, the ones before as long as each makes it from what it was, and those
        that change it in place."""
        for index in self._changers.get(name, ()):
            self.take(index)
        setters = self._setters.get(name, [])
        if name not in self._last:
            if setters and not self.taken & set(setters):
                self.take(setters[-1])
            return
        for index in reversed(setters):
            if index > self._last[name]:
                continue
            self.take(index)
            first = next(each for each in self._groups[index] if name in each.effects.binds)
            if name not in first.effects.now:
                return


def changed_by(each: Statement, functions: Mapping[str, set[str]]) -> set[str]:
    """The names whose objects a statement may change, itself or through ``functions`` that it calls."""
    if isinstance(each.node, DEFINITIONS):
        return set()
    through = [functions[name] for name in each.effects.calls if name in functions]
    return set().union(each.effects.changes, *through) - _KNOWN


def essential(found: Sequence[Statement], entry_point: str, wanted: frozenset[str] = frozenset()) -> list[Statement]:
    """The statements that make the program, in their order. ``wanted``: further names that are needed."""
    judge = _Judge(found, entry_point)
    needed = judge.needed({entry_point.partition(".")[0], *wanted})
    kept = [each for i, each in enumerate(found) if not judge.only_shows(each, i in needed)]
    ids = {id(found[i]) for i in needed}
    return _without_strangers(_that_can_run(kept, ids, judge.dropped(kept)), ids)


def _without_strangers(kept: list[Statement], needed: set[int]) -> list[Statement]:
    """Without functions that nothing which is kept can call, so that a program is the same while others are written
    beside it."""
    functions = {id(each): each for each in kept if id(each) not in needed and _defines_only(each.node)}
    todo = [each for each in kept if id(each) not in functions]
    seen: set[str] = set()
    while todo:
        each = todo.pop()
        if each.effects.everything or each.effects.loads & _BY_NAME:
            return kept
        fresh = each.effects.loads - seen
        seen |= fresh
        called = [other for other in functions.values() if other.effects.binds & fresh]
        todo += called
        for other in called:
            del functions[id(other)]
    return [each for each in kept if id(each) not in functions]


def _defines_only(node: ast.stmt) -> bool:
    """A function whose definition does nothing but give it its name."""
    return (
        isinstance(node, FUNCTIONS)
        and not node.decorator_list
        and all(
            isinstance(each, ast.Constant) for each in (*node.args.defaults, *node.args.kw_defaults) if each is not None
        )
    )


class _Judge:
    def __init__(self, found: Sequence[Statement], entry_point: str) -> None:
        self._found = found
        functions = {each.node.name: each.effects for each in found if isinstance(each.node, FUNCTIONS)}
        checks = {name for name, effects in functions.items() if effects.asserts_later}
        seeds = {entry_point.partition(".")[0], entry_point.rpartition(".")[2], *_READS, *_ENDS, *checks} - {""}
        own = {name for name in functions if name in _ENDS}  # a function called main is what it does
        seeds -= own - {entry_point}
        self._trying = seeds | callers_of(seeds, functions)
        self._showing = self._trying | _SHOWS | callers_of(set(_SHOWS), functions)
        self._changes = {name: effects.changes for name, effects in functions.items()}

    def needed(self, names: set[str]) -> set[int]:
        """The indices of the statements that set or change one of ``names``, or what these need in turn."""
        setters: dict[str, list[int]] = {}
        for index, each in enumerate(self._found):
            for name in each.effects.binds | self._changed(each):
                setters.setdefault(name, []).append(index)
        found: set[int] = set()
        seen: set[str] = set()
        todo = list(names)
        while todo:
            name = todo.pop()
            if name in seen:
                continue
            seen.add(name)
            for index in setters.get(name, ()):
                if index not in found:
                    found.add(index)
                    todo += self._found[index].effects.loads
        return found

    def _changed(self, each: Statement) -> set[str]:
        tries = each.effects.calls & self._trying and not isinstance(each.node, (ast.Assign, ast.AnnAssign))
        return set() if tries else changed_by(each, self._changes)

    def only_shows(self, each: Statement, needed: bool) -> bool:
        """Whether a statement tries the program out, or does nothing."""
        match each.node:
            case ast.Assert() | ast.Raise() | ast.Return() | ast.AnnAssign(value=None) | ast.Pass():
                return True
            case ast.Expr(value=value):
                return _idle(value) or bool(each.effects.calls & (_SHOWS | _ENDS)) or self._shows(each, needed)
            case ast.If(test=test) if any(isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(test)):
                return True
            case ast.Import() | ast.ImportFrom():
                return not needed and not each.effects.everything and not _standard(each.node)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return False
            case _:
                return self._shows(each, needed)

    def _shows(self, each: Statement, needed: bool) -> bool:
        return not needed and (each.effects.asserts or bool(each.effects.calls & self._showing))

    def dropped(self, kept: Sequence[Statement]) -> set[str]:
        """Names that only statements which are left out would set."""
        there = {name for each in kept for name in each.effects.binds}
        return {name for each in self._found for name in each.effects.binds} - there


def _that_can_run(kept: list[Statement], needed: set[int], missing: set[str]) -> list[Statement]:
    """Without the idle statements that would fail for want of a name."""
    setters = Counter(name for each in kept for name in each.effects.binds)
    anything = any(each.effects.everything for each in kept)
    held: list[Statement] = []
    for each in kept:
        absent = each.effects.now & missing
        if isinstance(each.node, ast.Expr) and not anything:
            absent |= {name for name in each.effects.now if not setters[name] and name not in _KNOWN}
        if id(each) in needed or isinstance(each.node, DEFINITIONS) or not absent:
            held.append(each)
            continue
        for name in each.effects.binds:
            setters[name] -= 1
            if not setters[name]:
                missing.add(name)
    return held


def _idle(value: ast.expr) -> bool:
    """An expression that changes nothing."""
    return not any(
        isinstance(node, (ast.Call, ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)) for node in ast.walk(value)
    )


def _standard(node: ast.Import | ast.ImportFrom) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
    return all(name.partition(".")[0] in sys.stdlib_module_names for name in names)


def source_of(kept: Sequence[Statement]) -> str:
    """The statements as one source, ``from __future__`` imports first."""
    future = [each for each in kept if isinstance(each.node, ast.ImportFrom) and each.node.module == "__future__"]
    first = set(map(id, future))
    rest = [each for each in kept if id(each) not in first]
    return "".join(each.part.source + "\n" for each in (*future, *rest))
