"""Tasks of reasoning-gym as a reward."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed: pip install 'smc-decode[reasoning-gym]'")

from smc_decode.potentials.options import RewardRequestError
from smc_decode.potentials.text.reasoning_gym import Gym, GymOptions, answer_of
from smc_decode.workers.gym import evaluates
from smc_decode.workers.pool import WorkerPool
from tests.potentials.answers import answer


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerPool]:
    pool = WorkerPool(1)
    yield pool
    pool.close()


def gym(workers: WorkerPool, **options: object) -> Gym:
    return Gym(GymOptions.model_validate({"dataset": "chain_sum", "seed": 1, "timeout": 20, **options}), workers)


def rewards(source: Gym, *texts: str, finished: bool = True) -> list[float]:
    found = asyncio.run(source.rewards([answer(text, finished=finished) for text in texts]))
    return [each.value for each in found]


def test_an_answer_has_the_score_of_the_librarys_own_verifier(workers: WorkerPool) -> None:
    source = gym(workers)
    assert source.question.endswith("4 - 1 - 7 =")
    right, wrong = rewards(source, "4 - 1 is 3.\n<answer>-4</answer>", "<answer>4</answer>")
    assert right == 1.0
    assert wrong < 0.5


def test_the_same_numbers_name_the_same_task(workers: WorkerPool) -> None:
    assert gym(workers, index=7).question == gym(workers, index=7).question
    assert gym(workers, index=7).question != gym(workers, index=8).question
    assert gym(workers, config={"min_terms": 5, "max_terms": 5}).question.count(" ") > gym(workers).question.count(" ")


def test_before_its_end_an_answer_is_pending_until_its_tag_is_closed(workers: WorkerPool) -> None:
    source = gym(workers, pending=0.4)
    assert rewards(source, "4 - 1 is 3", "<answer>-", finished=False) == [0.4, 0.4]
    assert rewards(source, "<answer>-4</answer>", finished=False) == [1.0]


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("so\n<answer> 3 </answer> is it", "3"), ("<answer>1</answer> no: <answer>2</answer>", "2"),
        ("a\nb\n\n", "b"), ("so <answer>5", "5"), ("", ""),
    ],
)  # fmt: skip
def test_the_answer_is_in_the_last_tag_or_on_the_last_line(text: str, given: str) -> None:
    assert answer_of(text, True) == given


@pytest.mark.parametrize("options", [{"dataset": "no_such"}, {"config": {"bogus": 1}}, {"config": {"min_terms": -3}}])
def test_a_task_that_there_is_not_is_a_400(workers: WorkerPool, options: dict[str, object]) -> None:
    with pytest.raises(RewardRequestError, match="no such task"):
        gym(workers, **options)


@pytest.mark.parametrize("dataset", ["countdown", "n_queens", "simple_integration"])
def test_datasets_that_run_answers_as_python_are_refused(workers: WorkerPool, dataset: str) -> None:
    with pytest.raises(RewardRequestError, match="evaluates answers as Python"):
        gym(workers, dataset=dataset)


@pytest.mark.parametrize(
    ("source", "runs"),
    [
        ("def f(x):\n    return eval(x)", True), ("import sympy\nsympy.parse_expr(a)", True),
        ("def parse_expr(x):\n    return x\nparse_expr(1)", False), ("import re\nre.compile('a')", False),
        ("import json\njson.loads(a)", False), ("exec(code, {})", True),
    ],
)  # fmt: skip
def test_what_runs_text_is_seen_in_a_modules_source(source: str, runs: bool) -> None:
    assert evaluates(source) is runs
