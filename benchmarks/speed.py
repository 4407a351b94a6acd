"""How close SMC comes to what the engine can do, side by side with plain sampling.

python -m benchmarks.speed                              # every case
python -m benchmarks.speed --cases b32,b8 --repeats 5   # some of them
python -m benchmarks.speed --cases sweep --plot docs/performance.svg
python -m benchmarks.speed --show results/speed.jsonl   # the tables of earlier runs, all together

Figures are ratios to plain sampling measured just before and after in the same process; docs/performance.md has ours.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from smc_decode.engines.bundled_model import ensure_bundled_model
from smc_decode.engines.vllm.engine import VLLMEngine, VLLMSettings

from . import speed_report as report
from . import speed_sweep as sweep
from .provenance import commit, machine, versions
from .speed_bench import PROMPT, Bench, N, T
from .speed_cases import CASES, Case, Measured
from .speed_merge import MERGE_CASES, merge_cases
from .speed_meter import Spent, Work
from .speed_plain import Reference
from .speed_server import memory, start_to_first_token

console = Console()

SERVER_CASES = {
    "start": Case("start", "server start to first token, warm cache, s", "≤ 25 s", lambda x: x <= 25),
    "memory": Case("memory", "GiB resident at most, 2 GiB KV cache", "≤ 4 GB, flat", lambda x: x <= 4 / 1.0737),
}
REFERENCE = Case("reference", "the engine's plain sampling, against vllm.LLM with n=16", "≥ 0.97", lambda x: x >= 0.97)
ALL = {"reference": REFERENCE, **CASES, **SERVER_CASES, **MERGE_CASES}
GROUPS = {"merge": MERGE_CASES}
ORDINARY = ",".join(case for case in ALL if case not in MERGE_CASES)


class Recorder:
    """Keeps what was measured, as JSON lines if there is a file."""

    def __init__(self, out: Path | None) -> None:
        self._out = out
        self.cases: dict[str, list[Measured]] = {}
        self.points: list[sweep.Point] = []
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            self._write({"about": {"commit": commit(), "machine": machine(), "versions": versions()}})

    def case(self, name: str, repeat: int, measured: Measured) -> None:
        self.cases.setdefault(name, []).append(measured)
        spent = None if measured.spent is None else measured.spent.as_record()
        self._write({"case": name, "repeat": repeat, "value": measured.value, "spent": spent, "more": measured.more})
        console.print(f"{name} {repeat + 1}: {measured.value:.3f}  {json.dumps(measured.more)}", highlight=False)

    def point(self, point: sweep.Point) -> None:
        self.points.append(point)
        self._write({"point": point.as_record()})
        console.print(f"{point.axis}={point.value} {point.repeat + 1}: {point.ratio:.3f}", highlight=False)

    def read(self, path: Path) -> None:
        """What an earlier run wrote."""
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line)
            if "case" in record:
                told = record["spent"]
                kept = None if told is None else _spent(told)
                self.cases.setdefault(record["case"], []).append(Measured(record["value"], kept, record["more"]))
            elif "point" in record:
                point = record["point"]
                self.points.append(sweep.Point(**point | {"work": Work(**point["work"])}))

    def _write(self, record: dict[str, Any]) -> None:
        if self._out is not None:
            with self._out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")

    def show(self, plot: Path | None, as_markdown: bool) -> None:
        """Tables, and the plot of the sweep."""
        tables: list[tuple[str, Sequence[str], report.Rows]] = []
        if self.cases:
            tables.append(("Speed", ("case", "target", "measured", "met", "where the time went"), self._case_rows()))
        if self.points:
            model = sweep.fit(*sweep.works_of(self.points))
            tables.append(
                (f"Cost: {report.model_text(model)}", report.SWEEP_HEADS, report.sweep_rows(self.points, model))
            )
            if plot is not None:
                plot.write_text(report.plot(self.points), encoding="utf-8")
        for title, heads, rows in tables:
            if as_markdown:
                print(f"\n{title}\n\n{report.markdown(heads, rows)}")
            else:
                console.print(report.table(title, heads, rows))

    def _case_rows(self) -> report.Rows:
        rows: report.Rows = []
        for name, case in ALL.items():
            if measured := self.cases.get(name):
                values = sorted(each.value for each in measured)
                met = case.reached(values[len(values) // 2])
                figures = report.median_and_spread(values)
                went = report.where_time_went(measured)
                rows.append((f"{name}: {case.what}", case.target, figures, "yes" if met else "no", went))
        return rows


@asynccontextmanager
async def loaded(model: str, engine: dict[str, Any]) -> AsyncIterator[Bench]:
    """The engine, warm: the first batches of a process are slower."""
    fields: dict[str, Any] = {"model": model, "max_model_len": 2048, "kv_cache_gib": 2.0, **engine}
    settings = VLLMSettings(**fields)
    raw = await VLLMEngine.create(settings)
    try:
        bench = Bench(raw)
        for _ in range(2):
            await bench.plain()
        yield bench
    finally:
        await raw.shutdown()


async def measure(
    names: Sequence[str], repeats: int, model: str, engine: dict[str, Any], requests: int, recorder: Recorder
) -> None:
    """Every case ``repeats`` times, in turns; then the sweep, and the server's cases once each."""
    inside = [name for name in names if name in CASES]
    merging = [name for name in names if name in MERGE_CASES]
    if inside or merging or "sweep" in names or "reference" in names:
        async with loaded(model, engine) as bench:
            console.print(f"engine's start: {dict(bench.raw.start_seconds)}")
            if "reference" in names or merging:
                async with Reference(bench.raw.settings) as reference:
                    if "reference" in names:
                        await _reference(bench, reference, repeats, recorder)
                    async for name, repeat, measured in merge_cases(bench, reference, merging, repeats):
                        recorder.case(name, repeat, measured)
            for repeat in range(repeats):
                await _in_turn(bench, inside, "sweep" in names, repeat, recorder)
    if "start" in names:
        for repeat in range(repeats):
            recorder.case("start", repeat, await start_to_first_token(model))
    if "memory" in names:
        recorder.case("memory", 0, await memory(model, requests))


async def _in_turn(bench: Bench, cases: Sequence[str], sweeps: bool, repeat: int, recorder: Recorder) -> None:
    """One measurement of each case, then of each setting of the sweep."""
    for name in cases:
        if (measure_case := CASES[name].measure) is not None:
            recorder.case(name, repeat, await measure_case(bench, repeat))
    if sweeps:
        for axis, value in sweep.settings():
            recorder.point(await sweep.measure(bench, axis, value, repeat))


async def _reference(bench: Bench, reference: Reference, repeats: int, recorder: Recorder) -> None:
    await reference.rate([bench.prompt()], N, T)
    for repeat in range(repeats):
        before = await reference.rate([bench.prompt()], N, T)
        ours = await bench.plain()
        limit = (before + await reference.rate([bench.prompt()], N, T)) / 2
        recorder.case("reference", repeat, Measured(ours.rate / limit, ours, {"vllm_llm": round(limit, 1)}))


def _spent(told: dict[str, Any]) -> Spent:
    names = ("seconds", "engine", "reward", "both", "cpu", "children")
    return Spent(**{name: told[name] for name in names}, work=Work(**told["work"]))


def main(
    cases: Annotated[
        str, typer.Option(help=f"With commas: {', '.join(ALL)}, sweep; merge: all that begin with it.")
    ] = ORDINARY,
    repeats: Annotated[int, typer.Option(help="Measurements of each.", min=1)] = 3,
    model: Annotated[str | None, typer.Option(help="Folder or name; default: the bundled model.")] = None,
    requests: Annotated[int, typer.Option(help="Requests of the memory case.", min=100)] = 2000,
    engine: Annotated[str, typer.Option(help='VLLMSettings fields as JSON, such as {"partial_hits": false}.')] = "{}",
    out: Annotated[Path | None, typer.Option(help="JSON lines are appended here.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write the sweep's plot here, as SVG.")] = None,
    show: Annotated[list[Path] | None, typer.Option(help="Measure nothing: tables of these files.")] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Tables in Markdown.")] = False,
) -> None:
    """Measure, and say where the time went."""
    recorder = Recorder(None if show else out)
    if show:
        for path in show:
            recorder.read(path)
    else:
        asked = [part.strip() for part in cases.split(",") if part.strip()]
        names = [name for part in asked for name in GROUPS.get(part, [part])]
        unknown = [name for name in names if name not in ALL and name != "sweep"]
        if unknown:
            raise typer.BadParameter(
                f"unknown case {unknown[0]!r}; allowed: {', '.join(ALL)}, sweep", param_hint="--cases"
            )
        console.print(f"N={N}, {T} new tokens, prompt of {PROMPT}; {machine()}", highlight=False)
        folder = model or str(ensure_bundled_model())
        asyncio.run(measure(names, repeats, folder, json.loads(engine), requests, recorder))
    recorder.show(plot, as_markdown)


if __name__ == "__main__":
    typer.run(main)
