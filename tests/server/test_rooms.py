"""Nothing heavy is imported before it is needed. That rooms know each other one way only is checked by `make lint`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).resolve().parents[2] / "server"


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("server", {"fastapi", "starlette", "uvicorn", "typer", "rich", "torch", "vllm", "transformers"}),
        ("server.cli", {"fastapi", "starlette", "uvicorn", "torch", "vllm", "transformers"}),
        ("server.process.terminal", {"fastapi", "uvicorn", "server.app", "torch", "vllm"}),
        ("server.app", {"torch", "vllm", "transformers"}),
    ],
)
def test_importing_brings_nothing_that_is_not_needed_yet(module: str, absent: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({absent!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=SERVER.parent, capture_output=True, text=True
    )
    assert done.stdout.strip() == "", done.stderr
