"""From settings to a file of results and its reports."""

from __future__ import annotations

import asyncio
import functools
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from smc_decode.engines.base import Engine
from smc_decode.engines.bundled_model import BUNDLED_MODEL, resolve_model
from smc_decode.potentials.catalogue import RewardCatalogue
from smc_decode.sandbox import Sandbox, SandboxUnavailable

from .cluster import ClusterSolver
from .marking import Marker, Marking
from .methods import Method, plan
from .problems import Problem, choose
from .progress import Watch
from .prompts import make_prompt
from .provenance import commit, machine, model_digest, versions
from .records import RunWriter
from .report import write_reports
from .runner import HIDDEN_TESTS, Task, jobs_of, pilot_particles, reward_for, run_jobs
from .settings import Settings, SettingsError
from .shared_draws import SharedDraws
from .solvers import EngineSolver, ServerSolver, Solver
from .suites import BENCHMARKS

CONTEXT = 4096
"""Tokens of prompt and answer that an engine of ours is started for, unless ``engine.max_model_len`` says more."""


async def run_benchmark(
    settings: Settings, console: Console, *, engine: Engine | None = None, marker: Marker | None = None
) -> bool:
    """Run all that is not done yet and write the reports; whether everything is done.

    ``engine``, ``marker``: stand in for vLLM and the sandbox. Raises SettingsError, DataError, MethodError,
    RecordsError, SolverError, and what the engine, a reward or the sandbox raises when it fails.
    """
    if settings.benchmark not in BENCHMARKS:
        raise SettingsError(f"benchmark: unknown {settings.benchmark!r}; allowed: {', '.join(BENCHMARKS)}")
    benchmark = BENCHMARKS[settings.benchmark]
    problems = choose(benchmark.load(settings.data), start=settings.start, every=settings.every, limit=settings.limit)
    if not problems:
        raise SettingsError("no problems are left: check start, every and limit")
    task = Task(
        benchmark,
        settings.prompt_form or benchmark.prompt_form,
        settings.reward or benchmark.reward,
        settings.reward_params,
        settings.seed,
        settings.max_tokens or benchmark.max_tokens,
        settings.keep_texts,
        _own_rewards(settings),
    )
    methods = plan(settings.methods, settings.particles, settings.budgets)
    reward_for(problems[0], task)  # an unknown reward should fail before a model is loaded
    sandbox = _sandbox(problems)
    marker = marker or Marking(sandbox)
    solver, model = await _solver(settings, task, sandbox, engine, console)
    engines = len(solver) if isinstance(solver, ClusterSolver) else 1
    try:
        if settings.equal == "tokens":
            methods = await _equal_tokens(settings, methods, problems, task, solver, marker, model, console)
        header = _header(settings, task, methods, problems, model)
        with RunWriter(settings.out, header, resume=settings.resume) as writer, Watch(console) as watch:
            finished = await run_jobs(
                jobs_of(methods, problems, settings.repeats), task, solver, marker, writer, watch,
                parallel=settings.parallel, time_limit=settings.time_limit, engines=engines,
            )  # fmt: skip
    finally:
        marker.close()
        await solver.close()
        if sandbox is not None:
            sandbox.close()
    write_reports([settings.out], settings.out.with_suffix(""))
    return finished


async def _equal_tokens(
    settings: Settings,
    methods: Sequence[Method],
    problems: Sequence[Problem],
    task: Task,
    solver: Solver,
    marker: Marker,
    model: dict[str, Any],
    console: Console,
) -> list[Method]:
    """The methods with as many particles as a pilot says that they can afford. The pilot has a file of its own."""
    some = problems[:: max(1, len(problems) // settings.pilot)][: settings.pilot]
    path = settings.out.with_suffix(".pilot.jsonl")
    header = _header(settings, task, methods, some, model)
    with RunWriter(path, header, resume=settings.resume) as writer, Watch(console) as watch:
        await run_jobs(jobs_of(methods, some, 1), task, solver, marker, writer, watch, parallel=settings.parallel)
        afford = pilot_particles(writer.records, methods, settings.particles)
    return [method.with_particles(afford[method.spec]) for method in methods]


def _sandbox(problems: Sequence[Problem]) -> Sandbox | None:
    if problems[0].kind != "code":
        return None
    try:
        return Sandbox()
    except SandboxUnavailable as error:
        raise SettingsError(f"programs are run in the sandbox only, and none works here: {error}") from error


def _own_rewards(settings: Settings) -> Mapping[str, Any]:
    """The tables of the user's file, checked before a model is loaded. Raises SettingsError, RewardConfigError."""
    if settings.rewards is None:
        return {}
    if settings.base_url is not None:
        raise SettingsError("rewards: a server has rewards of its own; define them in its configuration")
    try:
        tables = tomllib.loads(settings.rewards.read_text(encoding="utf-8")).get("rewards", {})
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{settings.rewards}: {error}") from error
    RewardCatalogue.from_toml({"rewards": tables})
    return {name: table for name, table in tables.items() if isinstance(table, Mapping)}


async def _solver(
    settings: Settings, task: Task, sandbox: Sandbox | None, engine: Engine | None, console: Console
) -> tuple[Solver, dict[str, Any]]:
    """Who solves, and what the header says of the model."""
    if settings.base_url is not None:
        server = ServerSolver(settings.base_url, settings.model)
        return server, {"model": await server.model(), "digest": "server", "engine": "server"}
    if settings.ray is not None:
        make = functools.partial(engine_solver, settings, task.own_rewards, sandboxed=sandbox is not None)
        cluster = await ClusterSolver.connect(settings.ray, make, settings.ray_engines)
        try:
            return cluster, await cluster.model()
        except BaseException:
            await cluster.close()
            raise
    return await _engine_solver(settings, task.own_rewards, sandbox, engine, console)


async def engine_solver(
    settings: Settings, own_rewards: Mapping[str, Any], *, sandboxed: bool
) -> tuple[Solver, dict[str, Any]]:
    """An engine in this process with a sandbox of its own, for a node of a cluster."""
    sandbox = Sandbox() if sandboxed else None
    try:
        solver, model = await _engine_solver(settings, own_rewards, sandbox, None, Console(stderr=True))
    except BaseException:
        if sandbox is not None:
            sandbox.close()
        raise
    return _Boxed(solver, sandbox), model


class _Boxed:
    """A solver that ends its sandbox too."""

    def __init__(self, solver: Solver, sandbox: Sandbox | None) -> None:
        self.solve = solver.solve
        self._solver, self._sandbox = solver, sandbox

    async def close(self) -> None:
        await self._solver.close()
        if self._sandbox is not None:
            self._sandbox.close()


async def _engine_solver(
    settings: Settings,
    own_rewards: Mapping[str, Any],
    sandbox: Sandbox | None,
    engine: Engine | None,
    console: Console,
) -> tuple[Solver, dict[str, Any]]:
    if engine is None:
        engine, model = await _vllm(settings)
    else:
        model = {"model": engine.info.model, "digest": "none", "engine": engine.info.name}
    catalogue = RewardCatalogue.from_toml(
        {"rewards": own_rewards}, sandbox=sandbox, engine=engine, allow_client_tests=True
    )
    try:
        await catalogue.start(lambda text: console.print(text, highlight=False))
    except BaseException:
        await catalogue.aclose()
        await engine.shutdown()
        raise
    return EngineSolver(SharedDraws(engine), catalogue), model


async def _vllm(settings: Settings) -> tuple[Engine, dict[str, Any]]:
    from smc_decode.engines.vllm.engine import VLLMEngine, VLLMSettings

    path = resolve_model(settings.model)
    try:
        options = VLLMSettings(**{"model": path, "max_model_len": CONTEXT, **settings.engine})
    except (TypeError, ValueError) as error:
        raise SettingsError(f"engine: {error}") from error
    name = BUNDLED_MODEL if settings.model is None else settings.model
    digest = await asyncio.to_thread(model_digest, path)
    shown = Path(path).name if Path(path).is_dir() else name
    return await VLLMEngine.create(options), {"model": shown, "digest": digest, "engine": "vllm"}


def _without_secrets(table: Mapping[str, Any]) -> dict[str, Any]:
    """A reward's table as a report may show it: headers can hold keys."""
    return {key: value for key, value in table.items() if key != "headers"}


def _header(
    settings: Settings, task: Task, methods: Sequence[Method], problems: Sequence[Problem], model: dict[str, Any]
) -> dict[str, Any]:
    has_reward = task.reward != "none"
    stop = make_prompt(problems[0], task.form).stop
    return {
        **model,
        "benchmark": task.benchmark.name,
        "prompt_form": task.form,
        "reward": task.reward,
        "reward_params": dict(task.reward_params),
        "rewards": {name: _without_secrets(table) for name, table in task.own_rewards.items()} or None,
        "reward_saw_the_tests": task.reward.replace("_", "-") == HIDDEN_TESTS,
        "seed": task.seed,
        "max_tokens": task.max_tokens,
        "stop": list(stop),
        "problems": len(problems),
        "selection": {"start": settings.start, "every": settings.every, "limit": settings.limit},
        "repeats": settings.repeats,
        "equal": settings.equal,
        "methods": {
            method.label: method.config(
                reward=has_reward, max_tokens=task.max_tokens, stop=stop, extractor=task.benchmark.extractor
            ).model_dump(mode="json")
            for method in methods
        },
        "published": settings.published,
        "note": settings.note,
        "versions": versions(),
        "machine": machine(),
        "commit": commit(),
    }
