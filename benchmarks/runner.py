"""Runs methods on problems, several at a time to fill the engine, and writes each result when it is there."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .marking import Marker
from .methods import Method
from .problems import Benchmark, Problem, PromptForm
from .progress import Watch
from .prompts import make_prompt
from .records import RunWriter
from .solvers import Outcome, RewardSpec, Solver

HIDDEN_TESTS = "hidden-tests"
SEQUENCES = 64
"""How many sequences the runs that go on at a time should have together."""


class RewardNameError(ValueError):
    """A reward that the benchmark does not have."""


@dataclass(frozen=True)
class Job:
    """One run."""

    method: Method
    problem: Problem
    repeat: int

    @property
    def key(self) -> tuple[str, str, int]:
        return self.method.label, self.problem.id, self.repeat


@dataclass(frozen=True)
class Task:
    """What is the same for all jobs of a file."""

    benchmark: Benchmark
    form: PromptForm
    reward: str
    reward_params: Mapping[str, Any]
    seed: int
    max_tokens: int
    keep_texts: bool = False
    own_rewards: Mapping[str, Any] = field(default_factory=dict)
    """The [rewards.NAME] tables of the user's file."""


def reward_for(problem: Problem, task: Task) -> RewardSpec | None:
    """The reward of a problem. ``hidden-tests`` is the one that sees the reference. Raises RewardNameError."""
    if task.reward in task.own_rewards:
        return RewardSpec(task.reward, task.reward_params)
    name = task.reward.replace("-", "_")
    if name == "none":
        return None
    if name != "hidden_tests" and problem.kind != "code":
        return RewardSpec(name, task.reward_params)
    if problem.kind != "code":
        raise RewardNameError("hidden-tests is a reward of code problems only")
    if problem.parts and name == "hidden_tests":
        raise RewardNameError("hidden-tests is a reward of single functions: modules have prompt-examples")
    # Of a module the functions that are complete say enough: to run each prefix of each would take most of the time.
    params: dict[str, Any] = {**({"run_prefixes": False} if problem.parts else {}), **task.reward_params}
    if name in ("hidden_tests", "unit_tests", "prompt_examples"):
        params |= {
            "prompt": problem.question.rstrip() if task.form == "completion" else problem.question,
            "entry_point": problem.entry_point or None,
            "answer": "message" if task.form == "chat" else "continuation",
        }
    if name == "hidden_tests":
        return RewardSpec("unit_tests", params | {"test": problem.reference})
    if name == "unit_tests":
        raise RewardNameError("unit_tests needs tests: say hidden-tests for the hidden ones, or prompt-examples")
    return RewardSpec(name, params)


def run_seed(seed: int, problem: str, repeat: int) -> int:
    """A problem's seed: the same for every method, whatever else is run."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{problem}/{repeat}".encode(), digest_size=6).digest(), "big")


def jobs_of(methods: Sequence[Method], problems: Sequence[Problem], repeats: int) -> list[Job]:
    """Problem by problem, so that a run that is stopped early has the same problems for every method."""
    return [Job(method, problem, repeat) for problem in problems for repeat in range(repeats) for method in methods]


async def run_jobs(
    jobs: Iterable[Job],
    task: Task,
    solver: Solver,
    marker: Marker,
    writer: RunWriter,
    watch: Watch,
    *,
    parallel: int | None = None,
    time_limit: float | None = None,
    engines: int = 1,
) -> bool:
    """Do what is not done yet; whether all of it is done now. Errors of the engine or of a reward end the run.

    ``engines``: that share the work; each gets ``SEQUENCES``, unless ``parallel`` says how many runs go on in all."""
    waiting = [job for job in jobs if job.key not in writer.done]
    watch.plan(waiting, writer.records)
    deadline = None if time_limit is None else time.monotonic() + time_limit
    room = _Room(SEQUENCES * engines if parallel is None else 0, parallel)

    async def do(job: Job) -> None:
        try:
            record = await solve(job, task, solver, marker)
        finally:
            room.leave(job)
        writer.add(record)
        watch.done(record)

    begun = 0
    async with asyncio.TaskGroup() as group:
        for job in waiting:
            await room.enter(job)
            if deadline is not None and time.monotonic() > deadline:
                room.leave(job)
                break
            group.create_task(do(job))
            begun += 1
    return begun == len(waiting)


class _Room:
    """Lets runs in while there is room: for ``parallel`` of them, or for so many sequences together."""

    def __init__(self, sequences: int, parallel: int | None) -> None:
        self._sequences, self._parallel = sequences, parallel
        self._runs = self._used = 0
        self._changed = asyncio.Condition()
        self._loop_tasks: set[asyncio.Task[None]] = set()

    def _size(self, job: Job) -> int:
        return job.method.width

    def _fits(self, job: Job) -> bool:
        if self._parallel is not None:
            return self._runs < self._parallel
        return self._runs == 0 or self._used + self._size(job) <= self._sequences

    async def enter(self, job: Job) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._fits(job))
            self._runs += 1
            self._used += self._size(job)

    def leave(self, job: Job) -> None:
        self._runs -= 1
        self._used -= self._size(job)
        task = asyncio.get_running_loop().create_task(self._tell())
        self._loop_tasks.add(task)
        task.add_done_callback(self._loop_tasks.discard)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def solve(job: Job, task: Task, solver: Solver, marker: Marker) -> dict[str, Any]:
    """One line of the results: solve the problem, then mark the population."""
    seed = run_seed(task.seed, job.problem.id, job.repeat)
    outcome = await solver.solve(
        make_prompt(job.problem, task.form),
        job.method,
        reward_for(job.problem, task),
        seed=seed,
        max_tokens=task.max_tokens,
        extractor=task.benchmark.extractor,
    )
    marks = await marker.mark(job.problem, [answer.text for answer in outcome.answers], task.form)
    return record_of(job, seed, outcome, marks, keep_texts=task.keep_texts)


def record_of(job: Job, seed: int, outcome: Outcome, marks: Sequence[float], *, keep_texts: bool) -> dict[str, Any]:
    """The line: the answer's mark (``passed``: a mark of 1; ``share``: of a module, the functions that are right), what
    each selection rule would have got, the account, and the population."""
    chosen = outcome.chosen
    population = [
        {
            "weight": round(answer.weight, 6),
            "reward": None if answer.reward is None else round(answer.reward, 6),
            "tokens": answer.tokens,
            "finish": answer.finish,
            "passed": mark == 1.0,
            **({"share": round(mark, 4)} if job.problem.parts else {}),
            **({"text": answer.text} if keep_texts else {}),
        }
        for answer, mark in zip(outcome.answers, marks, strict=True)
    ]
    rules = {
        name: round(sum(share * (mark == 1.0) for share, mark in zip(shares, marks, strict=True)), 6)
        for name, shares in outcome.rules.items()
    }
    return {
        "method": job.method.label,
        "spec": job.method.spec,
        "n": job.method.n_particles,
        "problem": job.problem.id,
        "repeat": job.repeat,
        "seed": seed,
        "passed": chosen is not None and marks[chosen] == 1.0,
        **({"share": 0.0 if chosen is None else round(marks[chosen], 4)} if job.problem.parts else {}),
        "reward": None if chosen is None else outcome.answers[chosen].reward,
        "text": "" if chosen is None else outcome.answers[chosen].text,
        "rules": rules,
        "account": asdict(outcome.account) | {"drawn": outcome.account.drawn},
        "failure": outcome.failure,
        **outcome.numbers,
        "population": population,
    }


def pilot_particles(records: Sequence[Mapping[str, Any]], methods: Sequence[Method], n: int) -> dict[str, int]:
    """How many particles each method may have for the tokens of ``n`` plain samples, from what a pilot drew.

    A plain sample's tokens are those of the cheapest method per particle.
    """
    cost = {}
    for method in methods:
        drawn = [record["account"]["drawn"] for record in records if record["method"] == method.label]
        if not drawn:
            raise ValueError(f"the pilot has nothing of {method.label}")
        cost[method.spec] = max(sum(drawn) / len(drawn) / method.n_particles, 1.0)
    plain = min(cost.values())
    return {spec: max(1, round(n * plain / each)) for spec, each in cost.items()}
