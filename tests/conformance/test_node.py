"""OpenAI's Node client and the Vercel AI SDK; what they are asked is in ``node/``, one test here for each file."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conformance.conftest import NODE
from tests.conformance.serving import Server


@pytest.mark.parametrize("script", sorted(NODE.glob("*.mjs")), ids=lambda path: path.stem)
def test_node_client(script: Path, node_modules: Path, server: Server) -> None:
    # Node looks for packages beside the script that imports them.
    shutil.copy(script, node_modules)
    command = ["node", "--test", "--test-reporter=spec", script.name]
    done = subprocess.run(
        command, cwd=node_modules, env=server.environment(), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
