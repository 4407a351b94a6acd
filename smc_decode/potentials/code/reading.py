"""Where in an answer the code is: which blocks or lines are Python, and how they go on from the prompt's code."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace

from smc_decode.potentials.code.blocks import Block, blocks_of, without_thoughts
from smc_decode.potentials.code.chunks import Part, margins, parts_of
from smc_decode.potentials.code.syntax import STRING, is_code, parse, plain_source

_DEFINES = re.compile(r"^[ \t]*(?:(?:async\s+)?def|class)\s+\w+\s*[(:]", re.MULTILINE)
_CODE_LINE = re.compile(
    r"(?:from\s+[\w.]+\s+import\b|import\s+\w|(?:async\s+)?def\s+\w+\s*\(|class\s+\w+\s*[(:]|@\w|\w+\s*=[^=])"
)
_STRING = re.compile(rf"#[^\n]*|{STRING}")
_MASKED = str.maketrans("`~", "\ue000\ue001")
_UNMASKED = str.maketrans("\ue000\ue001", "`~")
_CONTINUED = ("else", "elif", "except", "finally")


@dataclass(frozen=True, slots=True)
class Reading:
    """The code of an answer. ``pieces``: the finished ones, in order; ``last``: one that may go on, or None.

    ``joined``: the first piece (or ``last``, where that is the only one) begins with the prompt, of which ``lead``
    characters are not the answer's.
    """

    pieces: tuple[str, ...]
    last: str | None = None
    joined: bool = False
    lead: int = 0


def read_answer(prompt: str, text: str, *, entry_point: str, chat: bool, finished: bool) -> Reading | None:
    """The code in ``text``; None while there is nothing but prose."""
    text = plain_source(text)
    answer = without_thoughts(text)
    if answer is None:  # it ended in its thoughts: then they are all there is
        answer = text if finished else ""
    if not chat:
        blocks = _outside_strings(prompt, answer)
        before = answer[: blocks[0].start] if blocks else answer
        if _continues(prompt, before, blocks):
            return _continuation(prompt, answer, before, blocks, finished)
    reading = _message(answer, _unwrapped(blocks_of(answer)), entry_point, finished)
    return None if reading is None else _with_body(prompt, reading, entry_point)


def _unwrapped(blocks: list[Block]) -> list[Block]:
    """The blocks, with what stands fenced inside of Markdown that is fenced itself."""
    return [
        inner
        for block in blocks
        for inner in (blocks_of(block.code) if block.language in ("md", "markdown") else [block])
    ]


# -- a continuation of the prompt -----------------------------------------------------------------------------------


def _outside_strings(prompt: str, answer: str) -> list[Block]:
    """The fenced blocks of an answer that goes on from the prompt: fences in its docstrings are none."""
    masked = _STRING.sub(_mask, prompt + answer)[len(prompt) :]
    return [replace(block, code=block.code.translate(_UNMASKED)) for block in blocks_of(masked)]


def _mask(match: re.Match[str]) -> str:
    text = match[0]
    return text.translate(_MASKED) if text[:3] in ('"""', "'''") and len(text) > 5 and text.endswith(text[:3]) else text


def _continues(prompt: str, before: str, blocks: list[Block]) -> bool:
    """Whether the text before the first fence is code that goes on from the prompt."""
    first = next((line for line in before.split("\n") if line.strip()), "")
    if not first:
        return not blocks
    if first[0].isspace():
        return True
    if _runs_on(prompt, before):
        return not blocks or is_code(join(prompt, before)[0])
    return _CODE_LINE.match(first) is not None or any(_does_something(part) or part.broken for part in parts_of(before))


def _runs_on(prompt: str, text: str) -> bool:
    """Whether the text stands on the prompt's last line."""
    return bool(prompt) and not prompt.endswith("\n") and not text.startswith("\n") and prompt[-1] not in " \t"


def _continuation(prompt: str, answer: str, before: str, blocks: list[Block], finished: bool) -> Reading:
    if not blocks:
        code, lead = join(prompt, before)
        return Reading((code,), None, True, lead) if finished else Reading((), code, True, lead)
    code, lead = join(prompt, before if before.endswith("\n") else before + "\n")
    if not blocks[0].language:  # the fence that closes a block which the prompt opened
        rest = answer[answer.find("\n", blocks[0].start) + 1 :] if "\n" in answer[blocks[0].start :] else ""
        blocks = blocks_of(rest)
    chosen = _python(blocks)
    last = chosen.pop().code if chosen and not chosen[-1].closed and not finished else None
    return Reading((code, *(block.code for block in chosen)), last, True, lead)


def join(prompt: str, text: str) -> tuple[str, int]:
    """The prompt with its continuation, and the offset at which the continuation begins."""
    if not prompt:
        return text, 0
    last_line = prompt.rpartition("\n")[2]
    if not last_line.strip() and last_line:
        # a prompt that ends in an indentation which the answer repeats
        first = next((line for line in text.split("\n") if line.strip()), "")
        if first[:1].isspace() and not text.startswith("\n"):
            prompt = prompt[: len(prompt) - len(last_line)]
    return prompt + text, len(prompt)


# -- a message ------------------------------------------------------------------------------------------------------


def _message(text: str, blocks: list[Block], entry_point: str, finished: bool) -> Reading | None:
    chosen = _python(blocks)
    if entry_point and not any(mentions(block.code, entry_point) for block in chosen):
        before = text[: blocks[0].start] if blocks else text
        if mentions(before, entry_point) and (blocks or finished):  # written without a fence, tried out in one
            return Reading((before, *(block.code for block in chosen)))
        chosen += [block for block in _called_otherwise(blocks) if mentions(block.code, entry_point)]
    chosen = chosen or _called_otherwise(blocks)
    if chosen:
        last = chosen.pop().code if not chosen[-1].closed and not finished else None
        return Reading(tuple(block.code for block in chosen), last)
    if finished:
        return Reading((text,))
    if blocks or not _begins_code(text):
        return None
    return Reading((), text)


def _with_body(prompt: str, reading: Reading, entry_point: str) -> Reading:
    """A message that gives only the body of the prompt's function is joined to the prompt."""
    pieces = [*reading.pieces, *([reading.last] if reading.last is not None else [])]
    if not entry_point or not mentions(prompt, entry_point) or any(mentions(piece, entry_point) for piece in pieces):
        return reading
    for index in range(len(pieces) - 1, -1, -1):
        body = _body(pieces[index])
        if body is None:
            continue
        prompt = prompt.rstrip(" \t")
        code, lead = join(prompt if prompt.endswith("\n") else prompt + "\n", body)
        if index == len(reading.pieces):
            return Reading((), code, True, lead)
        others = (piece for i, piece in enumerate(reading.pieces) if i != index)
        return Reading((code, *others), reading.last, True, lead)
    return reading


def _body(piece: str) -> str | None:
    """The piece as the body of a function; None if it does not look like one."""
    first = next((line for line in piece.split("\n") if line.strip()), "")
    if first[:1].isspace():
        return piece
    tree = parse(piece)
    if tree is not None and any(isinstance(node, ast.Return) for each in tree.body for node in _own_statements(each)):
        return textwrap.indent(piece, "    ")
    return None


def _own_statements(node: ast.stmt) -> Iterator[ast.AST]:
    """The statement and those in it that run with it, not in functions of its own."""
    todo: list[ast.AST] = [node]
    while todo:
        inner = todo.pop()
        if not isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.expr)):
            yield inner
            todo.extend(ast.iter_child_nodes(inner))


def mentions(code: str, entry_point: str) -> bool:
    """Whether a line of ``code`` reads as if it defined the entry point."""
    names = "|".join(map(re.escape, {entry_point.partition(".")[0], entry_point.rpartition(".")[2]}))
    bound = rf"(?:(?:async\s+)?def|class)\s+(?:{names})\b|(?:{names})\s*(?::[^=\n]*)?=|import\b[^\n]*\b(?:{names})\b"
    return re.search(rf"^[ \t]*(?:{bound})", code, re.MULTILINE) is not None


def _python(blocks: list[Block]) -> list[Block]:
    """The blocks that are Python: those that say so, and those without a language that read so."""
    return [block for block in blocks if block.tagged or (not block.language and _reads_as_python(block))]


def _called_otherwise(blocks: list[Block]) -> list[Block]:
    """Python that goes by the name of another language."""
    return [each for each in blocks if each.language and not each.tagged and each.closed and _reads_as_python(each)]


def _reads_as_python(block: Block) -> bool:
    if not block.language and _DEFINES.search(block.code):
        return True
    tree = parse(block.code)
    if tree is None:
        return not block.closed and _CODE_LINE.match(block.code.lstrip()) is not None
    return any(not isinstance(node, ast.Expr) or isinstance(node.value, ast.Call) for node in tree.body)


def _begins_code(text: str) -> bool:
    """Whether there is a line of code in a message without fences."""
    starts = margins(text)
    if starts and _CODE_LINE.match(text, starts[-1]):
        return True
    parts = parts_of(text[: starts[-1]]) if starts else []
    return any(map(_does_something, parts))


def _does_something(part: Part) -> bool:
    """Python, and not just a word or ``Note: this``."""
    return part.node is not None and not isinstance(part.node, (ast.Expr, ast.AnnAssign))


# -- open ends ------------------------------------------------------------------------------------------------------


def split_open(text: str) -> tuple[str, str]:
    """What of an unfinished source is certainly finished, in whole top-level statements, and the rest."""
    starts = margins(text)
    if not starts:
        return "", text
    at = starts[-1]
    tail = text[at:]
    may_go_on = "\n" not in tail and any(word.startswith(tail.rstrip(":( ")) for word in _CONTINUED)
    if may_go_on and len(starts) > 1:
        at = starts[-2]
    return text[:at], text[at:]
