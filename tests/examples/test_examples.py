"""The examples run, and show what they say."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from smc_decode import SMCConfig, sample
from smc_decode.engines import TableEngine
from smc_decode.potentials import KINDS, RewardCatalogue, RewardRequest
from smc_decode.testing import check_potential

EXAMPLES = Path(__file__).parents[2] / "examples"


def shown(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def test_a_reward_of_ones_own_moves_the_answers_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    means = [float(mean) for mean in re.findall(r"mean reward ([\d.]+)", shown("own_reward", capsys))]
    plain, kind, longer, brief = means
    assert kind > plain + 0.3
    assert brief > longer


def test_every_kind_of_event_is_read(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("reading_events", capsys)
    for line in ("looked ahead with", "ESS", "resampled:", "proposals accepted", "answer ("):
        assert line in text


def test_presets_with_one_target_estimate_one_number(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown("compare_presets", capsys)
    exact = float(re.search(r"exact log Z ([\d.]+)", text)[1])  # type: ignore[index]
    rows = re.findall(r"^\S+ +([\d.]+) +([\d.]+) +([\d.]+) +(\d+)$", text, re.MULTILINE)
    assert len(rows) == 3
    for mean, spread, log_mean, _ in rows:
        assert abs(float(log_mean) - exact) < 0.8
        assert float(mean) < exact + float(spread)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """examples/plugin as pip would install it: its module and its metadata, in a folder on sys.path."""
    pytest.importorskip("setuptools")
    source, installed = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(EXAMPLES / "plugin", source)
    installed.mkdir()
    build = f"from setuptools import build_meta; build_meta.prepare_metadata_for_build_wheel({str(installed)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True, timeout=120)
    shutil.copy(source / "smc_decode_politeness.py", installed)
    monkeypatch.syspath_prepend(str(installed))
    KINDS.refresh()
    yield
    KINDS.refresh()
    KINDS.remove("politeness")


class Words:
    """Token 1 is a polite word."""

    def decode(self, token_ids: tuple[int, ...], *, skip_special_tokens: bool = True) -> str:
        return " ".join(("", "please", "now", "go")[token] for token in token_ids)


@pytest.mark.usefixtures("plugin")
async def test_the_plugin_is_found_by_its_entry_point_and_steers_a_run() -> None:
    made = RewardCatalogue.default()
    [info] = [info for info in made.infos() if info.name == "politeness"]
    assert info.available
    assert list(info.params["properties"]) == ["words"]
    potential = made.build("politeness", {"words": ["please"]}, reward_scale=6.0, request=RewardRequest())
    await check_potential(potential)
    engine = TableEngine(lambda tokens: np.log([0.2, 0.1, 0.4, 0.3]), 4, 0, tokenizer=Words())  # type: ignore[arg-type]
    result = await sample(engine, (), potential, SMCConfig(n_particles=32, block_size=1, max_tokens=4), seed=0)
    polite = sum(particle.weight for particle in result.particles if 1 in particle.token_ids)
    assert polite > 0.9
    assert result.answer.detail == {"found": ["please"]}


def test_the_plugin_is_a_tutorial_that_is_read_at_a_glance() -> None:
    assert len((EXAMPLES / "plugin" / "smc_decode_politeness.py").read_text().splitlines()) <= 35
