"""The speed benchmark's own arithmetic and reports, without an engine of weight."""

from __future__ import annotations

import asyncio
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from benchmarks import speed_report as report
from benchmarks.speed import Recorder
from benchmarks.speed_cases import CASES, Measured
from benchmarks.speed_meter import Meter, MeteredEngine, MeteredPotential, Work, covered
from benchmarks.speed_sweep import AXES, Point, fit, settings
from smc_decode import SMCConfig, sample
from smc_decode.engines import TableEngine
from smc_decode.potentials import FunctionPotential

SVG = "http://www.w3.org/2000/svg"


def test_time_that_is_covered_twice_counts_once() -> None:
    assert covered([]) == 0
    assert covered([(0, 2), (1, 3), (5, 6), (5.5, 5.7)]) == pytest.approx(4)


async def test_a_run_is_the_same_on_a_metered_engine_and_its_time_is_split() -> None:
    def law(tokens: tuple[int, ...]) -> np.ndarray:
        return np.log([0.5, 0.25, 0.25])

    async def measured() -> tuple[object, Meter]:
        meter = Meter()
        potential = FunctionPotential(lambda tokens, finished: float(sum(tokens)), kind="telescoping")
        config = SMCConfig(n_particles=4, block_size=2, max_tokens=4)
        with meter.measure() as spent:
            result = await sample(
                MeteredEngine(TableEngine(law, 3), meter),  # type: ignore[arg-type]
                (), MeteredPotential(potential, meter), config, seed=3,  # type: ignore[arg-type]
            )  # fmt: skip
            await asyncio.sleep(0)
        assert spent().seconds >= spent().both >= spent().engine > 0
        assert spent().other >= 0
        assert spent().work.drawn == result.usage.sampled == 16
        return [particle.token_ids for particle in result.particles], meter

    assert (await measured())[0] == (await measured())[0]


def test_the_cost_model_finds_the_prices_that_made_the_times() -> None:
    rng = np.random.default_rng(0)
    works, seconds = [], []
    for _ in range(30):
        work = Work(
            steps=int(rng.integers(50, 400)),
            drawn=int(rng.integers(500, 8000)),
            computed=int(rng.integers(100, 4000)),
            attended=float(rng.random() * 500),
        )
        works.append(work)
        seconds.append(0.01 * work.steps + 0.0007 * work.drawn + 0.0004 * work.computed)
    model = fit(seconds, works)
    assert model.milliseconds["steps"] == pytest.approx(10, rel=1e-3)
    assert model.milliseconds["drawn"] == pytest.approx(0.7, rel=1e-3)
    assert model.milliseconds["computed"] == pytest.approx(0.4, rel=1e-3)
    assert model.milliseconds["attended"] == pytest.approx(0, abs=1e-6)
    assert model.error < 1e-6
    assert "steps" in report.model_text(model)


def points() -> list[Point]:
    work = Work(calls=4, requests=64, steps=128, drawn=2048, sent=9000, computed=500, attended=300.0)
    plain = {"seconds": 4.0, "work": vars(work) | {}}
    return [
        Point(axis, value, repeat, 4.2, 480.0, 0.9 + repeat / 50, plain, work)
        for axis, value in settings()
        for repeat in range(2)
    ]


def test_the_plot_is_one_svg_without_anything_from_elsewhere() -> None:
    drawing = report.plot(points())
    root = ET.fromstring(drawing)
    assert root.tag.endswith("svg")
    drawn = {axis: len(root.findall(f".//*[@id='points-{axis}']//{{{SVG}}}use")) for axis in AXES}
    assert drawn == {axis: len(values) for axis, values in AXES.items()}
    assert all(target.startswith("#") for target in re.findall(r'href="([^"]*)"', drawing))
    assert not re.search(r"<script|<image|url\(|@import", drawing)


def test_what_was_written_is_shown_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "out" / "speed.jsonl"
    first = Recorder(path)
    for repeat, value in enumerate((0.94, 0.97, 0.96)):
        first.case("b32", repeat, Measured(value, None, {"plain": 500.0}))
    for point in points():
        first.point(point)
    assert all(json.loads(line) for line in path.read_text().splitlines())
    again = Recorder(None)
    again.read(path)
    capsys.readouterr()
    again.show(tmp_path / "plot.svg", True)
    shown = capsys.readouterr().out
    assert "0.960 (0.940 to 0.970)" in shown
    assert "N = 64" in shown
    assert (tmp_path / "plot.svg").read_text().startswith("<svg")


def test_every_case_has_a_target_and_something_that_measures_it() -> None:
    assert all(case.target and case.measure for case in CASES.values())
