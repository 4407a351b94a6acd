"""Start ``smc-decode serve`` as a process of the server's own environment, and stop it again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SERVER_BIN = Path(os.environ.get("SMC_CONFORMANCE_BIN", ROOT / ".venv" / "bin"))
"""Where the server is installed; the clients' own environment does not have its engine."""
API_KEY = "sk-conformance"
MODEL = "SmolLM2-135M-Instruct"


@dataclass(frozen=True)
class Server:
    """A running server: clients are given ``base_url``, ``model`` and the key."""

    url: str
    model: str = MODEL
    api_key: str = API_KEY

    @property
    def base_url(self) -> str:
        return f"{self.url}/v1"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.api_key}"}

    def environment(self) -> dict[str, str]:
        """What programs that read OpenAI's environment variables need."""
        return {**os.environ, "OPENAI_API_KEY": self.api_key, "OPENAI_BASE_URL": self.base_url, "MODEL": self.model}


@contextlib.contextmanager
def serving(folder: Path, model: str | Path | None = None, **engine: Any) -> Iterator[Server]:
    """A server on a free port of loopback, with its configuration, traces and log in ``folder``."""
    keys = folder / "keys"
    keys.write_text(f"tests {API_KEY}\n", encoding="utf-8")
    config = folder / "smc.toml"
    tables = {
        # Short answers: what is looked at is the protocol, and a CPU is enough for that.
        "server": {
            "served_model_name": [MODEL],
            "default_max_tokens": 24,
            "api_key_file": str(keys),
            "trace_dir": str(folder / "traces"),
        },
        "engine": {"max_model_len": 1024, "kv_cache_gib": 0.5, **engine},
        "presets.brief": {"base": "smc-reward", "description": "an operator's own", "n_particles": 2, "block_size": 4},
    }
    config.write_text(_toml(tables), encoding="utf-8")
    command = [str(SERVER_BIN / "smc-decode"), "serve", "--port", "0", "--config", str(config)]
    if model is not None:
        command += ["--model", str(model)]
    with (folder / "server.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            yield Server(_address(process, folder / "server.log"))
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: subprocess.Popen[str], log: Path) -> str:
    """The address that the server's banner tells once it answers."""
    banner = []
    assert process.stdout is not None
    for line in process.stdout:
        banner.append(line)
        if line.startswith("try"):
            break
    found = re.search(r"http://127\.0\.0\.1:\d+", "".join(banner))
    if found is None:
        raise RuntimeError(f"the server did not start:\n{log.read_text(encoding='utf-8')[-4000:]}")
    return found[0]


def _toml(tables: Mapping[str, Mapping[str, Any]]) -> str:
    # JSON's strings, numbers, booleans and flat lists are TOML's as well.
    lines = []
    for name, values in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    return "\n".join(lines) + "\n"
