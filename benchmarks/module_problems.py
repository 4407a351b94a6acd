"""Modules: several functions in one answer, made from HumanEval's problems.

A module is right when all its functions pass their hidden tests, and each function has examples in the prompt.
Best-of-n needs all parts right in one draw; sampling that keeps what is right does not.
"""

from __future__ import annotations

import ast
import functools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from smc_decode.potentials.code.examples import find_examples
from smc_decode.potentials.code.prompt_code import asked_functions

from .problems import Benchmark, Problem, humaneval

SIZES = (1, 2, 4, 8)
COUNT = 40
"""Modules of each size."""
SEED = 0
TOKENS, TOKENS_A_FUNCTION = 60, 130


def modules(size: int, problems: Sequence[Problem], count: int = COUNT, seed: int = SEED) -> list[Problem]:
    """``count`` modules of ``size`` functions each: the problems in a random order, again and again in other orders, so
    that each is used about as often as any other."""
    usable = [problem for problem in problems if _usable(problem)]
    made: list[Problem] = []
    for chosen in _groups(usable, size, random.Random(f"{seed}/{size}")):
        if len(made) == count:
            break
        made.append(_module(f"modules-{size}/{len(made)}", chosen))
    return made


def _groups(problems: Sequence[Problem], size: int, rng: random.Random) -> Iterator[list[Problem]]:
    group: list[Problem] = []
    while True:
        later: list[Problem] = []
        for problem in rng.sample(problems, len(problems)):
            if problem.entry_point in {each.entry_point for each in group}:
                later.append(problem)  # two functions of one name are no module
                continue
            group.append(problem)
            if len(group) == size:
                yield group
                group = []
        if len(later) == len(problems):
            raise ValueError(f"there are no {size} functions of different names")


def _usable(problem: Problem) -> bool:
    """Whether the prompt is one function and imports, with at least one example that can be read."""
    asked = asked_functions(problem.question)
    if [name for name, _ in asked] != [problem.entry_point] or not find_examples(asked[0][1], problem.entry_point):
        return False
    return all(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.parse(problem.question).body[:-1])


def _module(name: str, parts: Sequence[Problem]) -> Problem:
    imports: dict[str, None] = {}
    functions = []
    for part in parts:
        imports |= dict.fromkeys(ast.unparse(node) for node in ast.parse(part.question).body[:-1])
        functions.append(asked_functions(part.question)[0][1].strip("\n"))
    head = "\n".join(imports)
    question = "\n\n\n".join([head, *functions] if head else functions) + "\n"
    renamed = tuple(Problem(part.id, "code", question, part.reference, entry_point=part.entry_point) for part in parts)
    return Problem(name, "code", question, "", parts=renamed)


def _load(size: int, data: Path | None) -> list[Problem]:
    """Of all problems, or of those whose names a text file lists, one a line."""
    problems = humaneval()
    if data is not None:
        chosen = set(data.read_text(encoding="utf-8").split())
        problems = [problem for problem in problems if problem.id in chosen]
    return modules(size, problems)


MODULES = {
    size: Benchmark(
        f"modules-{size}",
        functools.partial(_load, size),
        "prompt-examples",
        TOKENS + TOKENS_A_FUNCTION * size,
        extractor="behaviour",
    )
    for size in SIZES
}
