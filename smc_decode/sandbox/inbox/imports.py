"""Imports of the module under test: `from solution import f` and `solution.f` stand for the program's own `f`.

The program is no file that could be imported, so a test's import of it is left out, and what it names is a name that
the test does not define. Modules are the program's by their names alone; what else a box does not have stays an error.
"""

import _ast

from . import syntax

PROGRAMS = frozenset({
    "solution", "solutions", "candidate", "main", "__main__", "answer", "submission", "program", "module", "my_module",
    "your_module", "mymodule", "implementation", "app", "src",
})  # fmt: skip


def parse_test(source: str, filename: str, entry: str) -> _ast.Module:
    """The tree of a test without its imports of the program.

    Raises SyntaxError, ValueError, RecursionError or MemoryError on what is no Python.
    """
    tree = syntax.parse(source, filename)
    if "import" not in source:
        return tree
    modules = {*PROGRAMS, entry.partition(".")[0]}
    names: dict[str, str] = {}
    aliases: set[str] = set()
    for body in list(_bodies(tree)):
        for index, statement in enumerate(body):
            if isinstance(statement, _ast.ImportFrom) and _is_programs(statement, modules):
                names.update({each.asname: each.name for each in statement.names if each.asname})
                body[index] = _nothing(statement)
            elif isinstance(statement, _ast.Import):
                own = [each for each in statement.names if each.name.partition(".")[0] in modules]
                aliases.update(each.asname or each.name for each in own)
                statement.names = [each for each in statement.names if each not in own]
                if not statement.names:
                    body[index] = _nothing(statement)
    if names or aliases:
        _rename(tree, names, aliases)
    return tree


def _is_programs(statement: _ast.ImportFrom, modules: set[str]) -> bool:
    return statement.level > 0 or (statement.module or "").partition(".")[0] in modules


def _bodies(tree: _ast.AST) -> "list[list[_ast.stmt]]":
    found = []
    for node in syntax.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            body = getattr(node, field, None)
            if isinstance(body, list):
                found.append(body)
    return found


def _nothing(statement: _ast.stmt) -> _ast.Pass:
    made = _ast.Pass()
    for field in ("lineno", "end_lineno", "col_offset", "end_col_offset"):
        setattr(made, field, getattr(statement, field))
    return made


def _rename(tree: _ast.AST, names: "dict[str, str]", aliases: set[str]) -> None:
    """`g` for `from solution import f as g` becomes `f`, and so does `solution.f`."""
    for node in syntax.walk(tree):
        if isinstance(node, _ast.Name) and node.id in names:
            node.id = names[node.id]
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                for index, item in enumerate(value):
                    value[index] = _bare(item, aliases)
            else:
                setattr(node, field, _bare(value, aliases))


def _bare(node: object, aliases: set[str]) -> object:
    if isinstance(node, _ast.Attribute) and isinstance(node.ctx, _ast.Load) and _dotted(node.value) in aliases:
        name = _ast.Name(node.attr, _ast.Load())
        for field in ("lineno", "end_lineno", "col_offset", "end_col_offset"):
            setattr(name, field, getattr(node, field))
        return name
    return node


def _dotted(node: _ast.AST) -> str:
    if isinstance(node, _ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, _ast.Name) else ""
