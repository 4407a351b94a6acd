"""The README shows what is in the tree, and its offline example runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_openai_example_is_the_file_in_examples() -> None:
    assert (ROOT / "examples" / "humaneval_openai.py").read_text() in PYTHON_BLOCKS


def test_the_example_without_a_server_runs(capsys: pytest.CaptureFixture[str]) -> None:
    [code] = [block for block in PYTHON_BLOCKS if "TableEngine" in block]
    exec(code, {})
    assert capsys.readouterr().out.startswith("(")


def test_every_file_and_command_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z]+)[\s`]", README):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"
    for path in re.findall(r"\(((?:docs|examples)/[^)]+)\)", README):
        assert (ROOT / path).exists(), path
