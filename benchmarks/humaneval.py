"""HumanEval: functions from their docstrings, marked by hidden tests.

python -m benchmarks.humaneval --methods base,best-of-n,smc --particles 16 --limit 20 --out results/humaneval.jsonl
"""

from __future__ import annotations

import typer

from .cli import command
from .problems import HUMANEVAL

main = command(HUMANEVAL)

if __name__ == "__main__":
    typer.run(main)
