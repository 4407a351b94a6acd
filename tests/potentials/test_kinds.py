"""Kinds of reward source: each in its own file, loaded when it is asked for, and packages' own beside them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from smc_decode.potentials import (
    KINDS,
    Kind,
    Options,
    RewardCatalogue,
    RewardConfigError,
    RewardRequest,
    RewardRequestError,
)
from tests.test_registry import install

HEAVY = (
    "httpx",
    "sympy",
    "jsonschema",
    "regex",
    "math_verify",
    "vllm",
    "torch",
    "transformers",
    "fastapi",
    "structlog",
)


def test_importing_the_potentials_imports_nothing_heavy() -> None:
    script = (
        "import sys, smc_decode.potentials, smc_decode.testing\n"
        f"print([name for name in {HEAVY} if name in sys.modules], "
        "[name for name in sys.modules if name.startswith('smc_decode.potentials.') and name.count('.') > 2])"
    )
    shown = subprocess.run([sys.executable, "-c", script], check=True, timeout=120, capture_output=True, text=True)
    assert shown.stdout.split("\n")[0] == "[] []"


def test_every_kind_declares_itself_and_what_it_opens_is_an_option() -> None:
    for name in KINDS:
        kind = KINDS[name]
        options = {info.alias or field for field, info in kind.options.model_fields.items()}
        assert {
            *kind.request_params,
            *(p.partition("=")[0] for p in kind.code_params),
            *kind.operator_only,
        } <= options, name
        assert not {*kind.request_params} & {*kind.operator_only}, name
        assert kind.description


SOURCE = """
from smc_decode.potentials import FunctionReward, Kind, Options

class Brief(Options):
    words: int = 10

KIND = Kind(
    "short answers",
    Brief,
    lambda options, context: FunctionReward(lambda text, end: 1 / (1 + len(text) / options.words), name=context.name),
    request_params=("words",),
    builtin=__BUILTIN__,
)
"""


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages."""
    monkeypatch.syspath_prepend(str(tmp_path))
    KINDS.refresh()
    yield tmp_path
    KINDS.refresh()
    for name in ("brief", "wrecked"):
        KINDS.remove(name)


async def test_a_package_of_the_users_adds_a_reward(packages: Path) -> None:
    module = SOURCE.replace("__BUILTIN__", "True")
    install(packages, "brief-rewards", "[smc_decode.rewards]\nbrief = brief_rewards:KIND\n", brief_rewards=module)
    made = RewardCatalogue.from_toml({"rewards": {"terse": {"source": "brief", "words": 2}}})
    assert {"brief", "terse", "regex"} <= set(made.names)
    potential = made.build("terse", {"words": 1}, reward_scale=4.0, request=RewardRequest())
    assert potential.name == "terse"
    with pytest.raises(RewardRequestError, match="allowed: words"):
        made.build("brief", {"word": 1}, reward_scale=4.0, request=RewardRequest())


async def test_a_package_that_is_broken_is_listed_with_the_reason_and_hurts_no_other(packages: Path) -> None:
    install(packages, "wrecked", "[smc_decode.rewards]\nwrecked = wrecked_rewards:KIND\n", wrecked_rewards="1 / 0")
    made = RewardCatalogue.default()
    [info] = [info for info in made.infos() if info.name == "wrecked"]
    assert not info.available
    assert "of the package wrecked 1.5) cannot be imported: ZeroDivisionError" in info.reason
    with pytest.raises(RewardRequestError, match=r"'wrecked' is not available here: .*package wrecked"):
        made.build("wrecked", None, reward_scale=4.0, request=RewardRequest())
    made.build("confidence", None, reward_scale=4.0, request=RewardRequest())
    with pytest.raises(RewardConfigError, match=r"rewards\.x\.source: .*package wrecked 1\.5\) cannot be imported"):
        RewardCatalogue.from_toml({"rewards": {"x": {"source": "wrecked"}}})


def test_a_kind_can_be_registered_without_a_package() -> None:
    KINDS.register("brief")(Kind("none", Options, lambda options, context: None))  # type: ignore[arg-type,return-value]
    try:
        assert "brief" in RewardCatalogue.default().names
    finally:
        KINDS.remove("brief")
    assert "brief" not in RewardCatalogue.default().names
