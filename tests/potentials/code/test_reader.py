"""Long code is read in a worker process, and reads as it does in this one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from smc_decode.potentials.code.reader import SHORT, CodeReader
from smc_decode.potentials.options import RewardRequestError
from smc_decode.workers.pool import TaskDied, WorkerPool
from tests.potentials.answers import answer

PROMPT = 'def f(x):\n    """The square.\n\n    >>> f((2, 3))\n    (4, 9)\n    """\n'
FILLER = "# a line that says nothing\n" * 100
BODY = "    return tuple(each * each for each in x)\n"
CHECK = "def check(candidate):\n    assert candidate((1,)) == (1,)\n"


class Counting:
    """Worker processes, with a count of what they did."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self.tasks: list[str] = []

    def call(self, task: str, seconds: float, **args: Any) -> Any:
        self.tasks.append(task)
        return self._pool.call(task, seconds, **args)

    async def acall(self, task: str, seconds: float, **args: Any) -> Any:
        self.tasks.append(task)
        return await self._pool.acall(task, seconds, **args)


class Overrun:
    def call(self, task: str, seconds: float, **args: Any) -> Any:
        raise TaskDied("it took too long")

    async def acall(self, task: str, seconds: float, **args: Any) -> Any:
        raise TaskDied("it took too long")


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool(1)
    yield made
    made.close()


def test_what_clients_sent_reads_the_same_in_a_worker(pool: WorkerPool) -> None:
    workers = Counting(pool)
    here, there = CodeReader(), CodeReader(workers)
    long = PROMPT + FILLER
    assert there.task(long, None, []) == here.task(long, None, [])
    assert there.examples([long], "f", 4) == here.examples([long], "f", 4)
    assert [call.args for call in there.examples([long], "f", 4)[1]]
    for tests in (
        [CHECK + FILLER],
        ["assert f(1) == 1", "assert 1 == 1" + FILLER],
        ["def (" + FILLER],
        ["x" * 150_000],
    ):
        assert there.refused(tests, "f", "") == here.refused(tests, "f", "")
    assert set(workers.tasks) == {"code_task", "examples", "refused_tests"}


async def test_answers_read_the_same_in_a_worker_and_stay_in_their_order(pool: WorkerPool) -> None:
    workers = Counting(pool)
    batch = [
        answer(text, finished) for text in (BODY, FILLER + BODY, "    x +\n", FILLER * 2) for finished in (True, False)
    ]
    asked = {"prompt": PROMPT, "lead": "", "entry_point": "f", "chat": False}
    assert await CodeReader(workers).programs(batch, **asked) == await CodeReader().programs(batch, **asked)  # type: ignore[arg-type]
    assert workers.tasks == ["program"] * 4


def test_short_texts_need_no_worker() -> None:
    assert CodeReader(Overrun()).task(PROMPT, None, []) == (PROMPT, "f", (), False)
    assert len(PROMPT) < SHORT


async def test_code_that_takes_too_long_is_the_clients_or_the_candidates_fault() -> None:
    reader = CodeReader(Overrun())
    with pytest.raises(RewardRequestError, match="within the limits"):
        reader.task(PROMPT + FILLER, None, [])
    [program] = await reader.programs([answer(FILLER, True)], prompt=PROMPT, lead="", entry_point="f", chat=False)
    assert not program.syntax
    assert not program.runnable
