"""How much a preset makes of the rows that it computes, on toy models whose answer is known.

    python -m benchmarks.efficiency --out docs/results/efficiency          # .md and .jsonl
    python -m benchmarks.efficiency --quick

Every method gets as many particles as cost it what :data:`REFERENCE` independent draws cost: the rows of a forward
pass, that is in each engine call the distinct prefixes that a token was drawn after. Then: the relative deviation
of Z^, and the error of the posterior of the best answer. What can be compared are ratios within a model.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from smc_decode import AllParticlesDead, SMCConfig, SMCResult, sample
from smc_decode.presets import PRESETS, merge

from .toy_models import Toy, toys

REFERENCE = 48
"""Independent draws whose rows everybody gets."""
INDEPENDENT = "independent draws"
OF_THE_MODEL = ("alpha", "max_tokens", "block_size", "target", "reward_scale", "selection", "extractor")
"""What a preset says of these is left out: here it is the toy's."""


@dataclass(frozen=True)
class Method:
    """``values`` are fields of SMCConfig. ``knob``: what is raised until the rows are spent. ``blocks``: the block size
    by the toy's, for toys whose target does not know blocks."""

    name: str
    values: Mapping[str, Any]
    knob: tuple[str, ...] = ("n_particles",)
    blocks: float = 1.0

    def config(self, toy: Toy, size: int) -> SMCConfig:
        """The configuration with its knob at ``size``."""
        raised: Any = size
        for key in reversed(self.knob):
            raised = {key: raised}
        values = merge(merge(self.values, toy.settings), raised)
        values["block_size"] = max(1, round(values["block_size"] * self.blocks))
        return SMCConfig.model_validate(values)

    def fits(self, toy: Toy) -> bool:
        """Whether it has this toy's target."""
        return self.blocks == 1.0 or not toy.blocks_matter


def of_preset(name: str, **more: Any) -> Method:
    """A preset but for what the toy decides."""
    values = {key: value for key, value in PRESETS[name].values.items() if key not in OF_THE_MODEL}
    values.pop("n_particles", None)
    return Method(name, merge(values, more))


def of_chains(name: str) -> Method:
    """A preset of Markov chains, whose rounds are its knob."""
    return replace(of_preset(name, n_particles=PRESETS[name].values["n_particles"]), knob=("rejuvenation", "steps"))


METHODS: Sequence[Method] = (
    Method(INDEPENDENT, {"ess_threshold": 0.0}),
    of_preset("smc-reward"),
    of_preset("smc"),
    of_preset("paper"),
    of_chains("mcmc-power"),
    of_chains("tempering"),
)


def _looking(name: str, blocks: float = 1.0, **look: Any) -> Method:
    more: dict[str, Any] = {key: look.pop(key) for key in ("ess_threshold", "rejuvenation") if key in look}
    return Method(name, {"lookahead": look, **more}, blocks=blocks)


def _ablations() -> Iterator[Method]:
    for rollouts in (1, 2, 4, 8):
        yield _looking(f"J = {rollouts}", rollouts=rollouts)
    yield _looking("J = 2, not recycled", rollouts=2, recycle=False)
    yield _looking("J = 2, weighted choice", rollouts=2, choice="weighted")
    yield _looking("J = 2, resampled always", rollouts=2, ess_threshold=1.0)
    yield _looking("J = 2, moved at the end", rollouts=2, rejuvenation={"steps": 1, "every": 4})
    for start in (0.5, 0.75):
        for rollouts in (2, 4):
            yield _looking(f"J = {rollouts}, from {start:g} on", rollouts=rollouts, start=start)
    yield _looking("J = 2, blocks twice as long", 2.0, rollouts=2)
    for name in ("mcmc-power", "tempering"):
        yield replace(of_chains(name), name=f"{name}, blocks four times as long", blocks=4.0)
    yield Method("smc-reward, moved once", {"rejuvenation": {"steps": 1}})
    yield Method("the same, moves not recycled", {"rejuvenation": {"steps": 1, "recycle": False}})
    spread = {"proposal_draws": "systematic"}
    late = {"rollouts": 2, "start": 0.75}
    passes = {"first_pass_size": 3, "later_passes": "rest"}
    yield Method("J = 2, from 0.75 on, in two passes", {"lookahead": late, **passes})
    yield Method("smc, in two passes", {"lookahead": late, **passes, **spread})
    yield Method("smc, J = 4", {"lookahead": {**late, "rollouts": 4}, **spread})
    yield replace(of_preset("smc-reward", **spread), name="smc-reward, systematic draws")
    yield Method("systematic draws", {"ess_threshold": 0.0, **spread})


ABLATIONS: Sequence[Method] = tuple(_ablations())


@dataclass(frozen=True)
class Cell:
    """One method on one toy. ``z``: mean of Z^ / Z, ``spread``: its standard deviation, ``rmse``: of the posterior of
    what is good; ``_error``: a standard error by bootstrap over runs. None: there is no such estimate."""

    toy: str
    method: str
    size: int
    runs: int
    rows: float
    rmse: float
    rmse_error: float
    mean: float
    posterior: float
    z: float | None
    spread: float | None
    spread_error: float | None
    seconds: float


async def _run(toy: Toy, config: SMCConfig, runs: int, seed: int) -> NDArray[np.float64]:
    """(runs, 3): Z^ / Z (NaN where there is none), the estimate of the posterior, rows."""
    engine, potential = toy.engine(), toy.potential()
    rows = np.zeros((runs, 3))
    for run in range(runs):
        before = engine.rows
        try:
            result = await sample(engine, (), potential, config, seed=seed + run)
            ratio = math.nan if result.log_z is None else math.exp(result.log_z - toy.log_z)
            rows[run] = ratio, _mass(toy, result), engine.rows - before
        except AllParticlesDead:
            rows[run] = 0.0, 0.0, engine.rows - before
    return rows


def _mass(toy: Toy, result: SMCResult) -> float:
    return sum(p.weight for p in result.particles if p.weight > 0.0 and toy.good(p.token_ids))


async def size_for(toy: Toy, method: Method, rows: float, pilot: int) -> int:
    """The knob's value whose rows come nearest, by regula falsi on means of ``pilot`` runs."""
    known: dict[int, float] = {}
    size = 16
    for _ in range(8):
        if size not in known:
            known[size] = float((await _run(toy, method.config(toy, size), pilot, 10**6))[:, 2].mean())
        below = max((s for s, cost in known.items() if cost <= rows), default=0)
        above = min((s for s, cost in known.items() if cost > rows), default=0)
        if above == 0:
            size = max(below + 1, round(below * min(4.0, rows / known[below])))
        elif above - below <= 1:
            break
        else:
            low, high = (known[below] if below else 0.0), known[above]
            size = min(max(round(below + (above - below) * (rows - low) / max(high - low, 1e-9)), below + 1), above - 1)
        if size > 4096:
            break
    return min((s for s in known if s >= 1), key=lambda s: abs(known[s] - rows))


def _bootstrap(values: NDArray[np.float64], statistic: Any, draws: int = 200) -> float:
    rng = np.random.default_rng(0)
    return float(np.std([statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(draws)]))


def cell(toy: Toy, method: Method, rows: float, runs: int, pilot: int) -> Cell:
    """A method's figures on a toy at that many rows."""
    began = time.process_time()
    size = asyncio.run(size_for(toy, method, rows, pilot))
    got = asyncio.run(_run(toy, method.config(toy, size), runs, 0))
    ratios, errors = got[:, 0], got[:, 1] - toy.posterior
    estimated = not np.isnan(ratios).any()
    return Cell(
        toy.name,
        method.name,
        size,
        runs,
        float(got[:, 2].mean()),
        float(np.sqrt((errors**2).mean())),
        _bootstrap(errors, lambda e: np.sqrt((e**2).mean())),
        float(got[:, 1].mean()),
        toy.posterior,
        float(ratios.mean()) if estimated else None,
        float(ratios.std()) if estimated else None,
        _bootstrap(ratios, np.std) if estimated else None,
        time.process_time() - began,
    )


def budget(toy: Toy, runs: int = 20) -> float:
    """The rows of :data:`REFERENCE` independent draws."""
    independent = Method(INDEPENDENT, {"ess_threshold": 0.0})
    return float(asyncio.run(_run(toy, independent.config(toy, REFERENCE), runs, 10**6))[:, 2].mean())


@cache
def _budgets() -> dict[str, float]:
    """What each toy's budget is, once it was asked for; in a worker."""
    return {}


def _job(toy: str, method: str, runs: int, pilot: int) -> Cell:
    found = next(each for each in toys() if each.name == toy)
    budgets = _budgets()
    if toy not in budgets:
        budgets[toy] = budget(found)
    wanted = next(each for each in (*METHODS, *ABLATIONS) if each.name == method)
    return cell(found, wanted, budgets[toy], runs, pilot)


def study(
    models: Sequence[str], methods: Sequence[str], runs: int, pilot: int, processes: int, done: Sequence[Cell] = ()
) -> Iterator[tuple[int, Cell]]:
    """(cells left, cell) as they come; those of ``done`` are not made again."""
    have = {(each.toy, each.method) for each in done}
    chosen = [m for m in (*METHODS, *ABLATIONS) if m.name in methods]
    jobs = [(t.name, m.name) for t in toys() if t.name in models for m in chosen if m.fits(t)]
    jobs = [job for job in jobs if job not in have]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=os.nice, initargs=(10,)) as pool:
        futures = [pool.submit(_job, *job, runs, pilot) for job in jobs]
        for number, future in enumerate(as_completed(futures), 1):
            yield len(jobs) - number, future.result()


def read(path: Path) -> list[Cell]:
    """The cells of an earlier run."""
    return [Cell(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def main(
    out: Annotated[Path, typer.Option(help="The report's path, without its ending.")] = Path("results/efficiency"),
    quick: Annotated[bool, typer.Option(help="A minute's run, for a look.")] = False,
    runs: Annotated[int, typer.Option(help="Runs of each method on each model.")] = 600,
    models: Annotated[str, typer.Option(help="Their names, with semicolons; all if left out.")] = "",
    methods: Annotated[str, typer.Option(help="Their names, with semicolons; all if left out.")] = "",
    processes: Annotated[int, typer.Option()] = 2,
) -> None:
    """Measure every preset and ablation on the toy models at equal computed rows."""
    from .efficiency_report import report

    runs, pilot = (30, 5) if quick else (runs, 8)
    all_models, all_methods = [toy.name for toy in toys()], [m.name for m in (*METHODS, *ABLATIONS)]
    chosen = models.split(";") if models else all_models[: 4 if quick else None]
    out.parent.mkdir(parents=True, exist_ok=True)
    raw = out.with_suffix(".jsonl")
    cells = [each for each in read(raw) if each.runs == runs]
    began = time.monotonic()
    wanted = methods.split(";") if methods else all_methods
    for left, found in study(chosen, wanted, runs, pilot, processes, cells):
        cells.append(found)
        raw.write_text("".join(json.dumps(asdict(each)) + "\n" for each in cells))
        sys.stderr.write(f"\r{left:4d} to do, {time.monotonic() - began:.0f} s, {found.toy}: {found.method}        ")
    sys.stderr.write("\n")
    out.with_suffix(".md").write_text(report(cells))
    print(report(cells))


if __name__ == "__main__":
    typer.run(main)
