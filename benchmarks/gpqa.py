"""GPQA: graduate-level multiple choice, from the user's own copy of the data (--data).

python -m benchmarks.gpqa --methods base,best-of-n,smc --particles 16 --limit 20 --out results/gpqa.jsonl
"""

from __future__ import annotations

import typer

from .cli import command
from .problems import GPQA

main = command(GPQA)

if __name__ == "__main__":
    typer.run(main)
