"""Makes the text of a prompt plain for whoever looks for examples in it: no quotes around docstrings, no marks of
Markdown around calls and values. Linear in the text's length."""

from __future__ import annotations

import re

from smc_decode.potentials.code.syntax import STRING, plain_source

_LITERAL = re.compile(rf"#[^\n]*|(?<![\w\"'])(?P<prefix>[A-Za-z]{{0,2}})(?P<body>{STRING})")
_ONE_LINE = re.compile(r"(?<=:\n)(?P<indent>[ \t]+)(?P<quote>[\"'])(?P<text>[^\n]*)(?P=quote)[ \t]*$", re.MULTILINE)
_TICKS = re.compile(r"(?<!`)(`{1,2})(?!`)([^`\n]+)\1(?!`)")
_BOLD = re.compile(r"(?<![\w)\]*])(\*\*|__|\*)(?=[^\s*_])([^*\n]*?[^\s*])\1(?![\w(\[*])")
_TAGS = re.compile(r"</?(?:b|code|strong|em|i|pre|tt)>", re.IGNORECASE)
_DEFINES = re.compile(r"\s*(?:(?:async\s+)?def|class|import|from)\s")


def lines_of(prompt: str) -> list[str]:
    """The lines of a prompt in which examples may stand. Doctests keep every character."""
    text = _ONE_LINE.sub(_docstring_line, _LITERAL.sub(_docstring, plain_source(prompt)))
    return [line if line.lstrip().startswith(">>>") else _unmarked(line)
            for line in text.split("\n") if not _DEFINES.match(line)]  # fmt: skip


def _docstring(match: re.Match[str]) -> str:
    """A triple-quoted literal as lines of its own. What is written ``\\\\n`` in it is ``\\n`` to who reads it."""
    body = match["body"]
    if body is None or body[:3] not in ('"""', "'''"):
        return match[0]
    raw = "r" in match["prefix"].lower()
    content = body[3:-3] if len(body) >= 6 and body.endswith(body[:3]) else body[3:]
    return "\n" + (content if raw else content.replace("\\\\", "\\")) + "\n"


def _docstring_line(match: re.Match[str]) -> str:
    return match["indent"] + match["text"] if match["quote"] not in match["text"] else match[0]


def _unmarked(line: str) -> str:
    if "`" in line:
        line = _TICKS.sub(r"\2", line)
    if "*" in line or "__" in line:
        line = _BOLD.sub(r"\2", line)
    return _TAGS.sub("", line) if "<" in line else line
