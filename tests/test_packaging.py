"""What a wheel installs, and what the library needs to be imported. ``make wheel`` tries the same on a real one."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from server.__main__ import EXTRA_MODULES

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

# Imported names of distributions that are called otherwise.
IMPORTED_AS = {"opentelemetry-api": "opentelemetry"}

WITHOUT_EXTRAS = f"""
import sys
from importlib.machinery import PathFinder

present = PathFinder.find_spec
absent = {sorted(EXTRA_MODULES | {"torch", "transformers", "vllm", "sympy", "scipy"})!r}
PathFinder.find_spec = lambda name, *rest: None if name.partition(".")[0] in absent else present(name, *rest)
"""


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS + code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


def distributions(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=! ]", requirement)[0] for requirement in requirements}


def test_the_library_alone_needs_numpy_and_pydantic() -> None:
    assert distributions(PROJECT["dependencies"]) == {"numpy", "pydantic"}


def test_without_any_extra_the_library_is_imported_and_samples_on_the_table_engine() -> None:
    done = python("""
import math
import smc_decode.engines.remote, smc_decode.engines.vllm.engine, smc_decode.potentials, smc_decode.sandbox
from smc_decode import SMCConfig, sample_sync
from smc_decode.engines import TableEngine
from smc_decode.potentials import FunctionPotential, RewardCatalogue

engine = TableEngine(lambda tokens: [math.log(0.25)] * 4, vocab_size=4, eos_token_id=0)
reward = FunctionPotential(lambda tokens, finished: 0.5 * tokens.count(3), kind="telescoping")
result = sample_sync(engine, (), potential=reward, config=SMCConfig(block_size=2, max_tokens=6), seed=0)
print(math.isfinite(result.log_z), len(RewardCatalogue.default().infos()) > 5)
""")
    assert done.stdout == "True True\n", done.stderr


def test_a_reward_service_without_httpx_says_which_extra_is_missing() -> None:
    done = python("""
from smc_decode.potentials import MissingExtra
from smc_decode.potentials.models.remote_models import RemoteRewardModel
from smc_decode.potentials.own.http import HTTPOptions, RewardService

for make in (lambda: RemoteRewardModel("http://x", "m"), lambda: RewardService(HTTPOptions(url="http://x"))):
    try:
        make()
    except MissingExtra as error:
        print(error)
""")
    assert done.stdout.count("pip install 'smc-decode[remote]'") == 2, done.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["serve"], ["config", "show"]])
def test_the_command_without_its_extra_says_which_is_missing(arguments: list[str]) -> None:
    done = python(f"sys.argv[1:] = {arguments!r}\nfrom server.__main__ import main\nmain()")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "pip install 'smc-decode[server]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_fault_in_the_command_is_not_taken_for_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from server import __main__, cli

    def broken() -> None:
        raise ModuleNotFoundError("No module named 'a_module_of_a_user'", name="a_module_of_a_user")

    monkeypatch.setattr(cli, "app", broken)
    with pytest.raises(ModuleNotFoundError):
        __main__.main()


def test_what_the_command_looks_for_is_what_the_extra_installs() -> None:
    extra = distributions(PROJECT["optional-dependencies"]["server"])
    installed = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in extra}
    assert installed | {"starlette"} == EXTRA_MODULES  # starlette comes with fastapi


@pytest.mark.parametrize("engine", ["cpu", "cuda"])
def test_an_engine_s_extra_brings_the_server(engine: str) -> None:
    assert "smc-decode[server]" in PROJECT["optional-dependencies"][engine]


@pytest.mark.parametrize("folder", ["server", "benchmarks"])
def test_a_folder_that_a_wheel_calls_otherwise_imports_itself_relatively(folder: str) -> None:
    """Both names work then: ``server`` in a checkout, ``smc_decode_server`` where it is installed."""
    absolute = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in _absolute_imports(node)
        if name.partition(".")[0] in ("server", "benchmarks")
    ]
    assert absolute == []


def _absolute_imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []


def test_every_package_of_the_wheel_begins_with_the_project_s_name_and_none_is_left_out() -> None:
    folders = ast.literal_eval(re.search(r"FOLDERS = ({.*?})", (ROOT / "setup.py").read_text())[1])  # type: ignore[index]
    assert all(name.startswith("smc_decode") for name in folders)
    holders = {path.parent for folder in folders.values() for path in (ROOT / folder).rglob("*.py")}
    assert [str(path) for path in holders if not (path / "__init__.py").is_file()] == []


def test_raw_results_are_kept_compressed() -> None:
    large = [path.name for path in (ROOT / "docs" / "results").glob("*.jsonl") if path.stat().st_size > 100_000]
    assert large == []
