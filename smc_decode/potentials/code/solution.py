"""The entry point in a program: where it is defined, and a way to it where it stands inside of a class."""

from __future__ import annotations

import ast

from smc_decode.potentials.code.binding import DEFINITIONS, FUNCTIONS


def find_definition(tree: ast.Module, entry_point: str) -> ast.stmt | None:
    """The last definition of the entry point at the top level (for ``Class.method``: of the class)."""
    name = entry_point.partition(".")[0]
    found = [node for node in tree.body if isinstance(node, DEFINITIONS) and node.name == name]
    return found[-1] if found else None


def class_with(nodes: list[ast.stmt], method: str) -> str | None:
    """The last class that has this method: ``class Solution`` with the function that was asked for."""
    holders = [
        node.name
        for node in nodes
        if isinstance(node, ast.ClassDef) and any(isinstance(m, FUNCTIONS) and m.name == method for m in node.body)
    ]
    return "Solution" if "Solution" in holders else holders[-1] if holders else None


def way_to(entry_point: str, nodes: list[ast.stmt]) -> str:
    """Source that makes the entry point known where the answer has it as a method of a class, or, asked for
    ``Class.method``, as a function; '' where it is neither."""
    head, _, method = entry_point.partition(".")
    if method:
        functions = {node.name for node in nodes if isinstance(node, FUNCTIONS)}
        called = f"return {method}(*args, **kwargs)"
        return (
            f"class {head}:\n    def {method}(self, *args, **kwargs):\n        {called}\n"
            if method in functions
            else ""
        )
    holder = class_with(nodes, head)
    called = f"return {holder}().{head}(*args, **kwargs)"
    return f"def {head}(*args, **kwargs):\n    {called}\n" if holder else ""


def may_return(tree: ast.Module, entry_point: str) -> bool:
    """Whether some path through the entry point returns before a cut."""
    entry: ast.AST | None = find_definition(tree, entry_point)
    method = entry_point.partition(".")[2]
    if entry is None and not method:
        holder = class_with(tree.body, entry_point)
        method = entry_point
        entry = find_definition(tree, holder) if holder else None
    if entry is not None and method and isinstance(entry, ast.ClassDef):
        methods = [node for node in entry.body if isinstance(node, FUNCTIONS) and node.name == method]
        entry = methods[-1] if methods else None
    if entry is None:
        return False
    todo = list(ast.iter_child_nodes(entry))
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(node, (*DEFINITIONS, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))
    return False
