"""Reads a program out of an answer that may be unfinished: what can run already, and is it Python so far?

Three styles of answer are known: a continuation of the prompt's code (HumanEval completions), whole functions, and
chat answers with the code in a fence. An unfinished function is closed by *cuts*: a ``raise`` wherever control would
reach the text that is not there yet. A call that returns before it meets a cut gives its final answer; a call that
meets one is undecided. Nothing is executed here.
"""

from __future__ import annotations

import ast
import builtins
import io
import re
import threading
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

CUT = "__unfinished__"
"""The message of the NotImplementedError that marks a cut."""

MAX_SOURCE = 100_000
"""Characters; a longer program is not judged but counts as no Python."""

MAX_SEARCHED = 400_000
"""Characters that are looked through for code in a prompt, counting each look."""

_FENCE = re.compile(r"^[ \t]{0,3}(```+|~~~+)[ \t]*([\w+#.-]*)[^\n`]*$", re.MULTILINE)
_CODE_LINE = re.compile(r"^(?:from\s+[\w.]+\s+import\b|import\s+\w|(?:async\s+)?def\s+\w+\s*\(|class\s+\w+|@\w)")
_BLOCKS = frozenset(
    [
        "if",
        "elif",
        "else",
        "for",
        "while",
        "try",
        "except",
        "finally",
        "with",
        "def",
        "class",
        "async",
        "match",
        "case",
    ]
)
_KEPT_AFTER = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_LAYOUT = (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
_MAX_ATTEMPTS = 60
_WARNINGS = threading.Lock()


@dataclass(frozen=True, slots=True)
class Program:
    """A program read from an answer.

    ``syntax``: Python so far (an unfinished last statement is no error). ``complete``: the function has ended, so every
    call is decided; ``ended``: no more text will come. ``runnable``: running ``source`` can decide something.
    """

    source: str
    syntax: bool
    complete: bool
    ended: bool
    runnable: bool


def parse(source: str) -> ast.Module | None:
    """The syntax tree, or None for what is no Python (nesting that is too deep for the parser included)."""
    if len(source) > MAX_SOURCE or "\0" in source:
        return None
    try:
        # the filters are process-wide: the lock keeps two parses from restoring each other's
        with _WARNINGS, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(source, "<candidate>")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def read_program(prompt: str, text: str, *, finished: bool, entry_point: str, chat: bool = False) -> Program:
    """The program that ``text`` answers ``prompt`` with.

    ``prompt`` is code (see :func:`code_of_prompt`); ``chat`` says that the answer is a message and not a continuation.
    ``entry_point`` is a function, ``Class.method``, or empty for a script.
    """
    if len(text) > MAX_SOURCE:
        return Program("", False, finished, finished, False)
    found = _extract(prompt, text, entry_point, chat, finished)
    if found is None:  # prose so far
        return Program("", True, False, False, False)
    code, closed = found
    ended = finished or closed
    full, start = _assemble(prompt, code, entry_point, ended)
    if not entry_point:
        return _read_script(full, ended)
    end = _end_of_function(full, start, entry_point, ended)
    if end is not None:
        return Program(end, True, True, ended, True)
    if ended:
        tree = parse(full)
        return Program(full, tree is not None, True, True, tree is not None)
    return _close(full, entry_point)


def code_of_prompt(prompt: str) -> str:
    """The code in a prompt: all of it, its last fenced block with a function, or the part that reads as code; or ''."""
    if _is_code(prompt):
        return prompt
    for code, _, _ in reversed(list(_fences(prompt))):
        if re.search(r"^(?:async\s+)?def\s|^class\s", code, re.MULTILINE) and _is_code(code):
            return code
    lines = prompt.split("\n")
    budget = MAX_SEARCHED
    for first, line in enumerate(lines):
        if not _CODE_LINE.match(line):
            continue
        for last in range(len(lines), first, -1):
            part = "\n".join(lines[first:last])
            budget -= len(part) + 20
            if budget < 0:
                return ""
            if re.search(r"^(?:async\s+)?def\s", part, re.MULTILINE) and _is_code(part):
                return part
    return ""


def infer_entry_point(prompt: str, tests: Sequence[str] = ()) -> str | None:
    """The function under test: what the tests call, else the prompt's last top-level function. None if neither says."""
    tree = parse(_closed_source(prompt) or "")
    defined = [] if tree is None else [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    called: list[str] = []
    for test in tests:
        parsed = parse(test)
        if parsed is None:
            continue
        if any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in parsed.body):
            return defined[-1] if defined else None  # check(candidate) may call the prompt's helpers by name
        called += [
            call.func.id
            for node in ast.walk(parsed)
            if isinstance(node, ast.Assert)
            for call in ast.walk(node.test)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name)
        ]
    known = [name for name in defined if name in called]
    foreign = [name for name in called if not hasattr(builtins, name) and name != "candidate"]
    if known or foreign:
        return known[-1] if known else foreign[0]
    return defined[-1] if defined else None


# -- extracting the code --------------------------------------------------------------------------------------------


def _fences(text: str) -> Iterator[tuple[str, bool, int]]:
    """Each fenced block: its code, whether it is closed, and where it begins."""
    opener: re.Match[str] | None = None
    for match in _FENCE.finditer(text):
        if opener is None:
            opener = match
        elif match[1][0] == opener[1][0] and len(match[1]) >= len(opener[1]) and not match[2]:
            yield text[opener.end() + 1 : match.start()], True, opener.start()
            opener = None
    if opener is not None:
        yield text[opener.end() + 1 :], False, opener.start()


def fenced_code(text: str) -> str | None:
    """The code of the last fenced block, closed or not; None without a fence."""
    blocks = list(_fences(text))
    return blocks[-1][0] if blocks else None


def _defines(code: str, entry_point: str) -> bool:
    name = re.escape(entry_point.partition(".")[0])
    return re.search(rf"^(?:async\s+def|def|class)\s+{name}\b", code, re.MULTILINE) is not None


def _extract(prompt: str, text: str, entry_point: str, chat: bool, finished: bool) -> tuple[str, bool] | None:
    """The code in ``text`` and whether it is closed; None while there is nothing but prose."""
    blocks = list(_fences(text))
    if blocks and not chat:
        before = text[: blocks[0][2]]
        bare = _FENCE.match(text, blocks[0][2])
        if before.strip() and bare is not None and not bare[2] and not _defines(blocks[0][0], entry_point or "?"):
            return before, True  # the fence that closes a block which the prompt opened
    if blocks:
        for code, closed, _ in blocks:
            if entry_point and _defines(code, entry_point):
                return code, closed
        code, closed, _ = blocks[0] if not entry_point else blocks[-1]
        return code, closed and not entry_point  # another block may still bring the function
    if not chat:
        return text, False
    lines = text.split("\n")
    for index, line in enumerate(lines):
        if _CODE_LINE.match(line):
            return "\n".join(lines[index:]), False
    return (text, False) if finished else None


def _assemble(prompt: str, code: str, entry_point: str, ended: bool) -> tuple[str, int]:
    """The whole source, and the offset at which the generated code begins."""
    if not entry_point:
        return code, 0
    last_line = prompt.rpartition("\n")[2]
    joined = bool(last_line) and not code.startswith("\n")
    first = next((line for line in code.split("\n") if line.strip()), "")
    at_margin = bool(first) and not first[0].isspace() and not joined
    if at_margin and (_defines(code, entry_point) or not ended):
        head = _preamble(prompt, entry_point)
        return head + code, len(head)
    if prompt and not last_line.strip() and not prompt.endswith("\n"):
        # a prompt that ends in an indentation which the answer repeats
        stripped = prompt[: len(prompt) - len(last_line)]
        if first[:1].isspace() and not code.startswith("\n"):
            return stripped + code, len(stripped)
    return prompt + code, len(prompt)


def _preamble(prompt: str, entry_point: str) -> str:
    """What the prompt has before the function: imports and helpers that a whole function may lean on."""
    name = re.escape(entry_point.partition(".")[0])
    match = re.search(rf"^(?:async\s+def|def|class)\s+{name}\b", prompt, re.MULTILINE)
    head = prompt[: match.start()] if match else prompt
    tree = parse(head)
    return head.rstrip() + "\n\n" if head.strip() and tree is not None and match else ""


# -- where it ends --------------------------------------------------------------------------------------------------


def _end_of_function(full: str, start: int, entry_point: str, ended: bool) -> str | None:
    """The source up to where the function and its helpers have ended, without what follows; None if it goes on."""
    tree = parse(full) if ended else None
    if tree is not None and _find(tree, entry_point) is not None:
        return _without_epilogue(full, tree, entry_point)
    lines = full.split("\n")
    first = full.count("\n", 0, start)
    margins = [
        index
        for index, line in enumerate(lines)
        if index >= max(first, 1) and line[:1] and not line[0].isspace() and line[0] not in "#)]}"
    ]
    for index in margins[:_MAX_ATTEMPTS]:
        head = parse("\n".join(lines[:index]))
        if head is not None and _find(head, entry_point) is not None:
            break
    else:
        return None
    for later in reversed([i for i in margins if i >= index][:_MAX_ATTEMPTS]):
        source = "\n".join(lines[:later]) + "\n"
        longer = parse(source)
        if longer is not None:
            return _without_epilogue(source, longer, entry_point)
    return None


def _find(tree: ast.Module, entry_point: str) -> ast.stmt | None:
    """The last definition of the entry point (for ``Class.method``: of the class)."""
    name = entry_point.partition(".")[0]
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [node for node in tree.body if isinstance(node, definitions) and node.name == name]
    return found[-1] if found else None


def _without_epilogue(source: str, tree: ast.Module, entry_point: str) -> str:
    """Leave out what an answer often adds after the function: prints, asserts, a main block, sample calls."""
    entry = _find(tree, entry_point)
    position = next((i for i, node in enumerate(tree.body) if node is entry), len(tree.body))
    kept = [node for i, node in enumerate(tree.body) if i <= position or _is_definition(node)]
    if len(kept) == len(tree.body):
        return source
    try:
        return ast.unparse(ast.Module(kept, [])) + "\n"
    except (RecursionError, ValueError):
        return source


def _is_definition(node: ast.stmt) -> bool:
    if isinstance(node, _KEPT_AFTER):
        return True
    return isinstance(node, (ast.Assign, ast.AnnAssign)) and not any(isinstance(n, ast.Call) for n in ast.walk(node))


# -- closing what is unfinished -------------------------------------------------------------------------------------


def _close(full: str, entry_point: str) -> Program:
    lines = _closed_lines(full)
    source = None if lines is None else _with_cuts(lines)
    tree = parse(source) if source is not None else None
    if source is None or tree is None:
        return Program("", False, False, False, False)
    return Program(source, True, False, False, _may_return(tree, entry_point))


def _read_script(full: str, ended: bool) -> Program:
    if ended:
        valid = parse(full) is not None
        return Program(full, valid, True, True, valid)
    lines = _closed_lines(full)
    source = None if lines is None else _with_cuts(lines, script=True)
    tree = parse(source) if source is not None else None
    if source is None or tree is None:
        return Program("", False, False, False, False)
    prints = any(
        isinstance(node, ast.Call)
        and (node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", ""))
        in ("print", "write", "writelines")
        for node in ast.walk(tree)
    )
    return Program(source, True, False, False, prints)


def _closed_source(code: str) -> str | None:
    """``code``, made whole where its end is open."""
    if parse(code) is not None:
        return code
    lines = _closed_lines(code if code.endswith("\n") else code + "\n")
    return None if lines is None else _with_cuts(lines)


def _is_code(text: str) -> bool:
    source = _closed_source(text)
    return source is not None and parse(source) is not None


@dataclass(frozen=True, slots=True)
class _Lines:
    """The finished logical lines of a source: their text, and for each its indentation, first word and whether it
    opens a block."""

    text: str
    logical: tuple[tuple[str, str, bool], ...]


def _closed_lines(full: str) -> _Lines | None:
    """The logical lines that are certainly finished; None if there is an error that no continuation can mend."""
    closed = full[: full.rfind("\n") + 1]  # the last line may still grow
    physical = closed.split("\n")
    logical: list[tuple[str, str, bool]] = []
    last_row = 0
    first: tokenize.TokenInfo | None = None
    previous: tokenize.TokenInfo | None = None
    try:
        for token in tokenize.generate_tokens(io.StringIO(closed).readline):
            if token.type == tokenize.ERRORTOKEN and token.string.strip():
                return None
            if token.type == tokenize.NEWLINE:
                if first is not None and previous is not None:
                    indent = physical[first.start[0] - 1][: first.start[1]]
                    opens = previous.string == ":" and first.string in _BLOCKS
                    logical.append((indent, _keyword(first, physical), opens))
                last_row, first, previous = token.end[0], None, None
            elif token.type not in _LAYOUT:
                first, previous = first or token, token
    except IndentationError:
        return None
    except (tokenize.TokenError, SyntaxError) as error:
        message = str(error.args[0]) if error.args else ""
        if "EOF" not in message and "triple-quoted" not in message:
            return None
    while logical and logical[-1][1] == "@":  # a decorator waits for its function
        logical.pop()
        last_row -= 1
    return _Lines("\n".join(physical[:last_row]), tuple(logical))


def _keyword(first: tokenize.TokenInfo, physical: Sequence[str]) -> str:
    if first.string == "async":
        rest = physical[first.start[0] - 1][first.end[1] :].split()
        return rest[0] if rest else "async"
    return first.string


def _with_cuts(lines: _Lines, script: bool = False) -> str:
    """The source with a cut wherever control would go on into the missing text."""
    cut = f"raise NotImplementedError({CUT!r})"
    stack: list[tuple[str, str]] = []
    for indent, word, opens in lines.logical:
        while stack and len(stack[-1][0]) >= len(indent):
            stack.pop()
        if opens:
            stack.append((indent, word))
    tail: list[str] = []
    opened = bool(lines.logical) and lines.logical[-1][2]
    level = "" if not lines.logical else lines.logical[-1][0] + ("    " if opened else "")
    for depth in range(len(stack), 0, -1):
        inner = stack[depth - 1][1]
        if inner == "match":  # holds cases only
            tail += [f"{level}case _:", f"{level}    {cut}"] if not tail else []
        elif inner == "class":
            tail.append(f"{level}pass")
        else:
            inside = script or any(word == "def" for _, word in stack[:depth])
            tail.append(level + (cut if inside else "pass"))
        level = stack[depth - 1][0]
        if inner == "try":
            inside = script or any(word == "def" for _, word in stack[: depth - 1])
            tail.append(f"{level}except BaseException: {cut if inside else 'pass'}")
    if script:
        tail.append(cut)
    return "\n".join([lines.text, *tail, ""])


def _may_return(tree: ast.Module, entry_point: str) -> bool:
    """Whether some path through the entry point returns before a cut."""
    entry: ast.AST | None = _find(tree, entry_point)
    method = entry_point.partition(".")[2]
    if entry is not None and method:
        entry = next(
            (node for node in ast.iter_child_nodes(entry) if isinstance(node, ast.FunctionDef) and node.name == method),
            None,
        )
    if entry is None:
        return False
    todo = list(ast.iter_child_nodes(entry))
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)):
            return True
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))
    return False
