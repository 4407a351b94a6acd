"""Runs an experiment from a file: python -m benchmarks.recipe recipes/humaneval-qwen2.5-7b.toml"""

from __future__ import annotations

import typer

from .cli import recipe_command

if __name__ == "__main__":
    typer.run(recipe_command)
