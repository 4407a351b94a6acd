"""Reading takes time in proportion to the text: operations are counted, so that a busy machine changes nothing."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable

import pytest

from smc_decode.potentials.code.examples import find_examples
from smc_decode.potentials.code.program import code_of_prompt, infer_entry_point, read_program

PROMPT = 'from typing import List\n\n\ndef f(x):\n    """Doc."""\n'
READERS: dict[str, Callable[[str], object]] = {
    "code_of_prompt": code_of_prompt,
    "infer_entry_point": infer_entry_point,
    "find_examples": lambda text: find_examples(text, "f"),
    "examples in a docstring": lambda text: find_examples(PROMPT + '"""' + text, "f"),
    "script": lambda text: read_program("", text, finished=True, entry_point="", chat=True),
    "open script": lambda text: read_program("", text, finished=False, entry_point="", chat=True),
    "continuation": lambda text: read_program(PROMPT, text, finished=True, entry_point="f"),
    "open continuation": lambda text: read_program(PROMPT, text, finished=False, entry_point="f"),
    "message": lambda text: read_program(PROMPT, text, finished=True, entry_point="f", chat=True),
    "open message": lambda text: read_program(PROMPT, text, finished=False, entry_point="f", chat=True),
    "open fence": lambda text: read_program(PROMPT, f"```python\n{text}", finished=False, entry_point="f", chat=True),
}
UNITS = [
    "~", "~~~\n", "```\n", "```python\n", "```python\nx = 1\n```\n", "(", "-", ".a", "a=", "f'{", "if 1:\n",
    "@a\n", "def f(x):\n", "def f(x):\n    return f\n", "def f(x): ...\n", "x\n", "x = x\n", "f = f\n",
    "f.x = f\n", "f(f)\n", "'''", '"', "\\\n", "# c\n", " ", "\n", "\r\n", "\u00a0", "> ", "1. ",
    "Hello world. ", "class A:\n  def f(self): 1\n", "from a import *\n", "import f\n", "<think>\n",
    "</think>\n", "try:\n", "(\n", "'''a\n", "return x\n", "global f\n", ">>> f(1)\n", ">>> f([\n... 1",
    ">>> x = [1]\n", "f(1) == 2\n", "f(1) == [1,\n", "f(", "assert f((", "assert (\n", "Input: 1\n",
    "Output: 2\nInput: 3\n", "x = 1, ", "1,000,", "**", "`a` ",
]  # fmt: skip
LENGTH = 900
FEW = 1_500
"""Operations that count for nothing: below them a ratio says how the start-up went."""


def operations(read: Callable[[str], object], text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Calls of functions, in Python and in C, and one for every ten characters that are parsed."""
    count = 0

    def note(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    parse = ast.parse

    def parsed(source: str, *args: str) -> ast.Module:
        nonlocal count
        count += len(source) // 10
        return parse(source, *args)

    with monkeypatch.context() as patch:
        patch.setattr(ast, "parse", parsed)
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            read(text)
        finally:
            sys.setprofile(before)
    return count


@pytest.mark.parametrize("reader", READERS)
def test_twice_the_text_takes_at_most_two_and_a_half_times_the_operations(reader, monkeypatch):
    for unit in UNITS:
        times = LENGTH // len(unit)
        once = operations(READERS[reader], unit * times, monkeypatch)
        twice = operations(READERS[reader], unit * (2 * times), monkeypatch)
        assert twice <= 2.5 * max(once, FEW), (unit, once, twice)


def test_texts_beyond_the_allowed_length_are_not_read(monkeypatch):
    text = "def f(x):\n    return 1\n" * 20_000
    for read in READERS.values():
        assert operations(read, text, monkeypatch) < 1_000_000
