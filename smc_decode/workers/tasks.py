"""The program of a worker process: mathematics, schemas and patterns from requests, where they can be killed.

Run by path with ``python -P``. Speaks JSON lines: ``{"task", "args", "seconds"}`` in, ``{"value"}`` or ``{"error"}``
out. A task that uses more than its seconds of processor time is ended by the kernel, whatever it is doing; time that
other processes took does not count.
"""

from __future__ import annotations

import importlib
import json
import resource
import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

MEMORY = 2 << 30

TASKS = {
    "claims": "smc_decode.workers.mathematics:claims",
    "holds": "smc_decode.workers.mathematics:holds",
    "canonical": "smc_decode.workers.mathematics:canonical",
    "same": "smc_decode.workers.mathematics:same",
    "json_answer": "smc_decode.workers.schemas:json_answer",
    "check_schema": "smc_decode.workers.schemas:problem",
    "code_task": "smc_decode.workers.code:task",
    "refused_tests": "smc_decode.workers.code:refused",
    "examples": "smc_decode.workers.code:examples",
    "test_names": "smc_decode.workers.code:test_names",
    "asked_functions": "smc_decode.workers.code:functions",
    "program": "smc_decode.workers.code:program",
    "code_key": "smc_decode.workers.code:key",
    "gym_question": "smc_decode.workers.gym:question",
    "gym_score": "smc_decode.workers.gym:score",
    "pattern": "smc_decode.workers.patterns:match",
}
WARM_UP = {"latex2sympy2_extended": "smc_decode.workers.mathematics:warm_up"}
"""What is done once when a library is loaded, since its first use takes long."""


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    sys.set_int_max_str_digits(4300)
    _open_package()
    out = sys.stdout
    sys.stdout = sys.stderr  # libraries print
    print(json.dumps({"value": "ready"}), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, max(float(request["seconds"]), 1e-6))  # SIGPROF's default ends the process
        answer = _answer(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps(answer), file=out, flush=True)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        if request["task"] == "load":
            load(**request["args"])
            return {"value": None}
        return {"value": _function(TASKS[request["task"]])(**request["args"])}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"[:500]}


def load(modules: list[str]) -> None:
    """Import what later tasks need, outside of their time limits."""
    for module in modules:
        importlib.import_module(module)
        if module in WARM_UP:
            _function(WARM_UP[module])()


def _function(name: str) -> Any:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _open_package() -> None:
    """Make the library's modules importable without what the ``__init__`` of its packages brings (NumPy, pydantic)."""
    root = Path(__file__).resolve().parents[1]
    for name in ("", ".potentials", ".sandbox"):
        package = ModuleType("smc_decode" + name)
        package.__path__ = [str(root.joinpath(*name.split(".")))]
        sys.modules["smc_decode" + name] = package


if __name__ == "__main__":
    main()
