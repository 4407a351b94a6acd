"""Unit tests as a reward: r = 0.3 · syntax + 0.7 · (share of assertions that pass), the weights of arXiv 2604.16453.

A prefix is judged by what is certain already. An unfinished function is closed by cuts (``program``) and run:
an assertion whose calls return before a cut is decided, and one that is not counts ``pending``. So an unfinished one
that can still be right never scores below a finished wrong one, a wrong early return shows at once, and a function that
has ended has its final score though its sequence goes on. With the telescoping kind prefix scores are twists: only the
final score is in the target. What cannot be mended (a syntax error in a finished line) scores 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, Self

from pydantic import Field, model_validator

from smc_decode.potentials.accounts import Workers
from smc_decode.potentials.base import PotentialError, Prefix, Reward, RewardFailure, RewardSource
from smc_decode.potentials.cache import ContentCache, content_key, gather
from smc_decode.potentials.code.probes import behaviour_of
from smc_decode.potentials.code.program import (
    CUT,
    Program,
)
from smc_decode.potentials.code.reader import CodeReader
from smc_decode.potentials.declaration import Kind, in_the_sandbox, no_sandbox
from smc_decode.potentials.options import Finite, Options, RewardRequest, RewardRequestError, Share
from smc_decode.sandbox.results import (
    AssertionOutcome,
    AssertionReport,
    Call,
    CallOutcome,
    InvalidTest,
    SandboxError,
    SandboxUnavailable,
)

MAX_TEST_SOURCE = 200_000
PREFIX_TIMEOUT = 1.0
PREFIX_CALL_TIMEOUT = 0.3
MAX_NAMES = 100
"""Tests that a reward's detail names."""

AnswerStyle = Literal["auto", "continuation", "message"]


class AssertionRunner(Protocol):
    """What these rewards need of :class:`smc_decode.sandbox.Sandbox`."""

    async def arun_assertions(
        self,
        source: str,
        tests: str | Sequence[str],
        entry_point: str,
        timeout: float,
        *,
        prompt: str = "",
        fallback: str | None = None,
        call_timeout: float | None = None,
        max_assertions: int = 1000,
    ) -> AssertionReport: ...

    async def arun_calls(
        self,
        source: str,
        calls: Sequence[Call],
        entry_point: str,
        timeout: float,
        *,
        fallback: str | None = None,
        call_timeout: float | None = None,
    ) -> list[CallOutcome]: ...


class CodeOptions(Options):
    """What every reward that runs functions can be told. Times in seconds.

    ``prompt``: the code that the answer continues (default: the request's prompt). ``answer``: ``continuation`` of that
    code, or a ``message`` with the code in it (``auto``: a message in chat requests). ``pending``: what an assertion
    counts that cannot be decided yet; None: 0.5, and 1 where several functions are asked for, so that an answer that is
    further on is not worth more for that alone. ``run_prefixes`` false: unfinished functions are judged by syntax.
    """

    prompt: str | None = Field(None, max_length=MAX_TEST_SOURCE)
    entry_point: str | None = Field(None, max_length=200, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)?$")
    answer: AnswerStyle = "auto"
    syntax_weight: Share = 0.3
    pending: Share | None = None
    run_prefixes: bool = True
    timeout: Finite = Field(3.0, gt=0, le=120)
    call_timeout: Finite = Field(1.0, gt=0, le=120)

    @property
    def undecided(self) -> float:
        """What an assertion counts that cannot be decided yet."""
        return 0.5 if self.pending is None else self.pending

    def for_several(self) -> Self:
        """The same where several functions are asked for."""
        return self if self.pending is not None else self.model_copy(update={"pending": 1.0})


class UnitTestOptions(CodeOptions):
    """``test`` defines ``check(candidate)`` as HumanEval's do; ``tests`` is a list of assert statements as MBPP's."""

    test: str | None = Field(None, max_length=MAX_TEST_SOURCE)
    tests: tuple[str, ...] | None = Field(None, max_length=1000)

    @model_validator(mode="after")
    def _one_of_them(self) -> UnitTestOptions:
        if (self.test is None) == (self.tests is None):
            raise ValueError("give either test (defines check(candidate)) or tests (a list of assert statements)")
        if self.tests is not None and (not self.tests or sum(map(len, self.tests)) > MAX_TEST_SOURCE):
            raise ValueError(f"tests must have 1 to 1000 statements of at most {MAX_TEST_SOURCE} characters in all")
        return self


@dataclass(frozen=True, slots=True)
class CodeTask:
    """A function to be written: the code that it continues, its name, and how answers are written.

    ``lead``: what the assistant's message begins with already. ``helpers``: text whose code tests may use, the whole of
    what the user wrote: a helper may be in another block than the function. ``names``: what else the tests use;
    ``several``: these are under test too, and there is no one entry point.
    """

    prompt: str
    entry_point: str
    chat: bool
    lead: str = ""
    helpers: str = ""
    names: tuple[str, ...] = ()
    several: bool = False

    async def read(self, batch: Sequence[Prefix], reader: CodeReader) -> list[Program]:
        """The program of each answer."""
        return await reader.programs(
            batch, prompt=self.prompt, lead=self.lead, entry_point=self.entry_point, chat=self.chat, names=self.names
        )

    @property
    def tested(self) -> str:
        """The entry point as the sandbox takes it."""
        return "" if self.several else self.entry_point


def code_task(
    options: CodeOptions, request: RewardRequest, tests: Sequence[str] = (), reader: CodeReader | None = None
) -> CodeTask:
    """The task of a request. Raises RewardRequestError when no entry point is given or found."""
    task = request.task if options.prompt is None else options.prompt
    prompt, entry_point, names, several = (reader or CodeReader()).task(task, options.entry_point, tests)
    if not entry_point:
        raise RewardRequestError(
            "no function was found in the prompt or the tests: give smc.reward.params.entry_point",
            "smc.reward.params.entry_point",
        )
    chat = request.messages is not None if options.answer == "auto" else options.answer == "message"
    return CodeTask(prompt, entry_point, chat, request.lead, task, names, several)


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of a program's written assertions, each with one share. ``total`` 0: it was not run."""

    passed: float
    undecided: float
    total: int
    note: str = ""
    tests: tuple[tuple[str, str], ...] = ()
    """Each test's name and ``passed``, ``failed`` or ``open``."""
    behaviour: str | None = None
    """What the program does on the probes (``probes.behaviour_of``), if it passed everything and there are some."""

    def share(self, pending: float) -> float:
        return (self.passed + pending * self.undecided) / self.total if self.total else pending


class UnitTests(RewardSource):
    """The reward source. ``tests`` as ``Sandbox.run_assertions`` takes them. The cache may be shared."""

    reads_lead = True

    def __init__(
        self,
        task: CodeTask,
        tests: str | Sequence[str],
        sandbox: AssertionRunner,
        options: CodeOptions,
        *,
        name: str = "unit_tests",
        cache: ContentCache[Tally] | None = None,
        param: str = "smc.reward.params.test",
        basis: str = "tests",
        probes: Sequence[Call] = (),
        reader: CodeReader | None = None,
    ) -> None:
        self.name = name
        self.task = task
        self.options = options
        self.cache: ContentCache[Tally] = ContentCache() if cache is None else cache
        self._tests = tests if isinstance(tests, str) else list(tests)
        self._sandbox = sandbox
        self._param = param
        self._basis = basis
        self._probes = list(probes)
        self._reader = reader or CodeReader()
        self._names = self._reader.test_names([self._tests] if isinstance(self._tests, str) else self._tests)
        self._test_key = content_key(
            self._tests, task.entry_point, task.helpers, options.timeout, options.call_timeout, self._probes
        )

    async def rewards(self, batch: Sequence[Prefix]) -> list[Reward]:
        programs = await self.task.read(batch, self._reader)
        run = [i for i, p in enumerate(programs) if p.runnable and (p.complete or self.options.run_prefixes)]
        keys = [content_key(self._test_key, programs[i].source, programs[i].ended, programs[i].complete) for i in run]

        async def compute(missing: list[int]) -> list[Tally]:
            return await gather(self._run(programs[run[i]]) for i in missing)

        tallies: dict[int, Tally] = dict(zip(run, await self.cache.map(keys, compute), strict=True))
        return [self._reward(program, tallies.get(i)) for i, program in enumerate(programs)]

    async def _run(self, program: Program) -> Tally:
        options = self.options
        timeout, call_timeout = options.timeout, min(options.call_timeout, options.timeout)
        if not program.complete:
            timeout, call_timeout = min(timeout, PREFIX_TIMEOUT), min(call_timeout, PREFIX_CALL_TIMEOUT)
        try:
            report = await self._sandbox.arun_assertions(
                program.source, self._tests, self.task.tested, timeout,
                prompt=self.task.helpers, call_timeout=call_timeout,
            )  # fmt: skip
            tally = self._tally(program, report)
            if self._probes and program.ended and tally.total and tally.passed == tally.total:
                outcomes = await self._sandbox.arun_calls(
                    program.source, self._probes, self.task.entry_point, timeout, call_timeout=call_timeout
                )
                tally = replace(tally, behaviour=behaviour_of(outcomes))
        except InvalidTest as error:
            raise PotentialError(f"{self._param}: the test cannot be run: {error}") from error
        except (SandboxError, SandboxUnavailable) as error:
            raise RewardFailure(f"reward {self.name!r}: {error}") from error
        return tally

    def _tally(self, program: Program, report: AssertionReport) -> Tally:
        judged = [outcome for outcome in report.outcomes if outcome.kind != "invalid"]
        if report.outcomes and not judged and report.total == 0:
            raise PotentialError(f"{self._param}: none of the tests can be run: {report.outcomes[0].detail}")
        passed = report.passed
        if passed == report.total and not report.all_passed:  # a fault beside the assertions
            passed = max(0.0, passed - 1.0)
        open_ = [outcome for outcome in judged if not program.ended and self._is_open(program, outcome)]
        undecided = sum(outcome.share for outcome in open_)
        return Tally(passed, undecided, report.total, report.detail, self._by_name(judged, open_))

    def _by_name(
        self, judged: Sequence[AssertionOutcome], open_: Sequence[AssertionOutcome]
    ) -> tuple[tuple[str, str], ...]:
        """What became of each test: failed as soon as one of its assertions is, passed when all are."""
        found: dict[str, str] = {}
        for outcome in judged:
            name = self._name(outcome)
            status = "passed" if outcome.kind == "passed" else "open" if outcome in open_ else "failed"
            found[name] = max(status, found.get(name, "passed"), key=("passed", "open", "failed").index)
        return tuple(found.items())[:MAX_NAMES]

    def _name(self, outcome: AssertionOutcome) -> str:
        places = self._names[outcome.test] if outcome.test < len(self._names) else []
        return next((name for first, last, name in places if first <= outcome.line <= last), f"line {outcome.line}")

    @staticmethod
    def _is_open(program: Program, outcome: AssertionOutcome) -> bool:
        """Whether the rest of the answer may still decide an assertion."""
        if outcome.kind == "passed":
            return False
        waits = CUT in outcome.detail or "NameError" in outcome.detail  # a helper may still be written
        return waits or (not program.complete and outcome.kind in ("timeout", "unreached"))

    def _reward(self, program: Program, tally: Tally | None) -> Reward:
        detail: dict[str, Any] = {
            "basis": self._basis, "syntax": program.syntax, "complete": program.complete,
            "passed": 0, "undecided": None, "total": None,
        }  # fmt: skip
        if not program.syntax:
            lost = program.ended or not program.mendable
            return Reward(0.0, {**detail, "note": "no valid Python"}, at_most=0.0 if lost else 1.0)
        if tally is None:
            share = 0.0 if program.complete else self.options.undecided
        else:
            share = tally.share(self.options.undecided)
            detail |= {"passed": tally.passed, "undecided": tally.undecided, "total": tally.total}
            if tally.note and program.ended:
                detail["note"] = tally.note
            if tally.tests:
                detail["tests"] = [{"name": name, "status": status} for name, status in tally.tests]
            if tally.behaviour:
                detail["behaviour"] = tally.behaviour
        weight = self.options.syntax_weight
        value = weight + (1.0 - weight) * share
        # as long as there is text to come it may define the function anew, and the last definition counts
        return Reward(value, detail, value if program.ended else 1.0)


def create(
    options: UnitTestOptions,
    request: RewardRequest,
    sandbox: AssertionRunner,
    *,
    name: str = "unit_tests",
    cache: ContentCache[Tally] | None = None,
    workers: Workers | None = None,
) -> UnitTests:
    """The source for one request. Raises RewardRequestError where there is no entry point, and (``invalid_reward``) for
    tests that are no Python or would accept every program."""
    param = "smc.reward.params.test" if options.tests is None else "smc.reward.params.tests"
    tests: str | tuple[str, ...] = options.test if options.test is not None else options.tests or ()
    listed = (tests,) if isinstance(tests, str) else tests
    reader = CodeReader(workers)
    task = code_task(options, request, listed, reader)
    refused = reader.refused(listed, task.tested, task.helpers)
    if refused is not None:
        number, why = refused
        where = param if isinstance(tests, str) else f"{param}.{number}"
        raise RewardRequestError(f"{where}{why}", where, "invalid_reward")
    options = options.for_several() if task.several else options
    return UnitTests(task, tests, sandbox, options, name=name, cache=cache, param=param, reader=reader)


CODE_PARAMS = ("prompt", "entry_point", "answer", "syntax_weight", "pending", "run_prefixes")

KIND = Kind(
    "Share of unit tests passed in the sandbox, and valid syntax (weight 0.3)",
    UnitTestOptions,
    in_the_sandbox(create),
    request_params=("test", "tests", *CODE_PARAMS),
    code_params=("test", "tests", "prompt"),
    missing=no_sandbox,
)
