"""Modules of 1, 2, 4 and 8 functions in one answer: where parts can be checked, what that is worth.

python -m benchmarks.modules                                     # all sizes, the methods that the report compares
python -m benchmarks.modules 4 --methods best-of-n,smc --limit 10
python -m benchmarks.modules report results/modules-*.jsonl --out results/modules
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from .cli import command, run_to_end
from .module_problems import MODULES
from .module_report import write_module_report
from .records import RecordsError
from .settings import Settings, make_settings

METHODS = ("base", "best-of-n", "best-of-n:alpha=4", "smc-reward", "search", "smc", "paper", "parts")
main = typer.Typer(help="Modules of several functions: how often all of them are right.", no_args_is_help=False)
for size, benchmark in MODULES.items():
    main.command(str(size))(command(benchmark))


@main.callback(invoke_without_command=True)
def everything(
    context: typer.Context,
    model: Annotated[str | None, typer.Option(help="Folder or Hugging Face name; default: the bundled model.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many modules of each size.", min=1)] = None,
    particles: Annotated[int, typer.Option(help="N of the methods that have particles.", min=1)] = 16,
    out: Annotated[Path, typer.Option(help="The folder of results and reports.")] = Path("results"),
    resume: Annotated[bool, typer.Option(help="Go on where an earlier run ended.")] = False,
) -> None:
    """Without a size: all sizes, then the report of all."""
    if context.invoked_subcommand is not None:
        return
    paths = []
    for benchmark in MODULES.values():
        paths.append(out / f"{benchmark.name}.jsonl")
        settings = make_settings(
            benchmark=benchmark.name, methods=list(METHODS), particles=particles, limit=limit, model=model,
            out=paths[-1], resume=resume,
        )  # fmt: skip
        run_to_end(functools.partial(_same, settings))
    report(paths, out / "modules")


def _same(settings: Settings) -> Settings:
    return settings


@main.command()
def report(
    files: Annotated[list[Path], typer.Argument(help="Results of some sizes.")],
    out: Annotated[Path, typer.Option(help="Where to write, without suffix.")] = Path("results/modules"),
) -> None:
    """The curve over the number of functions, rows for a solved module, and where particles die."""
    try:
        typer.echo(write_module_report(files, out).read_text(encoding="utf-8"))
    except RecordsError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    main()
