"""Programs that try to harm the machine (`harms.txt`) or to fool their tests (`foolings.txt`), wrong programs of the
ordinary kind (`wrong_programs.txt`), and right ones (`right_programs.txt`)."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
DEFAULT_TEST = "def check(candidate):\n    assert candidate(7) == '@TOKEN@'\n"


@dataclass(frozen=True)
class Harm:
    """`attempt` is the body of a function and must not succeed, though with `may_end` it may come to its end."""

    name: str
    attempt: str
    may_end: bool

    @property
    def source(self) -> str:
        """A program whose entry point `f` makes the attempt and says `refused` or `done`."""
        return (
            "def attempt():\n" + textwrap.indent(self.attempt, "    ") + "\n"
            "def f(x):\n"
            "    try:\n"
            "        attempt()\n"
            "    except BaseException:\n"
            "        return 'refused'\n"
            "    return 'done'\n"
        )


@dataclass(frozen=True)
class Fooling:
    """`whole` is a program with the entry point `f`, judged by `test`."""

    name: str
    source: str
    prompt: str = ""
    test: str = DEFAULT_TEST

    @property
    def whole(self) -> str:
        """Prompt and source, or the source alone after a prompt that is prose."""
        return self.source if "```" in self.prompt else self.prompt + self.source


def _sections(path: Path) -> Iterator[tuple[str, str]]:
    """Names and texts of the sections that `=== name` begins."""
    parts = re.split(r"^=== (.+)\n", path.read_text(), flags=re.MULTILINE)
    return zip(parts[1::2], parts[2::2], strict=True)


def _harms() -> Iterator[Harm]:
    for name, text in _sections(HERE / "harms.txt"):
        yield Harm(name.removesuffix(" (may end)"), text, name.endswith(" (may end)"))


def _programs(file: str) -> Iterator[Fooling]:
    for name, text in _sections(HERE / file):
        source, *parts = re.split(r"^--- (prompt|test)\n", text, flags=re.MULTILINE)
        yield Fooling(name, source, **dict(zip(parts[0::2], parts[1::2], strict=True)))


def _foolings() -> Iterator[Fooling]:
    yield from _programs("foolings.txt")
    yield Fooling("null_bytes", "def f(x): return '\0'\0")
    yield Fooling("nested_beyond_the_parser", "f = " + "(" * 5000 + ")" * 5000)


HARMS = list(_harms())
FOOLING = list(_foolings())
WRONG = list(_programs("wrong_programs.txt"))
RIGHT = list(_programs("right_programs.txt"))
