"""Programs that read standard input and write standard output: r = 0.3 · syntax + 0.7 · (share of cases that pass).

Outputs are compared line by line without trailing spaces and blank lines at the end, or as numbers within
``tolerance``. An unfinished program is run up to its cut if it has printed by then: a case is lost when its
output is no beginning of the expected one, and undecided otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, Literal, Protocol

from pydantic import Field, model_validator

from smc_decode.potentials.accounts import Workers
from smc_decode.potentials.base import Prefix, Reward, RewardFailure, RewardSource
from smc_decode.potentials.cache import ContentCache, content_key, gather
from smc_decode.potentials.code.program import Program
from smc_decode.potentials.code.reader import CodeReader
from smc_decode.potentials.code.unit_tests import Tally
from smc_decode.potentials.declaration import Kind, in_the_sandbox, no_sandbox
from smc_decode.potentials.options import Finite, Options, RewardRequest, Share
from smc_decode.sandbox.results import SandboxError, SandboxUnavailable, ScriptOutcome

PREFIX_TIMEOUT = 1.0
MAX_CASE = 1_000_000


class ScriptRunner(Protocol):
    """What this reward needs of :class:`smc_decode.sandbox.Sandbox`."""

    async def arun_stdin(self, source: str, stdin: str, timeout: float) -> ScriptOutcome: ...


class Case(Options):
    """One input and the output that it should give."""

    stdin: str = Field("", max_length=MAX_CASE)
    stdout: str = Field(max_length=MAX_CASE)


class StdinTestOptions(Options):
    """``timeout``: seconds for one case. ``tolerance``: numbers may differ by so much (relative or absolute); 0
    compares text. ``answer``: a ``message`` with the program in it, or a ``continuation`` of the prompt's code."""

    cases: tuple[Case, ...] = Field(min_length=1, max_length=200)
    answer: Literal["message", "continuation"] = "message"
    syntax_weight: Share = 0.3
    pending: Share = 0.5
    run_prefixes: bool = True
    timeout: Finite = Field(3.0, gt=0, le=120)
    tolerance: Finite = Field(0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _bounded(self) -> StdinTestOptions:
        if sum(len(case.stdin) + len(case.stdout) for case in self.cases) > 10 * MAX_CASE:
            raise ValueError(f"cases must have at most {10 * MAX_CASE} characters in all")
        return self


class StdinTests(RewardSource):
    """The reward source. The cache may be shared."""

    reads_lead = True

    def __init__(
        self,
        options: StdinTestOptions,
        request: RewardRequest,
        sandbox: ScriptRunner,
        *,
        name: str = "stdin_tests",
        cache: ContentCache[Tally] | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.name = name
        self.options = options
        self.cache: ContentCache[Tally] = ContentCache() if cache is None else cache
        self._sandbox = sandbox
        self._reader = CodeReader(workers)
        self._chat = options.answer != "continuation"
        self._lead = request.lead or ("" if self._chat else request.prompt_text)
        self._key = content_key(
            [(case.stdin, case.stdout) for case in options.cases], options.timeout, options.tolerance
        )

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        programs = await self._reader.programs(batch, prompt="", lead=self._lead, entry_point="", chat=self._chat)
        run = [i for i, p in enumerate(programs) if p.runnable and (p.complete or self.options.run_prefixes)]
        keys = [content_key(self._key, programs[i].source, programs[i].complete) for i in run]

        async def compute(missing: list[int]) -> list[Tally]:
            return await gather(self._tally(programs[run[i]]) for i in missing)

        tallies = dict(zip(run, await self.cache.map(keys, compute), strict=True))
        return [self._reward(program, tallies.get(i)) for i, program in enumerate(programs)]

    async def _tally(self, program: Program) -> Tally:
        verdicts = await gather(self._case(program, case) for case in self.options.cases)
        return Tally(verdicts.count("passed"), verdicts.count("undecided"), len(verdicts))

    async def _case(self, program: Program, case: Case) -> str:
        timeout = self.options.timeout if program.complete else min(self.options.timeout, PREFIX_TIMEOUT)
        try:
            outcome = await self._sandbox.arun_stdin(program.source, case.stdin, timeout)
        except (SandboxError, SandboxUnavailable) as error:
            raise RewardFailure(f"reward {self.name!r}: {error}") from error
        if program.complete:
            right = outcome.kind == "ended" and same_output(outcome.stdout, case.stdout, self.options.tolerance)
            return "passed" if right else "failed"
        return "undecided" if begins(outcome.stdout, case.stdout, self.options.tolerance) else "failed"

    def _reward(self, program: Program, tally: Tally | None) -> Reward:
        detail: dict[str, Any] = {"basis": "cases", "syntax": program.syntax, "complete": program.complete}
        if not program.syntax:
            lost = program.ended or not program.mendable
            return Reward(0.0, {**detail, "note": "no valid Python"}, at_most=0.0 if lost else 1.0)
        if tally is None:
            share, most = (0.0, 0.0) if program.complete else (self.options.pending, 1.0)
        else:
            share, most = tally.share(self.options.pending), tally.share(1.0)
            detail |= {"passed": tally.passed, "undecided": tally.undecided, "total": tally.total}
        if not program.ended and program.mendable:  # a better program may follow
            most = 1.0
        weight = self.options.syntax_weight
        return Reward(weight + (1.0 - weight) * share, detail, weight + (1.0 - weight) * most)


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def same_output(got: str, expected: str, tolerance: float = 0.0) -> bool:
    """Whether two outputs agree line by line."""
    lines, wanted = _lines(got), _lines(expected)
    return len(lines) == len(wanted) and all(_same(a, b, tolerance) for a, b in zip(lines, wanted, strict=True))


def begins(got: str, expected: str, tolerance: float = 0.0) -> bool:
    """Whether ``got`` can still be continued to ``expected``; its last line may be unfinished."""
    lines, wanted = _lines(got), _lines(expected)
    if len(lines) > len(wanted):
        return False
    if not lines:
        return True
    if not all(_same(a, b, tolerance) for a, b in zip(lines[:-1], wanted, strict=False)):
        return False
    last, goal = lines[-1], wanted[len(lines) - 1]
    return _same(last, goal, tolerance) or (not got.endswith("\n") and goal.startswith(last))


def _same(got: str, expected: str, tolerance: float) -> bool:
    if got == expected:
        return True
    if not tolerance:
        return False
    for first, second in zip_longest(got.split(), expected.split(), fillvalue=""):
        if first == second:
            continue
        try:
            if not math.isclose(float(first), float(second), rel_tol=tolerance, abs_tol=tolerance):
                return False
        except ValueError:
            return False
    return True


KIND = Kind(
    "Share of input/output cases that a program passes in the sandbox, and valid syntax (weight 0.3)",
    StdinTestOptions,
    in_the_sandbox(StdinTests),
    request_params=("cases", "answer", "syntax_weight", "pending", "run_prefixes", "tolerance"),
    code_params=("answer=continuation",),
    missing=no_sandbox,
)
