"""The final mark: hidden tests in the sandbox, the value against the reference answer's, the letter of a choice.

Code is judged in the project's sandbox only. Values are what a model wrote and may be too large to work out, so they
are compared in a worker process that is ended when it has used up its processor time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Protocol

from smc_decode.answers.extractors import boxed
from smc_decode.answers.values import same
from smc_decode.sandbox import Sandbox
from smc_decode.workers.pool import TaskDied, TaskError, WorkerPool

from .problems import Problem, PromptForm
from .prompts import program_of

TEST_SECONDS = 5.0
MATH_SECONDS = 20.0


class MarkingError(RuntimeError):
    """An answer could not be marked, through no fault of its own."""


class Marker(Protocol):
    """Marks answers. Equal answers are marked once."""

    async def mark(self, problem: Problem, texts: Sequence[str], form: PromptForm) -> list[float]:
        """One mark a text: 1 if it is right; of a module the share of its functions that are."""
        ...

    def close(self) -> None: ...


class Marking:
    """The marks of all kinds of problems."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self._sandbox = sandbox
        self._made: WorkerPool | None = None

    async def mark(self, problem: Problem, texts: Sequence[str], form: PromptForm) -> list[float]:
        """One mark a text. Raises MarkingError."""
        if problem.parts:
            by_part = await asyncio.gather(*(self.mark(part, texts, form) for part in problem.parts))
            return [sum(each) / len(problem.parts) for each in zip(*by_part, strict=True)]
        if problem.kind == "code":
            shown = await asyncio.to_thread(lambda: [program_of(problem, text, form) for text in texts])
        else:
            shown = [boxed(text) or "" for text in texts]
        different = list(dict.fromkeys(shown))
        marks = await asyncio.gather(*(self._mark(problem, each) for each in different))
        table = dict(zip(different, marks, strict=True))
        return [float(table[each]) for each in shown]

    async def _mark(self, problem: Problem, shown: str) -> bool:
        if not shown.strip():
            return False
        if problem.kind == "code":
            return await self._run(problem, shown)
        if problem.kind == "choice":
            return letter(shown) == problem.reference
        return await self._equal(problem.reference, shown)

    async def _run(self, problem: Problem, program: str) -> bool:
        if self._sandbox is None:
            raise MarkingError("programs are marked in the sandbox, and none works here: see `smc-decode doctor`")
        # The program holds the prompt already: what precedes it is for tests that use the prompt's helpers.
        verdict = await self._sandbox.arun_tests(
            problem.question, "\n" + program, problem.reference, problem.entry_point, TEST_SECONDS
        )
        if verdict.status == "infrastructure":
            raise MarkingError(f"{problem.id}: {verdict.detail}")
        return verdict.status == "pass"

    async def _equal(self, reference: str, answer: str) -> bool:
        try:
            return bool(await self._workers.acall("same", MATH_SECONDS, reference=reference, answer=answer))
        except (TaskDied, TaskError):
            return False

    def close(self) -> None:
        """End the worker processes, whatever they do. Idempotent."""
        workers, self._made = self._made, None
        if workers is not None:
            workers.close()

    @property
    def _workers(self) -> WorkerPool:
        if self._made is None:
            self._made = WorkerPool(1)
        return self._made


def equal(reference: str, answer: str) -> bool:
    """Whether two final answers say the same. What a model wrote is for a worker process: its value may be too large to
    work out."""
    return same(reference, answer)


def letter(text: str) -> str:
    """The one choice that an answer names, or ''."""
    bare = _LAYOUT.sub(" ", text)
    alone = re.fullmatch(r"\W*([A-Da-d])\W*", bare)
    if alone is not None:
        return alone[1].upper()
    named = {match[1] for match in _NAMED.finditer(bare)}
    first = re.match(r"\s*[(\[*]?\s*([A-D])\s*(?:[).:\]*]|\s[-–—]|$)", bare)
    first = first or re.match(r"\s*([A-D])\s+is\s+(?:the\s+)?(?:correct|right|answer|best)\b", bare)
    if first is not None and not named:
        named = {first[1]}
    return named.pop().upper() if len(named) == 1 and not _SEVERAL.search(bare) else ""


_LAYOUT = re.compile(r"\\[A-Za-z]+\s*|[{}$*]")
_NAMED = re.compile(r"\b(?:answer|option|choice)s?\s*(?:is|:)?\s*[(\[]?\s*([A-D])\b", re.IGNORECASE)
_SEVERAL = re.compile(r"\b[A-D]\s*[)\]]?\s*(?:,|/|and|or|&)\s*[(\[]?[A-D]\b")
