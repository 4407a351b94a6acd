"""The command line that the benchmarks share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from smc_decode.engines.base import EngineError, EngineRequestError
from smc_decode.engines.bundled_model import ModelError
from smc_decode.potentials.base import PotentialError, RewardFailure
from smc_decode.potentials.options import RewardConfigError, RewardRequestError

from .marking import MarkingError
from .methods import DEFAULT_METHODS, MethodError
from .problems import Benchmark, DataError
from .records import RecordsError
from .runner import RewardNameError
from .session import run_benchmark
from .settings import Settings, SettingsError, make_settings, read_recipe
from .solvers import SolverError

EXPECTED = (
    DataError, MarkingError, MethodError, RecordsError, RewardNameError, SettingsError, SolverError, ModelError,
    EngineError, EngineRequestError, PotentialError, RewardConfigError, RewardFailure, RewardRequestError,
)  # fmt: skip
console = Console(stderr=True)


def command(benchmark: Benchmark) -> Callable[..., None]:
    """The command of one benchmark."""

    def main(
        methods: Annotated[
            str, typer.Option(help="Presets, with commas; smc:alpha=4:lookahead.rollouts=1 sets fields.")
        ] = ",".join(DEFAULT_METHODS),
        particles: Annotated[int, typer.Option(help="N of the methods that have particles.", min=1)] = 16,
        budgets: Annotated[str, typer.Option(help="Run every method at each of these N, such as 1,2,4,8,16.")] = "",
        equal: Annotated[
            str, typer.Option(help="particles, or tokens: N from a pilot, so that tokens are equal.")
        ] = "particles",
        start: Annotated[int, typer.Option(help="Leave out the first problems.", min=0)] = 0,
        every: Annotated[int, typer.Option(help="Every K-th problem only.", min=1)] = 1,
        limit: Annotated[int | None, typer.Option(help="At most so many problems.", min=1)] = None,
        repeats: Annotated[int, typer.Option(help="Runs of each problem, with different seeds.", min=1)] = 1,
        seed: Annotated[int, typer.Option(help="From which each problem's seed is made.")] = 0,
        model: Annotated[
            str | None, typer.Option(help="Folder or Hugging Face name; default: the bundled model.")
        ] = None,
        base_url: Annotated[str | None, typer.Option(help="Use the server at this address, ending in /v1.")] = None,
        prompt_form: Annotated[str | None, typer.Option(help="chat or completion.")] = None,
        reward: Annotated[str, typer.Option(help="A reward's name, hidden-tests, or none.")] = benchmark.reward,
        reward_params: Annotated[str, typer.Option(help="Its parameters, as JSON.")] = "{}",
        rewards: Annotated[
            Path | None, typer.Option(help="TOML file whose [rewards.NAME] tables define further rewards.")
        ] = None,
        max_tokens: Annotated[int, typer.Option(help="Most tokens of an answer.", min=1)] = benchmark.max_tokens,
        parallel: Annotated[
            int | None, typer.Option(help="Runs at a time; default: about 64 sequences.", min=1)
        ] = None,
        data: Annotated[Path | None, typer.Option(help="The problems, as a file.")] = None,
        out: Annotated[Path | None, typer.Option(help="Results, JSON lines; the reports are beside it.")] = None,
        resume: Annotated[bool, typer.Option(help="Go on where an earlier run of this file ended.")] = False,
        keep_texts: Annotated[bool, typer.Option(help="Keep the text of every particle.")] = False,
        time_limit: Annotated[
            float | None, typer.Option(help="Begin no further problem after so many seconds.")
        ] = None,
        engine: Annotated[str, typer.Option(help='VLLMSettings fields as JSON, such as {"kv_cache_gib": 4}.')] = "{}",
        ray: Annotated[
            str | None, typer.Option(help="Solve in the Ray cluster at this address; local: on this machine.")
        ] = None,
        ray_engines: Annotated[
            int | None, typer.Option(help="Engines there; default: one a GPU, or one a node.", min=1)
        ] = None,
    ) -> None:
        """Run methods on the benchmark and report what they solve and cost."""

        def settings() -> Settings:
            return make_settings(
                benchmark=benchmark.name, methods=_list(methods), particles=particles, budgets=_list(budgets),
                equal=equal, start=start, every=every, limit=limit, repeats=repeats, seed=seed, model=model,
                base_url=base_url, prompt_form=prompt_form, reward=reward,
                reward_params=_json("reward_params", reward_params), rewards=rewards, max_tokens=max_tokens,
                parallel=parallel, data=data, out=out or Path("results") / f"{benchmark.name}.jsonl", resume=resume,
                keep_texts=keep_texts, time_limit=time_limit, engine=_json("engine", engine),
                ray=ray, ray_engines=ray_engines,
            )  # fmt: skip

        run_to_end(settings)

    return main


def recipe_command(
    recipe: Annotated[Path, typer.Argument(help="A file of recipes/.")],
    model: Annotated[str | None, typer.Option(help="Another model than the recipe's.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Use the server at this address.")] = None,
    data: Annotated[Path | None, typer.Option(help="The problems, as a file.")] = None,
    out: Annotated[Path | None, typer.Option(help="Results, JSON lines; the reports are beside it.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many problems.", min=1)] = None,
    every: Annotated[int | None, typer.Option(help="Every K-th problem only.", min=1)] = None,
    resume: Annotated[bool, typer.Option(help="Go on where an earlier run of this file ended.")] = False,
    time_limit: Annotated[float | None, typer.Option(help="Begin no further problem after so many seconds.")] = None,
    ray: Annotated[str | None, typer.Option(help="Solve in the Ray cluster at this address.")] = None,
) -> None:
    """Run an experiment that a recipe describes."""
    run_to_end(
        lambda: read_recipe(
            recipe, model=model, base_url=base_url, data=data, out=out, limit=limit, every=every,
            resume=resume or None, time_limit=time_limit, ray=ray,
        )
    )  # fmt: skip


def run_to_end(make: Callable[[], Settings]) -> None:
    """Run, and say what went wrong in a line. Exits with 2 for errors and 130 for Ctrl-C."""
    try:
        settings = make()
        finished = asyncio.run(run_benchmark(settings, console))
    except KeyboardInterrupt:
        console.print("interrupted: what was solved is kept; the same command with --resume goes on")
        raise typer.Exit(130) from None
    except Exception as error:
        first = _first(error)
        if not isinstance(first, EXPECTED):
            raise
        console.print(f"error: {first}", style="red", highlight=False, markup=False)
        raise typer.Exit(2) from None
    report = settings.out.with_suffix(".md")
    typer.echo(report.read_text())
    console.print(f"written: {settings.out}, {report}, {report.with_suffix('.html')}")
    if not finished:
        console.print("the time limit was reached: the same command with --resume goes on")


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _json(name: str, text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from error
    if not isinstance(value, dict):
        raise SettingsError(f"{name} must be a JSON object")
    return value
