"""``smc-decode doctor``: what a server needs, looked at one by one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console

from smc_decode.engines.bundled_model import BUNDLED_MODEL, default_cache_dir

from ..settings import ConfigError, Settings
from .engines import model_name
from .version import VERSION

Finding = tuple[bool, str]
"""Whether all is well, and what was found or what to do."""


def examine(settings: Settings) -> bool:
    """Print every finding; whether a server can run here."""
    console = Console(highlight=False)
    well = True
    for name, look in _looks(settings):
        try:
            good, text = look()
        except ConfigError as error:
            good, text = False, str(error)
        well = well and good
        console.print(f"{'ok  ' if good else 'FAIL'} {name:<9} {text}", style="" if good else "red")
    return well


def _looks(settings: Settings) -> Iterator[tuple[str, Callable[[], Finding]]]:
    yield "version", lambda: (sys.version_info >= (3, 11), f"smc-decode {VERSION}, Python {sys.version.split()[0]}")
    yield "engine", lambda: _engine(settings)
    yield "model", lambda: _model(settings)
    yield "sandbox", lambda: _sandbox(settings)
    yield "rewards", lambda: _rewards(settings)
    yield "keys", lambda: _keys(settings)
    yield "address", lambda: _address(settings)
    yield "traces", lambda: _traces(settings)


def _engine(settings: Settings) -> Finding:
    kind = settings.engine.get("kind", "vllm")
    if kind == "remote" and (missing := _missing("httpx", "transformers")):
        return False, f"{missing} not installed: {_install('remote')}"
    if kind != "vllm":
        return True, str(kind)
    gpu_here = shutil.which("nvidia-smi") is not None
    if missing := _missing("torch", "vllm"):
        return False, f"{missing} not installed: {_install('cuda' if gpu_here else 'cpu')}"
    gpu = "a CUDA driver is here" if gpu_here else "no GPU: it runs on the CPU"
    return True, f"vLLM is installed; {gpu}, {os.cpu_count()} cores"


def _model(settings: Settings) -> Finding:
    model = model_name(settings.engine)
    if model is None:
        return True, "the engine's own"
    if model != BUNDLED_MODEL:
        return True, f"{model} (looked for when the server starts)"
    if (default_cache_dir() / "models" / BUNDLED_MODEL).is_dir():
        return True, f"{model} is in the cache"
    return True, f"{model} is fetched at the first start (98 MB); 'make model' does it now"


def _missing(*modules: str) -> str:
    """Those that are not installed, for a sentence; empty where all are."""
    return " and ".join(name for name in modules if importlib.util.find_spec(name) is None)


def _install(extra: str) -> str:
    """The command that installs an extra, for who has the repository and for who has the package."""
    checkout = Path(__file__).parents[2] / "Makefile"
    if checkout.is_file():
        return "run 'make setup'"
    return f"pip install 'smc-decode[{extra}]'"


def _sandbox(settings: Settings) -> Finding:
    from .loading import open_sandbox

    sandbox = open_sandbox(settings)
    if sandbox is None:
        return True, "no tier works here, so that rewards which run code are off; bubblewrap can be installed"
    with sandbox:
        return True, sandbox.tier


def _rewards(settings: Settings) -> Finding:
    from .loading import open_catalogue

    names = ", ".join(open_catalogue(settings, None, None).names)
    if missing := _missing("sympy", "math_verify", "jsonschema", "regex"):
        return True, f"{names}; those of mathematics and schemas need {missing}: {_install('rewards')}"
    return True, names


def _keys(settings: Settings) -> Finding:
    from ..edge.auth import read_keys

    return True, "API keys are set" if read_keys(settings.server) else "none: requests from this machine only"


def _address(settings: Settings) -> Finding:
    from .serving import bind

    bind(settings.server.host, settings.server.port).close()
    return True, f"{settings.server.host} port {settings.server.port} is free"


def _traces(settings: Settings) -> Finding:
    folder = settings.server.trace_dir or default_cache_dir() / "traces"
    parent = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    if not os.access(parent, os.W_OK):
        return False, f"{folder} cannot be written: set trace_dir"
    return True, f"{folder}, {shutil.disk_usage(parent).free >> 30} GiB free"
