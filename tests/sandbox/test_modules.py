"""Modules made from HumanEval: whatever stands together must be solvable together."""

from __future__ import annotations

import asyncio

from benchmarks.marking import Marking
from benchmarks.module_problems import MODULES
from benchmarks.problems import Problem
from smc_decode.sandbox import Sandbox
from tests.sandbox.test_humaneval import PROBLEMS

SOLUTIONS = {problem["task_id"]: problem["prompt"] + problem["canonical_solution"] for problem in PROBLEMS}


def answer(module: Problem) -> str:
    return "```python\n" + "\n\n".join(SOLUTIONS[part.id] for part in module.parts) + "\n```"


def test_the_published_solutions_of_the_functions_are_a_right_module(sandbox: Sandbox) -> None:
    modules = MODULES[8].load(None)[:20]  # which have every problem
    marking = Marking(sandbox)

    async def marks() -> list[float]:
        found = await asyncio.gather(*(marking.mark(module, [answer(module)], "chat") for module in modules))
        return [mark for (mark,) in found]

    assert asyncio.run(marks()) == [1.0] * len(modules)


def test_a_function_that_is_left_out_costs_its_share(sandbox: Sandbox) -> None:
    module = MODULES[4].load(None)[0]
    text = answer(module).replace(SOLUTIONS[module.parts[0].id], "")
    assert asyncio.run(Marking(sandbox).mark(module, [text], "chat")) == [0.75]
