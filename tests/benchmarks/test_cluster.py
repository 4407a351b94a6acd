"""Problems as tasks of a cluster."""

from __future__ import annotations

import asyncio
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.cluster import ClusterSolver, Worker
from benchmarks.methods import parse_method
from benchmarks.prompts import Prompt
from benchmarks.records import read_run
from benchmarks.session import run_benchmark
from benchmarks.settings import SettingsError
from benchmarks.solvers import EngineSolver, Outcome, Solver, SolverError
from tests.benchmarks.toy import TextMarker, engine, settings

BASE = parse_method("base")


class Handle:
    """What Ray makes of an actor, in this process: ``method.remote()`` gives what can be awaited."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        return type("Method", (), {"remote": staticmethod(getattr(self._actor, name))})


async def toy() -> tuple[Solver, dict[str, Any]]:
    return EngineSolver(engine(), None), {"model": "table", "digest": "none", "engine": "table"}


async def solve(solver: Any, seed: int) -> Outcome:
    made = await solver.solve(Prompt("x", None), BASE, None, seed=seed, max_tokens=40, extractor="boxed")
    assert isinstance(made, Outcome)
    return made


async def test_an_answer_is_the_one_that_an_engine_here_gives() -> None:
    here, _ = await toy()
    cluster = ClusterSolver([Handle(Worker(toy)), Handle(Worker(toy))])
    for seed in range(4):
        assert (await solve(cluster, seed)).answers == (await solve(here, seed)).answers
    await cluster.close()


async def test_each_problem_goes_to_the_engine_with_the_fewest() -> None:
    given = []

    class Slow:
        def __init__(self, name: int) -> None:
            self.name = name

        async def solve(self, *_: Any, **options: Any) -> Outcome:
            given.append(self.name)
            await go.wait()
            return await (await toy())[0].solve(*_, **options)

    go = asyncio.Event()
    cluster = ClusterSolver([Handle(Slow(name)) for name in range(3)])
    asked = [asyncio.create_task(cluster.solve(Prompt("x", None), BASE, None, seed=0, max_tokens=1, extractor="boxed"))
             for _ in range(6)]  # fmt: skip
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(*asked)
    assert given == [0, 1, 2, 0, 1, 2]


async def test_many_problems_wait_for_one_engine() -> None:
    made = []

    async def slow() -> tuple[Solver, dict[str, Any]]:
        made.append(1)
        await asyncio.sleep(0)
        return await toy()

    worker = Worker(slow)
    await asyncio.gather(*(solve(worker, seed) for seed in range(5)))
    assert made == [1]


async def test_an_engine_that_fails_ends_the_run_with_its_reason() -> None:
    async def broken() -> tuple[Solver, dict[str, Any]]:
        raise OSError("no such model")

    with pytest.raises(SolverError, match="OSError: no such model"):
        await ClusterSolver([Handle(Worker(broken))]).model()


async def test_nodes_with_different_models_are_refused() -> None:
    async def other() -> tuple[Solver, dict[str, Any]]:
        return (await toy())[0], {"model": "table", "digest": "another", "engine": "table"}

    with pytest.raises(SolverError, match="different models"):
        await ClusterSolver([Handle(Worker(toy)), Handle(Worker(other))]).model()
    model = await ClusterSolver([Handle(Worker(toy)), Handle(Worker(toy))]).model()
    assert model == {"model": "table", "digest": "none", "engine": "table", "engines": 2}


def test_a_server_has_an_engine_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="ray"):
        settings(tmp_path, ray="local", base_url="http://127.0.0.1:1/v1")


async def test_a_run_in_a_cluster_is_continued_without_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are those of a run in one process, in one file, which either goes on with."""

    async def connect(address: str, make: Any, engines: int | None) -> ClusterSolver:
        assert (address, engines) == ("head:6379", 2)
        return ClusterSolver([Handle(Worker(toy)), Handle(Worker(toy))])

    monkeypatch.setattr(ClusterSolver, "connect", connect)
    (tmp_path / "alone").mkdir()
    options: dict[str, Any] = {"methods": ["base"], "reward": "none"}
    alone = settings(tmp_path / "alone", **options)
    quiet = Console(file=StringIO())
    assert await run_benchmark(alone, quiet, engine=engine(), marker=TextMarker())
    first = settings(tmp_path, limit=2, ray="head:6379", ray_engines=2, **options)
    assert await run_benchmark(first, quiet, marker=TextMarker())
    rest = settings(tmp_path, resume=True, **options)
    assert await run_benchmark(rest, quiet, engine=engine(), marker=TextMarker())
    texts = [{each["problem"]: each["text"] for each in read_run(given.out).records} for given in (alone, rest)]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 4


@pytest.mark.filterwarnings("ignore")  # Ray's own
async def test_an_engine_that_is_lost_is_started_anew_and_its_problems_are_solved() -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'smc-decode[ray]'")
    cluster = await ClusterSolver.connect("local", toy, 2)
    try:
        assert (await cluster.model())["engines"] == 2
        here, _ = await toy()
        asked = [asyncio.create_task(solve(cluster, seed)) for seed in range(6)]
        await asyncio.sleep(0)
        ray.kill(cluster._workers[0], no_restart=False)
        answers = [each.answers for each in await asyncio.gather(*asked)]
        assert answers == [(await solve(here, seed)).answers for seed in range(6)]
    finally:
        await cluster.close()
    assert not ray.is_initialized()
