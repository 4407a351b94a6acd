"""``smc-decode doctor``: what is missing, and the command that installs it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from server.process import doctor
from server.settings import Settings


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    def leave_out(*names: str) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in names else find(name))

    return leave_out


@pytest.fixture
def installed_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As for someone who has the package, and no repository around it."""
    monkeypatch.setattr(doctor, "__file__", str(tmp_path / "site" / "process" / "doctor.py"))


def findings(**settings: Any) -> dict[str, str]:
    looks = dict(doctor._looks(Settings(**settings)))
    return {name: looks[name]()[1] for name in ("engine", "rewards")}


def test_in_a_repository_one_command_mends_it(without: Any) -> None:
    without("vllm")
    assert findings()["engine"] == "vllm not installed: run 'make setup'"


@pytest.mark.usefixtures("installed_package")
@pytest.mark.parametrize(("driver", "extra"), [(None, "cpu"), ("/usr/bin/nvidia-smi", "cuda")])
def test_a_package_alone_is_told_the_extra_for_its_engine(
    without: Any, monkeypatch: pytest.MonkeyPatch, driver: str | None, extra: str
) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: driver)
    without("torch", "vllm")
    assert findings()["engine"] == f"torch and vllm not installed: pip install 'smc-decode[{extra}]'"


@pytest.mark.usefixtures("installed_package")
def test_remote_engines_and_rewards_name_theirs(without: Any) -> None:
    without("transformers", "sympy")
    found = findings(engine={"kind": "remote", "url": "http://127.0.0.1:1"})
    assert found["engine"] == "transformers not installed: pip install 'smc-decode[remote]'"
    assert found["rewards"].endswith("need sympy: pip install 'smc-decode[rewards]'")
