"""The rooms of the server know each other one way only, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SERVER = Path(__file__).resolve().parents[2] / "server"
STRANGERS = {
    "edge": ("server.runs", "server.openai", "server.process", "server.app"),
    "runs": ("server.openai", "server.process", "server.app"),
    "openai": ("server.process", "server.app"),
    "page": ("server.runs", "server.openai", "server.process", "server.app"),
}


@pytest.mark.parametrize("room", STRANGERS)
def test_a_room_imports_none_above_it(room: str) -> None:
    for path in (SERVER / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert not name.startswith(STRANGERS[room]), f"{path.name} imports {name}"


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
