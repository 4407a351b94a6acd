"""Reads a whole program (a script on standard input and output) out of an answer."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace

from smc_decode.potentials.code.chunks import Part, parts_of
from smc_decode.potentials.code.essentials import source_of, statements
from smc_decode.potentials.code.reading import Reading
from smc_decode.potentials.code.syntax import closed_lines, is_code, parse, with_cuts

_WRITES = frozenset(["print", "write", "writelines", "pprint"])
_READS = frozenset(["input", "stdin", "open", "fileinput", "readline", "readlines"])


@dataclass(frozen=True, slots=True)
class Program:
    """A program read from an answer.

    ``syntax``: Python so far (an unfinished last statement is no error). ``complete``: the function has ended, so every
    call is decided unless the text defines it anew; ``ended``: no more text will come. ``runnable``: running ``source``
    can decide something. ``mendable``: the text may yet bring another program instead: nothing is lost.
    """

    source: str
    syntax: bool
    complete: bool
    ended: bool
    runnable: bool
    mendable: bool = True


NOTHING_YET = Program("", True, False, False, False)
NO_PYTHON = Program("", False, False, False, False)


def read_script(reading: Reading, finished: bool) -> Program:
    """The program among the code of an answer: its last piece that reads and writes (or else that writes), with what
    it needs from the pieces before it. What goes on from the prompt's own code is all of it."""
    if reading.joined:
        single = Reading(reading.pieces[:1], None if reading.pieces else reading.last)
        return replace(_read(single, finished), mendable=False)
    return _read(reading, finished)


def _read(reading: Reading, finished: bool) -> Program:
    if reading.last is not None and (program := _open(reading)) is not None:
        return program
    pieces = [_code_lines(piece) for piece in reading.pieces]
    source = _whole(pieces)
    valid = source is not None and parse(source) is not None
    if source is None or not valid:
        return Program(source or "", valid, finished, finished, False) if finished or pieces else NOTHING_YET
    return Program(source, True, True, finished, True)


def _open(reading: Reading) -> Program | None:
    """The program whose last piece is being written; None while an earlier one stands and this writes nothing."""
    last = reading.last or ""
    source = _closed(last)
    if source is None or parse(source) is None:  # prose before it, or an error that nothing mends
        source = _closed(_code_lines(last, unfinished=True))
    tree = parse(source) if source is not None else None
    if source is None or tree is None:
        return NO_PYTHON if _whole([_code_lines(piece) for piece in reading.pieces]) is None else None
    writes = bool(_uses(tree) & _WRITES)
    if not writes and any(parse(piece) is not None for piece in reading.pieces):
        return None
    helped = _with_needs(source, tree, [_code_lines(piece) for piece in reading.pieces])
    return Program(helped, True, False, False, writes)


def _closed(code: str) -> str | None:
    lines = closed_lines(code)
    return None if lines is None else with_cuts(lines, script=True)


def _code_lines(piece: str, unfinished: bool = False) -> str:
    """The piece, without the prose around its code where it does not parse as it is."""
    if parse(piece) is not None:
        return piece
    parts = parts_of(piece)
    if any(part.broken for part in parts):
        return piece
    code = [part for part in parts if part.node is not None and not _is_word(part)]
    tail = parts[-1].source if unfinished and parts and parts[-1].node is None else ""
    tail = tail if is_code(tail) else ""  # or prose
    return "".join(part.source + "\n" for part in code) + tail if code or tail else piece


def _is_word(part: Part) -> bool:
    node = part.node
    if isinstance(node, ast.AnnAssign):
        return node.value is None
    return isinstance(node, ast.Expr) and not any(isinstance(each, ast.Call) for each in ast.walk(node))


def _uses(tree: ast.Module) -> set[str]:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def _whole(pieces: list[str]) -> str | None:
    """The program that finished pieces make; None if there is no Python."""
    trees = [(piece, tree, _uses(tree)) for piece in pieces if (tree := parse(piece)) is not None and tree.body]
    if not trees:
        return pieces[-1] if pieces else None
    both = [i for i, (_, _, uses) in enumerate(trees) if uses & _WRITES and uses & _READS]
    writes = [i for i, (_, _, uses) in enumerate(trees) if uses & _WRITES]
    main = both[-1] if both else writes[-1] if writes else len(trees) - 1
    source, tree, _ = trees[main]
    return _with_needs(source, tree, [piece for piece, _, _ in trees[:main]])


def _with_needs(source: str, tree: ast.Module, earlier: list[str]) -> str:
    """``source`` after those statements of earlier pieces that set names which it uses and does not set."""
    own = statements([Part(node, "", 0, 0) for node in tree.body])
    bound = {name for each in own for name in each.effects.binds}
    needed = {name for each in own for name in each.effects.loads} - bound
    found = []
    for piece in reversed(earlier):
        for each in reversed(statements(parts_of(piece))):
            if each.effects.binds & needed:
                found.append(each)
                needed = (needed - each.effects.binds) | (each.effects.loads - bound)
    return source_of(found[::-1]) + source if found else source
