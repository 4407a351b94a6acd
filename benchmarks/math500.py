"""MATH500: competition mathematics, marked by its value against the reference answer.

python -m benchmarks.math500 --methods base,best-of-n,smc --particles 16 --limit 20 --out results/math500.jsonl
"""

from __future__ import annotations

import typer

from .cli import command
from .problems import MATH500

main = command(MATH500)

if __name__ == "__main__":
    typer.run(main)
