"""The Python of the documentation's pages runs as it stands; what needs a server is marked so on its page."""

from __future__ import annotations

from pathlib import Path
from unittest import SkipTest

import pytest
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md") if "```python" in path.read_text(encoding="utf-8"))
SYBIL = Sybil(parsers=[PythonCodeBlockParser(), SkipParser()])


@pytest.mark.parametrize("page", PAGES)
def test_every_python_block_runs(page: str) -> None:
    ran = marked = 0
    for example in SYBIL.parse(DOCS / page).examples():
        try:
            example.evaluate()
        except SkipTest:
            marked += 1
        else:
            ran += 1
    assert ran + marked > 0
