"""Rewrites trusted test source so that each written assertion is accounted for.

Every written assertion has a *slot*. `assert T` becomes `try: mark(slot, T) / except caught as e: failed(slot, e)`.
A `try` statement with handlers that holds assertions, and a `with self.assertRaises(...)`, is one assertion: it holds
when control leaves it without an error. `assert False` and `raise AssertionError` hold when the test comes to its end
without having reached them. An assertion of constants alone proves nothing, and has no slot.

Beside that, in `assert candidate(x) == sorted(x)` the right side is what a test expects and is computed from an
argument alone. Such a comparison must also hold with the argument as the test passed it, or else a program could
empty `x` and return `[]`. This is not so for arguments that an assertion looks at by themselves (`assert x == [1, 2]`).
And in `assert candidate(x) == x` contents are compared, so that a NaN in `x` equals nothing.
"""

import _ast

from . import syntax
from .imports import parse_test
from .syntax import walk

TYPE_CHECKING = False  # `typing` takes longer to import than all the rest
if TYPE_CHECKING:
    from typing import TypeVar

    Node = TypeVar("Node", bound=_ast.AST)

MARK, FAILED, CAUGHT, ENTER, LEAVE = (
    "__smc_mark__",
    "__smc_failed__",
    "__smc_caught__",
    "__smc_enter__",
    "__smc_leave__",
)
EXPECTED, BEFORE, CONTENT, ERROR = "__smc_expected__", "__smc_before__", "__smc_content__", "__smc_error__"


class Slot:
    """A written assertion: its line, and whether it is one that control must `never` reach."""

    def __init__(self, line: int, never: bool) -> None:
        self.line = line
        self.never = never


class Rewritten:
    """A test that has been rewritten.

    `code` to execute, the `slots` of its assertions, its `tree` as written, the `free` names that it does not define,
    all names that it `mentions`, whether it `reads_before` (an expected value is computed from an argument), and
    whether it `is_setup`, which only defines what other tests use.
    """

    def __init__(self, code: object, slots: list[Slot], tree: _ast.Module, reads_before: bool) -> None:
        self.code = code
        self.slots = slots
        self.tree = tree
        self.free = syntax.free_names(tree)
        self.mentions = {node.attr for node in walk(tree) if isinstance(node, _ast.Attribute)} | syntax.loaded(tree)
        self.reads_before = reads_before
        self.is_setup = False


def rewrite(source: str, filename: str, entry: str, dead: "set[int] | None" = None) -> Rewritten:
    """Rewrite and compile `source`. `dead`: lines of statements that nothing runs, whose assertions do not count.

    Raises SyntaxError, ValueError, RecursionError or MemoryError on what is no Python.
    """
    tree = parse_test(source, filename, entry)
    original = parse_test(source, filename, entry)
    reads_before = _compute_before(tree, entry)
    counter = _Counter(dead or set())
    tree.body = counter.count_in(tree.body)
    code = compile(tree, filename, "exec", dont_inherit=True)
    return Rewritten(code, counter.slots, original, reads_before)


class _Counter:
    """Gives each assertion its slot, in the order of the source."""

    def __init__(self, dead: set[int]) -> None:
        self.slots: list[Slot] = []
        self._dead = dead

    def count_in(self, body: list[_ast.stmt]) -> list[_ast.stmt]:
        found = []
        for statement in body:
            found += self._count(statement)
        return found

    def _count(self, statement: _ast.stmt) -> list[_ast.stmt]:
        if syntax.is_never(statement):
            slot = self._slot(statement, never=True)
            if slot is None:
                return [statement]
            here = _call(statement, FAILED, slot, _name("AssertionError", statement))
            return [here, statement] if isinstance(statement, _ast.Raise) else [here]
        if syntax.is_assertion(statement):
            return self._assertion(statement)  # type: ignore[arg-type]
        if syntax.is_assert_block(statement) or _is_tried_assertion(statement):
            slot = self._slot(statement)
            return [_block(statement, slot)] if slot else [statement]
        for field in ("body", "orelse", "finalbody"):
            inner = getattr(statement, field, None)
            if isinstance(inner, list):
                setattr(statement, field, self.count_in(inner))
        for case in getattr(statement, "cases", ()):
            case.body = self.count_in(case.body)
        return [statement]

    def _assertion(self, statement: "_ast.Assert | _ast.Expr") -> list[_ast.stmt]:
        slot = self._slot(statement)
        if slot is None:
            return [statement]
        if isinstance(statement, _ast.Assert):
            return [_guard(statement, [_call(statement, MARK, slot, statement.test)], [], slot)]
        held = _call(statement, MARK, slot, _at(_ast.Constant(True), statement))
        return [_guard(statement, [statement], [held], slot)]

    def _slot(self, statement: _ast.stmt, never: bool = False) -> "_ast.Constant | None":
        if statement.lineno in self._dead:
            return None
        self.slots.append(Slot(statement.lineno, never))
        return _at(_ast.Constant(len(self.slots) - 1), statement)


def _is_tried_assertion(statement: _ast.AST) -> bool:
    return (
        isinstance(statement, (_ast.Try, _ast.TryStar))
        and bool(statement.handlers)
        and any(syntax.is_assertion(node) or syntax.is_never(node) for node in walk(statement))
    )


def _guard(statement: _ast.stmt, body: list[_ast.stmt], orelse: list[_ast.stmt], slot: _ast.Constant) -> _ast.stmt:
    """try: body / except caught as error: failed(slot, error) / else: orelse"""
    report = _call(statement, FAILED, slot, _name(ERROR, statement))
    handler = _at(_ast.ExceptHandler(_name(CAUGHT, statement), ERROR, [report]), statement)
    return _at(_ast.Try(body, [handler], orelse, []), statement)


def _block(statement: _ast.stmt, slot: _ast.Constant) -> _ast.stmt:
    """try: enter(slot); statement / except caught as error: failed(slot, error) / finally: leave(slot)

    A `return` in the statement leaves it too.
    """
    none = _at(_ast.Constant(None), statement)
    guarded: _ast.Try = _guard(statement, [_call(statement, ENTER, slot, none), statement], [], slot)  # type: ignore[assignment]
    guarded.finalbody = [_call(statement, LEAVE, slot, none)]
    return guarded


def _call(statement: _ast.stmt, function: str, slot: _ast.Constant, argument: _ast.expr) -> _ast.stmt:
    call = _at(_ast.Call(_name(function, statement), [slot, argument], []), statement)
    return _at(_ast.Expr(call), statement)


def _name(name: str, where: _ast.AST) -> _ast.Name:
    return _at(_ast.Name(name, _ast.Load()), where)


def _at(node: "Node", where: _ast.AST) -> "Node":
    for field in ("lineno", "end_lineno", "col_offset", "end_col_offset"):
        setattr(node, field, getattr(where, field))
    return node


# -- expected values that are computed from arguments ------------------------------------------------------------------


def _compute_before(tree: _ast.Module, entry: str) -> bool:
    """Make comparisons hold with arguments as they were, where that is what they compare with."""
    candidates = candidate_names(tree, entry)
    arguments = _arguments(tree, candidates)
    if not arguments:
        return False
    tainted = flow(tree, candidates)
    asserts = [node for node in walk(tree) if isinstance(node, _ast.Assert)]
    comparisons = [
        (side, comparison)
        for node in asserts
        for comparison in walk(node.test)
        if isinstance(comparison, _ast.Compare) and len(comparison.ops) == 1 and isinstance(comparison.ops[0], _ast.Eq)
        for side in ("left", "right")
        if _is_expected(comparison, side, arguments, tainted)
    ]
    computed = {
        id(inner)
        for side, comparison in comparisons
        if not isinstance(_side(comparison, side), _ast.Name)
        for inner in walk(_side(comparison, side))
    }
    looked_at = {
        inner.id
        for node in asserts
        for inner in _outside_calls(node.test, candidates)
        if isinstance(inner, _ast.Name) and id(inner) not in computed
    }
    changed = False
    for side, comparison in comparisons:
        expected = _side(comparison, side)
        concerned = arguments.intersection(syntax.names(expected)) - looked_at
        if isinstance(expected, _ast.Name):
            _replace(comparison, side, _at(_ast.Call(_name(CONTENT, expected), [expected], []), expected))
        elif concerned:
            changed = True
            _replace(comparison, side, _expected(expected, concerned))
    return changed


def candidate_names(tree: _ast.Module, entry: str) -> set[str]:
    """Names that stand for the program: the entry point (without one, all that the test does not define), `candidate`,
    and what `check` calls it."""
    found = {"candidate", *([entry.partition(".")[0]] if entry else syntax.free_names(tree))}
    for node in tree.body:
        if isinstance(node, syntax.FUNCTIONS) and node.name == "check" and node.args.args:
            found.add(node.args.args[0].arg)
    return found


def flow(tree: _ast.AST, sources: set[str]) -> set[str]:
    """Names that hold, anywhere, something that comes from one of the names in `sources`."""
    bound_by: dict[str, list[set[str]]] = {}
    for node in walk(tree):
        value = getattr(node, "value", None) or getattr(node, "iter", None) or getattr(node, "context_expr", None)
        targets = getattr(node, "targets", None) or [
            target for field in ("target", "optional_vars") if (target := getattr(node, field, None)) is not None
        ]
        if isinstance(value, _ast.AST) and targets and not isinstance(node, (_ast.Attribute, _ast.Subscript)):
            bound = {name for target in targets for name in syntax.names(target)}
            for name in set(syntax.names(value)):
                bound_by.setdefault(name, []).append(bound)
    return syntax.reached_from(sources, bound_by)


def _arguments(tree: _ast.AST, candidates: set[str]) -> set[str]:
    """Names that are passed to the candidate."""
    found: set[str] = set()
    for node in walk(tree):
        if isinstance(node, _ast.Call) and isinstance(node.func, _ast.Name) and node.func.id in candidates:
            passed = [*node.args, *(keyword.value for keyword in node.keywords)]
            found.update(item.id for item in passed if isinstance(item, _ast.Name))
    return found


def _side(comparison: _ast.Compare, side: str) -> _ast.expr:
    return comparison.left if side == "left" else comparison.comparators[0]


def _replace(comparison: _ast.Compare, side: str, expression: _ast.expr) -> None:
    if side == "left":
        comparison.left = expression
    else:
        comparison.comparators = [expression]


def _is_expected(comparison: _ast.Compare, side: str, arguments: set[str], tainted: set[str]) -> bool:
    """Whether this side is computed from arguments and nothing else, and the other comes from the candidate alone."""
    this, other = _side(comparison, side), _side(comparison, "right" if side == "left" else "left")
    if isinstance(this, _ast.Constant) or not tainted.intersection(syntax.names(other)):
        return False
    awkward = (_ast.NamedExpr, _ast.Await, _ast.Yield, _ast.YieldFrom)
    if tainted.intersection(syntax.names(this)) or any(isinstance(node, awkward) for node in walk(this)):
        return False
    return bool(arguments.intersection(syntax.names(this)))


def _outside_calls(node: _ast.AST, candidates: set[str]) -> list[_ast.AST]:
    """All nodes whose content is looked at: not those within arguments of the candidate, nor operands of `is`."""
    if isinstance(node, _ast.Compare) and all(isinstance(op, (_ast.Is, _ast.IsNot)) for op in node.ops):
        return []
    if isinstance(node, _ast.Call) and isinstance(node.func, _ast.Name) and node.func.id in candidates:
        return [node]
    return [node, *(inner for child in syntax.children(node) for inner in _outside_calls(child, candidates))]


def _expected(value: _ast.expr, arguments: set[str]) -> _ast.expr:
    """expected(value, lambda: value with `before(x)` for each argument `x`)"""
    nothing = _ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    again = _at(_ast.Lambda(nothing, _with_before(value, arguments)), value)
    return _at(_ast.Call(_name(EXPECTED, value), [value, again], []), value)


def _with_before(node: "Node", arguments: set[str]) -> "Node":
    """A copy of the tree with each argument name `x` replaced by `before(x)`."""
    if isinstance(node, _ast.Name) and node.id in arguments and isinstance(node.ctx, _ast.Load):
        return _at(_ast.Call(_name(BEFORE, node), [_name(node.id, node)], []), node)  # type: ignore[return-value]
    copy = type(node)()
    for field in (*node._fields, *node._attributes):
        value = getattr(node, field, None)
        if isinstance(value, list):
            value = [_with_before(item, arguments) if isinstance(item, _ast.AST) else item for item in value]
        elif isinstance(value, _ast.AST):
            value = _with_before(value, arguments)
        setattr(copy, field, value)
    return copy
