"""Settings and environment of the vLLM engine: nothing here loads it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from smc_decode.engines.vllm.environment import preload_environment, usable_cores, worker_environment
from smc_decode.engines.vllm.settings import VLLMSettings
from smc_decode.engines.vllm.versions import check_version


def test_importing_the_engine_imports_neither_vllm_nor_torch() -> None:
    code = (
        "import sys, smc_decode.engines.vllm.engine, smc_decode.engines.pooling\n"
        "sys.exit(bool({'vllm', 'torch', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"block_size": 16}, "multiple of 32"),
        ({"threads": 0}, "threads"),
        ({"kv_cache_gib": -1.0}, "kv_cache_gib"),
        ({"gpu_memory_utilization": 1.5}, "gpu_memory_utilization"),
        ({"model": ""}, "model"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        VLLMSettings(**{"model": "m", "device": "cpu"} | wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("version", ["0.32", "0.32.0", "0.32.0+cpu", "0.32.7.post1"])
def test_a_vllm_that_the_hooks_were_checked_with_is_taken(version: str) -> None:
    check_version(version)


@pytest.mark.parametrize("version", ["0.31.9", "0.33.0", "0.320.0", "0.3.2", "1.0.0", "dev"])
def test_another_vllm_is_refused_with_what_to_do_unless_told_otherwise(version: str) -> None:
    with pytest.raises(RuntimeError, match=r"0\.32\.\* only.*any_version = true"):
        check_version(version)
    check_version(version, any_version=True)


def test_the_engine_asks_for_the_v1_model_runner_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_USE_V2_MODEL_RUNNER", "1")
    assert worker_environment(VLLMSettings(model="m", device="cuda"))["VLLM_USE_V2_MODEL_RUNNER"] == "0"


def test_kernels_for_every_length_are_not_kept_unless_somebody_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    monkeypatch.delenv(name, raising=False)
    assert worker_environment(VLLMSettings(model="m", device="cpu"))[name] == "64"
    assert name not in worker_environment(VLLMSettings(model="m", device="cuda"))
    monkeypatch.setenv(name, "256")
    assert worker_environment(VLLMSettings(model="m", device="cpu"))[name] == "256"


def test_the_engine_computes_on_every_core_that_this_process_may_use() -> None:
    environment = worker_environment(VLLMSettings(model="m", device="cpu"))
    if "OMP_NUM_THREADS" not in os.environ:
        assert environment["OMP_NUM_THREADS"] == str(len(usable_cores()))
    one = worker_environment(VLLMSettings(model="m", device="cpu", threads=1))
    assert one["OMP_NUM_THREADS"] == "1"
    assert set(usable_cores()) <= os.sched_getaffinity(0)


def test_our_own_environment_is_left_alone() -> None:
    before = dict(os.environ)
    worker_environment(VLLMSettings(model="m"))
    assert dict(os.environ) == before


def test_a_local_model_is_loaded_without_the_hub(tmp_path: Path) -> None:
    assert worker_environment(VLLMSettings(model=str(tmp_path)))["HF_HUB_OFFLINE"] == "1"
    assert worker_environment(VLLMSettings(model="a/b")).get("HF_HUB_OFFLINE") == os.environ.get("HF_HUB_OFFLINE")


def test_what_is_preloaded_is_there_and_what_was_preloaded_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/lib/mine.so")
    for name in preload_environment().get("LD_PRELOAD", "/lib/mine.so").split(":"):
        assert name == "/lib/mine.so" or Path(name).is_file()
    assert preload_environment().get("LD_PRELOAD", "/lib/mine.so").endswith("/lib/mine.so")
