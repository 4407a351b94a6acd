"""Reads a program out of an answer that may be unfinished: what can run already, and is it Python so far?

Three styles of answer are known: a continuation of the prompt's code (HumanEval completions), whole functions, and
chat answers with the code in fences. The program is what a careful reader would run: all Python blocks that the
function needs, in order, the last valid definition of a name, without what only tries it out (``essentials``). An
unfinished function is closed by *cuts*: a ``raise`` wherever control would reach the text that is not there yet. A
call that returns before it meets a cut gives its final answer; a call that meets one is undecided. Nothing is executed
here, and reading takes time in proportion to the text's length.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import replace

from smc_decode.potentials.code.blocks import fenced_code
from smc_decode.potentials.code.chunks import parts_of
from smc_decode.potentials.code.essentials import (
    Statement,
    essential,
    is_stub,
    relevant,
    source_of,
    statements,
    without_stubs,
)
from smc_decode.potentials.code.prompt_code import asserts_in, code_of_prompt, infer_entry_point
from smc_decode.potentials.code.reading import Reading, mentions, read_answer, split_open
from smc_decode.potentials.code.scripts import NO_PYTHON, NOTHING_YET, Program, read_script
from smc_decode.potentials.code.solution import may_return, way_to
from smc_decode.potentials.code.syntax import CUT, MAX_SOURCE, closed_lines, parse, plain_source, with_cuts

__all__ = [
    "CUT", "MAX_SOURCE", "Program", "asserts_in", "code_of_prompt", "fenced_code", "infer_entry_point", "parse",
    "read_program",
]  # fmt: skip


def read_program(
    prompt: str, text: str, *, finished: bool, entry_point: str, chat: bool = False, names: Sequence[str] = ()
) -> Program:
    """The program that ``text`` answers ``prompt`` with.

    ``prompt`` is code (see :func:`code_of_prompt`); ``chat`` says that the answer is a message and not a continuation.
    ``entry_point`` is a function, ``Class.method``, or empty for a script. ``names``: what else it should define; it is
    complete when all are.
    """
    if names:
        return _of_several(prompt, text, finished, [entry_point, *names], chat)
    return _of_one(prompt, text, finished, entry_point, chat)


def _of_several(prompt: str, text: str, finished: bool, names: Sequence[str], chat: bool) -> Program:
    """The program with the first function that has ended, else with the first that can be run."""
    read = [_of_one(prompt, text, finished, name, chat, frozenset(names)) for name in names]
    runnable = [each for each in read if each.runnable]
    chosen = next((each for each in runnable if each.complete), next(iter(runnable), read[0]))
    return replace(chosen, complete=all(each.complete for each in read))


def _of_one(
    prompt: str, text: str, finished: bool, entry_point: str, chat: bool, names: frozenset[str] = frozenset()
) -> Program:
    if len(text) + len(prompt) > MAX_SOURCE:
        return Program("", False, finished, finished, False)
    prompt = plain_source(prompt)
    reading = read_answer(prompt, text, entry_point=entry_point, chat=chat, finished=finished)
    if reading is None:  # prose so far
        return NOTHING_YET
    if not entry_point:
        return read_script(reading, finished)
    return _Reader(prompt, reading, entry_point, finished, names).program()


class _Reader:
    """Puts a program together from the pieces of an answer."""

    def __init__(
        self, prompt: str, reading: Reading, entry_point: str, finished: bool, names: frozenset[str] = frozenset()
    ) -> None:
        self._names = names
        self._reading = reading
        self._entry = entry_point
        self._head = entry_point.partition(".")[0]
        self._finished = finished
        self._given = [] if reading.joined else parts_of(prompt)
        pieces, self._tail = list(reading.pieces), ""
        if reading.last is not None:
            head, self._tail = split_open(reading.last)
            pieces.append(head)
        self._groups = [parts_of(piece) for piece in pieces]

    def program(self) -> Program:
        """The program so far."""
        if self._continuation_is_broken():
            return replace(NO_PYTHON, complete=self._finished, ended=self._finished, mendable=not self._finished_line())
        found = without_stubs(self._statements())
        way = "" if self._is_defined(found) else way_to(self._entry, [each.node for each in found])
        if (way or self._is_defined(found)) and not (self._tail and mentions(self._tail, self._entry)):
            return Program(self._source(found, way), True, True, self._finished, True)
        if self._finished:
            return self._unfound(found)
        return self._unfinished(found)

    def _continuation_is_broken(self) -> bool:
        """Whether what goes on from the prompt is no Python, with its lines finished."""
        lead = self._reading.lead
        return self._reading.joined and any(
            part.node is None and part.start < lead < part.end and part.source[lead - part.start :].strip() != ""
            for part in self._groups[0]
        )

    def _finished_line(self) -> bool:
        return self._reading.joined

    def _statements(self) -> list[Statement]:
        """The statements of the pieces that matter, without the function as the prompt leaves it open."""
        given = [each for each in statements(self._given) if not self._is_open(each)]
        groups = [statements(parts) for parts in self._groups]
        if self._reading.joined and groups:
            lead = self._reading.lead
            groups[0] = [
                each for each in groups[0]
                if each.part.start + len(each.part.source) > lead or not self._is_open(each)
            ]  # fmt: skip
        names = {self._head, *self._names, *self._wanted()} | self._roundabout([given, *groups])
        chosen = relevant([given, *groups], names, always={0, *([1] if self._reading.joined else [])})
        return [each for group in chosen for each in group]

    def _roundabout(self, groups: Sequence[Sequence[Statement]]) -> set[str]:
        """The names by which there is a way to an entry point that nothing defines."""
        found = [each for group in groups for each in group]
        if self._is_defined(found):
            return set()
        return set(re.findall(r"\w+", way_to(self._entry, [each.node for each in found])))

    def _is_open(self, each: Statement) -> bool:
        return self._head in each.effects.binds and is_stub(each.node)

    def _is_defined(self, found: Sequence[Statement]) -> bool:
        return any(self._head in each.effects.binds for each in found)

    def _wanted(self) -> frozenset[str]:
        """Names that the unfinished end may lean on."""
        return frozenset(re.findall(r"[^\W\d]\w*", self._tail))

    def _source(self, found: Sequence[Statement], way: str, tail: str = "") -> str:
        wanted = self._names | (self._wanted() if tail else frozenset())
        if way:
            wanted |= frozenset(re.findall(r"\w+", way))
        return source_of(essential(found, self._entry, wanted)) + (tail or way)

    def _unfound(self, found: Sequence[Statement]) -> Program:
        """A finished answer that does not define the function."""
        parts = [part for group in self._groups for part in group]
        valid = bool(found) and not any(part.broken for part in parts)
        if not any(part.node is not None for part in parts):
            valid = False
        return Program(self._source(found, ""), valid, True, True, valid)

    def _unfinished(self, found: Sequence[Statement]) -> Program:
        if any(part.broken and mentions(part.source, self._entry) for group in self._groups for part in group):
            return NO_PYTHON
        if not self._tail:
            return NOTHING_YET
        lines = closed_lines(self._source(found, "", self._tail))
        source = None if lines is None else with_cuts(lines)
        tree = parse(source) if source is not None else None
        if source is None or tree is None:
            at_junction = self._reading.joined and len(self._reading.pieces) == 0 and not self._groups[-1]
            return replace(NO_PYTHON, mendable=not at_junction)
        runs = may_return(tree, self._entry)
        return Program(self._with_way(source, tree) if runs else source, True, False, False, runs)

    def _with_way(self, source: str, tree: ast.Module) -> str:
        bound = {name for each in statements(parts_of(source)) for name in each.effects.binds}
        return source if self._head in bound else source + way_to(self._entry, tree.body)
