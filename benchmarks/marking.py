"""The final mark: hidden tests in the sandbox, math-verify against the reference answer, the letter of a choice.

Code is judged in the project's sandbox only. Mathematics is read by SymPy from what a model wrote, which can take for
ever, so it runs in a worker process that is ended when it overruns.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from smc_decode.answers.extractors import boxed
from smc_decode.sandbox import Sandbox

from .problems import Problem, PromptForm
from .prompts import program_of

TEST_SECONDS = 5.0
MATH_SECONDS = 20.0


class MarkingError(RuntimeError):
    """An answer could not be marked, through no fault of its own."""


class Marker(Protocol):
    """Marks answers. Equal answers are marked once."""

    async def mark(self, problem: Problem, texts: Sequence[str], form: PromptForm) -> list[bool]: ...

    def close(self) -> None: ...


class Marking:
    """The marks of all kinds of problems."""

    def __init__(self, sandbox: Sandbox | None = None) -> None:
        self._sandbox = sandbox
        self._judges: ProcessPoolExecutor | None = None
        self._turn = asyncio.Lock()

    async def mark(self, problem: Problem, texts: Sequence[str], form: PromptForm) -> list[bool]:
        """One mark a text. Raises MarkingError."""
        if problem.kind == "code":
            shown = await asyncio.to_thread(lambda: [program_of(problem, text, form) for text in texts])
        else:
            shown = [boxed(text) or "" for text in texts]
        different = list(dict.fromkeys(shown))
        marks = await asyncio.gather(*(self._mark(problem, each) for each in different))
        table = dict(zip(different, marks, strict=True))
        return [table[each] for each in shown]

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
        async with self._turn:
            if self._judges is None:
                self._judges = ProcessPoolExecutor(1)
            future = asyncio.get_running_loop().run_in_executor(self._judges, equal, reference, answer)
            try:
                return await asyncio.wait_for(future, MATH_SECONDS)
            except (TimeoutError, BrokenProcessPool):
                self.close()
                return False

    def close(self) -> None:
        """End the worker process, whatever it does."""
        pool, self._judges = self._judges, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):
                with contextlib.suppress(OSError):
                    process.kill()
            pool.shutdown(wait=False, cancel_futures=True)


def equal(reference: str, answer: str) -> bool:
    """Whether math-verify finds the two LaTeX values equal. For a worker process: it sets alarms."""
    from math_verify import parse, verify

    gold: Any = parse(f"\\boxed{{{reference}}}")
    given: Any = parse(f"\\boxed{{{answer}}}")
    return bool(verify(gold, given))


def letter(text: str) -> str:
    """The choice that an answer names, or ''."""
    match = re.fullmatch(r"\W*(?:\\text\s*\{)?\W*([A-Da-d])\b.*", text.strip(), re.DOTALL)
    return match[1].upper() if match else ""
