"""Worker processes: tasks that overrun or die take their worker with them, and nothing else."""

from __future__ import annotations

import subprocess

import pytest

from smc_decode.potentials import RewardFailure
from smc_decode.potentials.options import MissingExtra
from smc_decode.workers import pool as workers
from smc_decode.workers.pool import TaskDied, TaskError, WorkerPool


@pytest.fixture
def pool():
    made = WorkerPool(1)
    yield made
    made.close()


def test_a_task_that_takes_too_long_is_killed_and_the_next_one_runs(pool):
    with pytest.raises(TaskDied):
        pool.call("pattern", 0.2, pattern="(a|aa)+$", text="a" * 60 + "b", search=False, patience=60)
    assert pool.call("pattern", 5, pattern="a+", text="aa", search=False, patience=1) == "full"


def test_an_error_of_a_task_is_told(pool):
    with pytest.raises(TaskError, match="error"):
        pool.call("pattern", 5, pattern="(", text="", search=False, patience=1)


def test_a_worker_that_does_not_start_is_our_failure(monkeypatch):
    monkeypatch.setattr(workers, "TASKS", "/nonexistent")
    with pytest.raises(RewardFailure, match="does not start"):
        WorkerPool(1).call("pattern", 5, pattern="a", text="", search=False, patience=1)


def test_a_missing_library_names_the_extra(pool, monkeypatch):
    monkeypatch.setitem(workers.MODULES, "pattern", ("no_such_module",))
    with pytest.raises(MissingExtra, match=r"smc-decode\[rewards\]"):
        pool.call("pattern", 5, pattern="a", text="", search=False, patience=1)


def test_a_closed_pool_leaves_no_process(pool, monkeypatch):
    started: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def popen(*args, **kwargs):
        started.append(real(*args, **kwargs))
        return started[-1]

    monkeypatch.setattr(workers.subprocess, "Popen", popen)
    pool.call("pattern", 5, pattern="a", text="a", search=False, patience=1)
    pool.close()
    pool.close()
    assert [process.poll() for process in started] == [-9]
    with pytest.raises(RewardFailure):
        pool.call("pattern", 5, pattern="a", text="a", search=False, patience=1)
