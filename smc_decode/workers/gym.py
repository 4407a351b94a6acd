"""Tasks of reasoning-gym, made and scored by that library. Runs in a worker process.

Some of its verifiers evaluate an answer as Python. Answers are what a model wrote, and this process is no sandbox, so
datasets whose module evaluates anything are refused, whatever it is.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import lru_cache
from typing import Any

KEPT = 64  # datasets
MAX_INDEX = 1_000_000


def question(dataset: str, seed: int, index: int, config: dict[str, Any]) -> str:
    """The task's question. Raises ValueError for what the library does not know."""
    return str(_entry(dataset, seed, index, config)[1]["question"])


def score(dataset: str, seed: int, index: int, config: dict[str, Any], answer: str) -> float:
    """The library's own score of an answer, from 0 to 1."""
    made, entry = _entry(dataset, seed, index, config)
    return min(max(float(made.score_answer(answer, entry)), 0.0), 1.0)


def _entry(dataset: str, seed: int, index: int, config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    made = _dataset(dataset, seed, tuple(sorted(config.items())))
    return made, made[index]


@lru_cache(maxsize=KEPT)
def _dataset(dataset: str, seed: int, config: tuple[tuple[str, Any], ...]) -> Any:
    import reasoning_gym
    from reasoning_gym.factory import DATASETS

    if dataset not in DATASETS:
        raise ValueError(f"reasoning-gym has no dataset {dataset!r}")
    if evaluates(inspect.getsource(sys.modules[DATASETS[dataset][0].__module__])):
        raise ValueError(f"reasoning-gym's {dataset!r} evaluates answers as Python, which is not done here")
    return reasoning_gym.create_dataset(dataset, seed=seed, size=MAX_INDEX + 1, **dict(config))


def evaluates(source: str) -> bool:
    """Whether a module's source calls what runs text as Python: eval, exec, compile, or SymPy's parsers."""
    tree = ast.parse(source)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return any(
        (isinstance(each, ast.Name) and each.id in _RUNS - own)
        or (isinstance(each, ast.Attribute) and each.attr in _PARSES)
        for each in called
    )


_PARSES = frozenset(["parse_expr", "sympify", "parse_latex", "lambdify"])
_RUNS = _PARSES | {"eval", "exec", "compile"}
