"""The load client, against the server in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from rich.console import Console

from benchmarks.load import Answered, Load, Memory, Report, groups, run, show, tree_bytes
from server.app import create_app
from server.settings import ServerSettings
from tests.server.toy import SlowEngine, toy_engine


def load(**fields: object) -> Load:
    values = {
        "connections": 4,
        "seconds": 0.3,
        "presets": ("base", "smc"),
        "max_tokens": 6,
        "api_key": "",
        "every": 0.1,
    }
    return Load("http://127.0.0.1/v1", **{**values, **fields})  # type: ignore[arg-type]


def app(engine: object) -> httpx.ASGITransport:
    application = create_app(engine, None, ServerSettings(served_model_name=("toy",)))  # type: ignore[arg-type]
    return httpx.ASGITransport(app=application, raise_app_exceptions=False)


async def test_whole_and_streamed_answers_of_every_preset_are_counted() -> None:
    report = await run(load(), transport=app(toy_engine()))
    assert not report.failures
    *kinds, everything = groups(report)
    assert [group.name for group in kinds] == ["base, whole", "base, streamed", "smc, whole", "smc, streamed"]
    assert everything.requests == sum(group.requests for group in kinds) == len(report.answered)
    assert everything.answer_tokens_per_s > 0
    assert everything.drawn_tokens_per_s > everything.answer_tokens_per_s
    assert report.memory
    assert report.memory[0].server > 0


async def test_what_fails_is_told_by_its_kind() -> None:
    engine = SlowEngine(0.0)
    engine.dead = True
    report = await run(load(presets=("base",)), transport=app(engine))
    assert set(report.failures) == {"status 503", "engine_unavailable"}
    assert groups(report)[-1].failed == len(report.answered)


def test_memory_growth_leaves_the_first_minute_out(capsys: pytest.CaptureFixture[str]) -> None:
    mib = 1 << 20
    looks = [Memory(at, (100 + min(at, 60)) * mib, 500 * mib) for at in range(10, 310, 10)]
    report = Report(load(), 300, [Answered("base", False, 0.5, failure="status 500")], looks)
    assert report.growth() == (0.0, 0.0)
    show(report, Console())
    assert "status 500" in capsys.readouterr().out
    assert Report(load(), memory=looks[:4]).growth() is None
    assert report.as_json()["failures"] == {"status 500": 1}


@pytest.fixture
def child() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        process.communicate(b"\n")


def test_a_processs_memory_is_told_with_that_of_its_children(child: int) -> None:
    if not os.path.exists("/proc/self/status"):
        pytest.skip("needs Linux's /proc")
    assert 0 < tree_bytes(child) < tree_bytes(os.getpid())
    assert tree_bytes(2**22 + 1) == 0
