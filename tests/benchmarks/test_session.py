"""Whole runs on a model without weights."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from io import StringIO

import pytest
from rich.console import Console

from benchmarks.records import RecordsError, read_run
from benchmarks.runner import RewardNameError, run_seed
from benchmarks.session import run_benchmark
from benchmarks.settings import SettingsError
from smc_decode.potentials.options import RewardConfigError
from tests.benchmarks.toy import TextMarker, engine, settings

pytestmark = pytest.mark.usefixtures("sandbox_works")


@pytest.fixture(scope="module")
def sandbox_works():
    from smc_decode.sandbox import Sandbox, SandboxUnavailable

    try:
        Sandbox().close()
    except SandboxUnavailable as error:
        pytest.skip(str(error))


def quiet():
    return Console(file=StringIO())


async def test_a_run_writes_every_problem_of_every_method_and_its_account(tmp_path):
    given = settings(tmp_path)
    assert await run_benchmark(given, quiet(), engine=engine())
    run = read_run(given.out)
    assert Counter(record["method"] for record in run.records) == {"best-of-n N=4": 4, "smc:block_size=8 N=4": 4}
    record = run.records[0]
    assert record["account"]["drawn"] == sum(particle["tokens"] for particle in record["population"])
    assert record["account"]["kept"] + record["account"]["dropped"] == record["account"]["drawn"]
    assert record["account"]["reward_calls"] > 0
    assert record["seed"] == run_seed(0, record["problem"], 0)
    assert set(record["rules"]) == {"sample", "best", "vote"}
    assert all(record["passed"] == ("x + 1" in record["text"]) for record in run.records)
    assert run.header["reward_saw_the_tests"] is False
    assert given.out.with_suffix(".md").exists()
    assert given.out.with_suffix(".html").exists()


async def test_the_reward_is_what_makes_best_of_n_better(tmp_path):
    given = settings(tmp_path, methods=["best-of-n"], particles=16)
    await run_benchmark(given, quiet(), engine=engine())
    assert all(record["passed"] for record in read_run(given.out).records)


async def test_the_same_seed_gives_the_same_results(tmp_path):
    for name in ("a", "b"):
        await run_benchmark(settings(tmp_path, out=tmp_path / name), quiet(), engine=engine())
    first, second = ({r["problem"] + r["method"]: r["text"] for r in read_run(tmp_path / n).records} for n in "ab")
    assert first == second


async def test_hidden_tests_as_reward_are_said_in_the_report(tmp_path):
    given = settings(tmp_path, reward="hidden-tests")
    await run_benchmark(given, quiet(), engine=engine())
    assert "the reward saw the hidden tests" in given.out.with_suffix(".md").read_text()


async def test_equal_tokens_gives_each_method_what_it_can_afford(tmp_path):
    given = settings(
        tmp_path,
        methods=["best-of-n", "smc:block_size=4:lookahead.rollouts=4:lookahead.start=0"],
        particles=16,
        equal="tokens",
        pilot=2,
    )
    await run_benchmark(given, quiet(), engine=engine(), marker=TextMarker())
    sizes = {record["spec"]: record["n"] for record in read_run(given.out).records}
    assert sizes["best-of-n"] == 16
    assert 1 <= sizes["smc:block_size=4:lookahead.rollouts=4:lookahead.start=0"] < 16


async def test_a_time_limit_begins_nothing_more_and_resume_goes_on(tmp_path):
    given = settings(tmp_path, time_limit=1e-9)
    assert not await run_benchmark(given, quiet(), engine=engine())
    assert read_run(given.out).records == []
    assert await run_benchmark(settings(tmp_path, resume=True), quiet(), engine=engine())
    assert len(read_run(given.out).records) == 8


async def test_an_unknown_reward_fails_before_anything_runs(tmp_path):
    with pytest.raises(RewardNameError, match="hidden-tests"):
        await run_benchmark(settings(tmp_path, reward="unit-tests"), quiet(), engine=engine())
    with pytest.raises(SettingsError, match="allowed: humaneval"):
        await run_benchmark(settings(tmp_path, benchmark="mbpp"), quiet(), engine=engine())
    assert not (tmp_path / "run.jsonl").exists()


async def test_a_finished_file_is_not_run_again(tmp_path):
    given = settings(tmp_path)
    await run_benchmark(given, quiet(), engine=engine())
    with pytest.raises(RecordsError, match="--resume"):
        await run_benchmark(given, quiet(), engine=engine())


CHILD = textwrap.dedent(
    """
    import asyncio, signal, sys
    from pathlib import Path
    from rich.console import Console
    from benchmarks.session import run_benchmark
    from tests.benchmarks.toy import TextMarker, engine, settings

    class Stuck(TextMarker):
        marked = 0
        async def mark(self, problem, texts, form):
            Stuck.marked += 1
            if Stuck.marked > 3:
                await asyncio.sleep(600)
            return await super().mark(problem, texts, form)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background begins without it
    given = settings(Path(sys.argv[1]), parallel=2)
    try:
        asyncio.run(run_benchmark(given, Console(stderr=True), engine=engine(), marker=Stuck()))
    except KeyboardInterrupt:
        sys.exit(130)
    """
)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
async def test_a_run_that_was_ended_goes_on_without_losing_or_repeating_a_problem(tmp_path, end):
    out = tmp_path / "run.jsonl"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stderr=subprocess.DEVNULL, cwd=os.getcwd())
    try:
        deadline = time.monotonic() + 60
        while not out.exists() or out.read_bytes().count(b'"kind":"result"') < 3:
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(child.pid, end)
        assert child.wait(30) == (130 if end == signal.SIGINT else -signal.SIGKILL)
    finally:
        child.kill()
        child.wait()
    before = [(record["method"], record["problem"]) for record in read_run(out).records]
    assert len(before) == 3
    assert await run_benchmark(settings(tmp_path, resume=True), quiet(), engine=engine(), marker=TextMarker())
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    keys = [(line["method"], line["problem"]) for line in lines if line["kind"] == "result"]
    assert keys[:3] == before
    assert len(keys) == len(set(keys)) == 8


OWN = """
[rewards.adds-one]
source = "regex"
pattern = 'x \\+ 1'
match = "search"
"""


async def test_a_reward_of_the_users_file_is_used_and_written_into_the_results(tmp_path):
    own = tmp_path / "rewards.toml"
    own.write_text(OWN)
    given = settings(tmp_path, methods=["best-of-n"], particles=16, reward="adds-one", rewards=own)
    await run_benchmark(given, quiet(), engine=engine())
    run = read_run(given.out)
    assert all(record["passed"] for record in run.records)
    assert run.header["rewards"] == {"adds-one": {"source": "regex", "pattern": r"x \+ 1", "match": "search"}}
    own.write_text(OWN.replace("+ 1", "+ 2"))
    with pytest.raises(RecordsError, match="another rewards"):
        await run_benchmark(given.model_copy(update={"resume": True}), quiet(), engine=engine())


@pytest.mark.parametrize(
    ("text", "more", "says"),
    [
        ("[rewards.mine]\nsource = 'none'", {}, "rewards.mine.source"),
        ("[rewards", {}, "rewards.toml"),
        ("", {"base_url": "http://127.0.0.1:9/v1"}, "a server has rewards of its own"),
    ],
)
async def test_a_file_of_rewards_that_cannot_be_used_is_refused_at_once(tmp_path, text, more, says):
    (tmp_path / "rewards.toml").write_text(text)
    with pytest.raises((SettingsError, RewardConfigError), match=says):
        await run_benchmark(settings(tmp_path, rewards=tmp_path / "rewards.toml", **more), quiet(), engine=engine())
