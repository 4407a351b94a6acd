"""Rewrites trusted test source so that each of its assertions is counted, and so that in-place changes can be tested.

Counting: `assert T` becomes `try: mark(line, T) / except caught as e: failed(line, e)`, so that the next one
still runs. A `try` statement with handlers that holds assertions counts as one test, since its handlers may be
what is tested.

In-place changes: the candidate works on copies of its arguments. In an assertion (or an operand of its `and`s)
that holds nothing that comes from the candidate, an argument's name stands for the argument as the candidate left
it: `candidate(x); assert x == [1, 2]`. Elsewhere, as in `assert candidate(x) == sorted(x)`, it stands for the
argument as the test made it, or else a candidate could empty `x` and return `[]`.
"""

import _ast
import builtins
from _collections_abc import Iterator  # already loaded; `collections` is not

TYPE_CHECKING = False  # `typing` takes longer to import than all the rest
if TYPE_CHECKING:
    from typing import TypeVar

    Node = TypeVar("Node", bound=_ast.AST)

ONLY_AST = 0x400  # ast.PyCF_ONLY_AST, without importing ast
MARK, FAILED, CAUGHT, AFTER = "__smc_mark__", "__smc_failed__", "__smc_caught__", "__smc_after__"


class Rewritten:
    """`code` to execute, `assertions` written in it, `free` names that it does not define, whether it `reads_after`."""

    def __init__(self, code: object, assertions: int, free: list[str], reads_after: bool) -> None:
        self.code = code
        self.assertions = assertions
        self.free = free
        self.reads_after = reads_after


def rewrite(source: str, filename: str, entry: str, counting: bool) -> Rewritten:
    """Rewrite and compile `source`.

    Raises SyntaxError, ValueError, RecursionError or MemoryError on what is no Python.
    """
    tree = compile(source, filename, "exec", ONLY_AST, dont_inherit=True)
    names = [node for node in walk(tree) if isinstance(node, _ast.Name)]
    defined = {node.id for node in names if not isinstance(node.ctx, _ast.Load)} | _declared(tree)
    loaded = {node.id for node in names if isinstance(node.ctx, _ast.Load)}
    free = sorted(name for name in loaded - defined if not hasattr(builtins, name))
    reads_after = _read_arguments_after(tree, entry)
    assertions = sum(_counts(node) for node in walk(tree))
    if counting:
        tree.body = _count_in(tree.body)
    return Rewritten(compile(tree, filename, "exec", dont_inherit=True), assertions, free, reads_after)


def walk(node: _ast.AST) -> Iterator[_ast.AST]:
    todo = [node]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(children(node))


def children(node: _ast.AST) -> Iterator[_ast.AST]:
    for field in node._fields:
        value = getattr(node, field, None)
        if isinstance(value, _ast.AST):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, _ast.AST))


def _declared(tree: _ast.AST) -> set[str]:
    """Names that are defined otherwise than by assignment: functions, classes, imports, parameters, handlers."""
    names: set[str] = set()
    for node in walk(tree):
        if isinstance(node, (_ast.FunctionDef, _ast.AsyncFunctionDef, _ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, _ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, _ast.arg):
            names.add(node.arg)
        elif isinstance(node, (_ast.ExceptHandler, _ast.MatchAs, _ast.MatchStar)) and node.name:
            names.add(node.name)
    return names


def _counts(node: _ast.AST) -> bool:
    # `assert True` proves nothing of the candidate
    return isinstance(node, _ast.Assert) and not (isinstance(node.test, _ast.Constant) and node.test.value)


def _count_in(body: list[_ast.stmt]) -> list[_ast.stmt]:
    return [_count(statement) for statement in body]


def _count(statement: _ast.stmt) -> _ast.stmt:
    if _counts(statement):
        assert_statement: _ast.Assert = statement  # type: ignore[assignment]
        return _guard(statement, [_call(statement, MARK, assert_statement.test)], [])
    if isinstance(statement, (_ast.Try, _ast.TryStar)) and statement.handlers:
        if any(_counts(node) for node in walk(statement)):
            return _guard(statement, [statement], [_call(statement, MARK, _at(_ast.Constant(True), statement))])
        return statement
    for field in ("body", "orelse", "finalbody"):
        inner = getattr(statement, field, None)
        if isinstance(inner, list):
            setattr(statement, field, _count_in(inner))
    for case in getattr(statement, "cases", ()):
        case.body = _count_in(case.body)
    return statement


def _guard(statement: _ast.stmt, body: list[_ast.stmt], orelse: list[_ast.stmt]) -> _ast.stmt:
    """try: body / except caught as error: failed(line, error) / else: orelse"""
    handler = _ast.ExceptHandler(
        _name(CAUGHT, statement), "__smc_error__", [_call(statement, FAILED, _name("__smc_error__", statement))]
    )
    return _at(_ast.Try(body, [_at(handler, statement)], orelse, []), statement)


def _call(statement: _ast.stmt, function: str, argument: _ast.expr) -> _ast.stmt:
    line = _at(_ast.Constant(statement.lineno), statement)
    call = _at(_ast.Call(_name(function, statement), [line, argument], []), statement)
    return _at(_ast.Expr(call), statement)


def _name(name: str, where: _ast.AST) -> _ast.Name:
    return _at(_ast.Name(name, _ast.Load()), where)


def _at(node: "Node", where: _ast.AST) -> "Node":
    for field in ("lineno", "end_lineno", "col_offset", "end_col_offset"):
        setattr(node, field, getattr(where, field))
    return node


def _read_arguments_after(tree: _ast.AST, entry: str) -> bool:
    """Make assertions read arguments as the candidate left them, where that is what they test."""
    candidates = {entry, "candidate"}
    for node in walk(tree):
        if isinstance(node, _ast.FunctionDef) and node.name == "check" and node.args.args:
            candidates.add(node.args.args[0].arg)
    arguments: set[str] = set()
    for node in walk(tree):
        if isinstance(node, _ast.Call) and isinstance(node.func, _ast.Name) and node.func.id in candidates:
            passed = [*node.args, *(keyword.value for keyword in node.keywords)]
            arguments.update(item.id for item in passed if isinstance(item, _ast.Name))
    if not arguments:
        return False
    tainted = _tainted(tree, candidates)
    changed = False
    for node in walk(tree):
        if isinstance(node, _ast.Assert):
            changed |= _view(node, "test", arguments, tainted)
    return changed


def _tainted(tree: _ast.AST, candidates: set[str]) -> set[str]:
    """Names that hold, anywhere in the test, something that comes from the candidate."""
    tainted = set(candidates)
    flows: list[tuple[set[str], set[str]]] = []
    for node in walk(tree):
        value = getattr(node, "value", None) or getattr(node, "iter", None) or getattr(node, "context_expr", None)
        targets = getattr(node, "targets", None) or [
            target for field in ("target", "optional_vars") if (target := getattr(node, field, None)) is not None
        ]
        if value is not None and targets and isinstance(value, _ast.AST):
            flows.append(({name for target in targets for name in _names(target)}, set(_names(value))))
    size = 0
    while size != len(tainted):
        size = len(tainted)
        for target_names, value_names in flows:
            if value_names & tainted:
                tainted |= target_names
    return tainted


def _names(node: _ast.AST) -> Iterator[str]:
    return (inner.id for inner in walk(node) if isinstance(inner, _ast.Name))


def _view(parent: _ast.AST, field: str, arguments: set[str], tainted: set[str]) -> bool:
    expression = getattr(parent, field)
    if isinstance(expression, _ast.BoolOp) and isinstance(expression.op, _ast.And):
        holder = expression.values
        changed = False
        for index, operand in enumerate(holder):
            box = _ast.Expr(operand)
            changed |= _view(box, "value", arguments, tainted)
            holder[index] = box.value
        return changed
    names = set(_names(expression))
    if names & tainted or not names & arguments:
        return False
    setattr(parent, field, _with_views(expression, arguments))
    return True


def _with_views(node: _ast.AST, arguments: set[str]) -> _ast.AST:
    """`node` with each loaded argument name `x` replaced by `after(x)`."""
    if isinstance(node, _ast.Name):
        if node.id in arguments and isinstance(node.ctx, _ast.Load):
            return _at(_ast.Call(_name(AFTER, node), [node], []), node)
        return node
    for field in node._fields:
        value = getattr(node, field, None)
        if isinstance(value, list):
            value[:] = [_with_views(item, arguments) if isinstance(item, _ast.AST) else item for item in value]
        elif isinstance(value, _ast.AST):
            setattr(node, field, _with_views(value, arguments))
    return node
