"""What is asked of a test's syntax tree, by the checker and (before anything runs) by the server.

Built on `_ast`: importing `ast` would take longer than all the rest.
"""

import _ast
import builtins
from _collections_abc import Iterator  # already loaded; `collections` is not

ONLY_AST = 0x400  # ast.PyCF_ONLY_AST
FUNCTIONS = (_ast.FunctionDef, _ast.AsyncFunctionDef)
SCOPES = (*FUNCTIONS, _ast.ClassDef, _ast.Lambda)


def parse(source: str, filename: str) -> _ast.Module:
    """The tree of `source`. Raises SyntaxError, ValueError, RecursionError or MemoryError on what is no Python."""
    tree: _ast.Module = compile(source, filename, "exec", ONLY_AST, dont_inherit=True)
    return tree


def walk(node: _ast.AST) -> Iterator[_ast.AST]:
    """The node and all below it, in the order of the source."""
    todo = [node]
    while todo:
        node = todo.pop()
        yield node
        todo.extend(reversed(list(children(node))))


def children(node: _ast.AST) -> Iterator[_ast.AST]:
    for field in node._fields:
        value = getattr(node, field, None)
        if isinstance(value, _ast.AST):
            yield value
        elif isinstance(value, list):
            yield from (item for item in value if isinstance(item, _ast.AST))


def names(node: _ast.AST) -> Iterator[str]:
    """Every name that is used below the node."""
    return (inner.id for inner in walk(node) if isinstance(inner, _ast.Name))


def loaded(node: _ast.AST) -> set[str]:
    return {inner.id for inner in walk(node) if isinstance(inner, _ast.Name) and isinstance(inner.ctx, _ast.Load)}


def defined(tree: _ast.AST) -> set[str]:
    """Names that are bound anywhere below: assigned, functions, classes, imports, parameters, handlers."""
    found: set[str] = set()
    for node in walk(tree):
        if isinstance(node, _ast.Name):
            if not isinstance(node.ctx, _ast.Load):
                found.add(node.id)
        elif isinstance(node, (*FUNCTIONS, _ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, _ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, _ast.arg):
            found.add(node.arg)
        elif isinstance(node, (_ast.ExceptHandler, _ast.MatchAs, _ast.MatchStar)) and node.name:
            found.add(node.name)
        elif isinstance(node, _ast.MatchMapping) and node.rest:
            found.add(node.rest)
    return found


def free_names(tree: _ast.AST) -> set[str]:
    """Names that are used and that neither the tree nor Python defines."""
    return {name for name in loaded(tree) - defined(tree) if not hasattr(builtins, name)}


def reached_from(sources: set[str], bound_by: dict[str, list[set[str]]]) -> set[str]:
    """The names in `sources` and all that are bound by way of them: `bound_by` says which sets a name leads to."""
    reached = set(sources)
    todo = list(sources)
    while todo:
        for bound in bound_by.pop(todo.pop(), ()):
            new = bound - reached
            reached |= new
            todo.extend(new)
    return reached


def is_generator(function: _ast.AST) -> bool:
    """Whether calling the function only makes a generator."""
    todo = list(getattr(function, "body", ()))
    while todo:
        node = todo.pop()
        if isinstance(node, (_ast.Yield, _ast.YieldFrom)):
            return True
        if not isinstance(node, SCOPES):
            todo.extend(children(node))
    return False


def is_main_guard(statement: _ast.AST) -> bool:
    """`if __name__ == "__main__"`, which is not so in a test."""
    if not isinstance(statement, _ast.If) or not isinstance(statement.test, _ast.Compare):
        return False
    sides = [statement.test.left, *statement.test.comparators]
    return any(isinstance(side, _ast.Constant) and side.value == "__main__" for side in sides)


def is_never(statement: _ast.AST) -> bool:
    """A statement that says that control must not come here: `assert False`, `raise AssertionError`, `self.fail()`."""
    if isinstance(statement, _ast.Assert):
        return isinstance(statement.test, _ast.Constant) and not statement.test.value
    if isinstance(statement, _ast.Raise):
        raised = statement.exc.func if isinstance(statement.exc, _ast.Call) else statement.exc
        return isinstance(raised, _ast.Name) and raised.id == "AssertionError"
    call = statement.value if isinstance(statement, _ast.Expr) else None
    return isinstance(call, _ast.Call) and isinstance(call.func, _ast.Attribute) and call.func.attr == "fail"


def is_assertion(statement: _ast.AST) -> bool:
    """An `assert` that proves something, or a call of one of unittest's `assert...` methods."""
    if isinstance(statement, _ast.Assert):
        return not is_never(statement) and any(not hasattr(builtins, name) for name in loaded(statement.test))
    call = statement.value if isinstance(statement, _ast.Expr) else None
    if isinstance(call, _ast.Call) and len(call.args) > 1 and _is_expecting(call.func):  # pytest.raises(E, f, x)
        return True
    return isinstance(call, _ast.Call) and isinstance(call.func, _ast.Attribute) and is_assert_name(call.func.attr)


def is_assert_block(statement: _ast.AST) -> bool:
    """`with self.assertRaises(...)`, `with pytest.raises(...)` and the like."""
    if not isinstance(statement, (_ast.With, _ast.AsyncWith)):
        return False
    calls = [item.context_expr for item in statement.items]
    return any(isinstance(call, _ast.Call) and _is_expecting(call.func) for call in calls)


def _is_expecting(function: _ast.AST) -> bool:
    if isinstance(function, _ast.Name):
        return function.id == "raises"
    return isinstance(function, _ast.Attribute) and (is_assert_name(function.attr) or function.attr == "raises")


def is_assert_name(name: str) -> bool:
    return name.startswith("assert") and name[6:7].isupper()
