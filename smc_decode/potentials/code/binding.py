"""Which names a top-level statement binds, changes and needs, and what it does when it runs. One walk a statement."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DEFINITIONS = (*FUNCTIONS, ast.ClassDef)
_LEAVES_BE = frozenset([
    "print", "len", "sorted", "str", "repr", "int", "float", "sum", "max", "min", "list", "tuple", "set", "dict",
    "isinstance",
])  # fmt: skip
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(slots=True)
class Effects:
    """``binds``: names that it sets at the top level; ``changes``: global names whose objects it may change in place;
    ``loads``: global names that it reads, also in functions that run later; ``now``: those that it reads as it runs;
    ``calls``: what it calls as it runs (the last part of a dotted name); ``later``: what its functions call;
    ``asserts``, ``asserts_later``: it may raise by itself; ``everything``: it has a star import, so that any name may
    be its."""

    binds: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    loads: set[str] = field(default_factory=set)
    now: set[str] = field(default_factory=set)
    calls: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
    asserts: bool = False
    asserts_later: bool = False
    everything: bool = False


@dataclass(slots=True)
class _Scope:
    """Names of one function, class, lambda or comprehension (or of the top level: ``parent`` None)."""

    parent: _Scope | None
    later: bool = False
    is_class: bool = False
    loads: set[str] = field(default_factory=set)
    now: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    binds: set[str] = field(default_factory=set)
    outer: set[str] = field(default_factory=set)
    passed_on: set[str] = field(default_factory=set)
    """Of a class: what its functions read, which its own names do not hide."""

    def close(self) -> None:
        """Hand on to the parent what this scope does not bind itself."""
        assert self.parent is not None
        own = self.binds - self.outer
        free = (self.loads - own) | self.passed_on
        above = self.parent
        (above.passed_on if above.is_class and not self.is_class else above.loads).update(free)
        above.changes |= (self.changes - own) | (self.binds & self.outer)
        if not self.later:
            above.now |= self.now - own


def effects_of(node: ast.stmt) -> Effects:
    """The effects of one statement."""
    effects, top = Effects(), _Scope(None)
    scopes: list[_Scope] = []
    todo: list[tuple[ast.AST, _Scope]] = [(node, top)]
    while todo:
        inner, scope = todo.pop()
        if isinstance(inner, (*DEFINITIONS, ast.Lambda, *_COMPREHENSIONS)):
            is_class = isinstance(inner, ast.ClassDef)
            later = scope.later or isinstance(inner, (*FUNCTIONS, ast.Lambda))
            own = _Scope(scope, later, is_class)
            scopes.append(own)
            todo += _parts(inner, scope, own, effects)
        else:
            _note(inner, effects, scope)
            todo += [(child, scope) for child in ast.iter_child_nodes(inner)]
    for closed in reversed(scopes):
        closed.close()
    effects.binds, effects.changes, effects.now = top.binds, top.changes, top.now
    effects.loads = top.loads | top.passed_on
    return effects


def _parts(node: ast.AST, scope: _Scope, own: _Scope, effects: Effects) -> Iterator[tuple[ast.AST, _Scope]]:
    """What belongs to a new scope, and what of it is worked out in the old one."""
    if isinstance(node, _COMPREHENSIONS):
        yield from ((child, own) for child in ast.iter_child_nodes(node))
        return
    if isinstance(node, DEFINITIONS):
        scope.binds.add(node.name)
        yield from ((each, scope) for each in node.decorator_list)
        (effects.later if scope.later else effects.calls).update(map(called, node.decorator_list))
    if isinstance(node, ast.ClassDef):
        yield from ((each, scope) for each in (*node.bases, *node.keywords))
        yield from ((each, own) for each in node.body)
    elif isinstance(node, (*FUNCTIONS, ast.Lambda)):
        arguments = node.args
        named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
        own.binds.update(each.arg for each in named if each is not None)
        yield from ((each, scope) for each in (*arguments.defaults, *arguments.kw_defaults) if each is not None)
        yield from ((each.annotation, scope) for each in named if each is not None and each.annotation is not None)
        if isinstance(node, FUNCTIONS) and node.returns is not None:
            yield node.returns, scope
        yield from ((each, own) for each in ([node.body] if isinstance(node, ast.Lambda) else node.body))


def _note(node: ast.AST, effects: Effects, scope: _Scope) -> None:
    match node:
        case ast.Name(id=name, ctx=ast.Load()):
            scope.loads.add(name)
            scope.now.add(name)
        case ast.Name(id=name):
            scope.binds.add(name)
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            scope.outer.update(names)
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            effects.everything |= any(alias.name == "*" for alias in aliases)
            scope.binds.update(alias.asname or alias.name.partition(".")[0] for alias in aliases)
        case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
            scope.binds.add(name)
        case ast.MatchMapping(rest=str(name)):
            scope.binds.add(name)
        case _:
            _note_effect(node, effects, scope)


def _note_effect(node: ast.AST, effects: Effects, scope: _Scope) -> None:
    match node:
        case ast.Attribute(value=value, ctx=ast.Store() | ast.Del()):
            scope.changes |= _root(value)
        case ast.Subscript(value=value, ctx=ast.Store() | ast.Del()):
            scope.changes |= _root(value)
        case ast.AugAssign(target=ast.Name(id=name)):
            scope.changes.add(name)
            scope.loads.add(name)
        case ast.Call():
            _calls(node, effects, scope)
        case ast.Assert() | ast.Raise():
            effects.asserts |= not scope.later
            effects.asserts_later |= scope.later and isinstance(node, ast.Assert)
        case _:
            pass


def _calls(node: ast.Call, effects: Effects, scope: _Scope) -> None:
    name = called(node)
    (effects.later if scope.later else effects.calls).add(name)
    if isinstance(node.func, ast.Attribute):
        scope.changes |= _root(node.func.value)
    if name not in _LEAVES_BE:  # whatever is handed over may be changed
        scope.changes.update(argument.id for argument in node.args if isinstance(argument, ast.Name))


def called(node: ast.expr) -> str:
    """The last part of the name of what is called, or ''."""
    while isinstance(node, ast.Call):
        node = node.func
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _root(node: ast.expr) -> set[str]:
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def callers_of(seeds: set[str], functions: Mapping[str, Effects]) -> set[str]:
    """The functions (names) that call one of ``seeds``, directly or through others."""
    calling: dict[str, list[str]] = {}
    for name, effects in functions.items():
        for callee in effects.later | effects.calls:
            calling.setdefault(callee, []).append(name)
    found: set[str] = set()
    todo = list(seeds)
    while todo:
        for caller in calling.get(todo.pop(), ()):
            if caller not in found:
                found.add(caller)
                todo.append(caller)
    return found
