"""The checker: holds the tests, calls the program through a proxy, and decides. Its control flow is the verdict.

It compares values that it has built itself out of tagged bytes, so that no object of the program's ever takes part in
a comparison. It runs in a box of its own, because tests may come from a client.
"""

import _signal  # type: ignore[import-not-found]
import os
import sys
from time import monotonic

from . import reach, rewrite, running, syntax
from .candidate import Candidate, CandidateFault, TestFault
from .channel import MAX_ANSWER, MAX_OBJECTS, MAX_REQUEST, Channel, ChannelClosed, ChannelTimeout
from .imports import parse_test
from .names import Names
from .recorder import DETAIL_LENGTH, Enough, Recorder

MAX_LINE = 1 << 31

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .prompt import Helpers


class Job:
    """One program and its tests.

    `program` is tried first and `fallback`, where there is one, if that is no Python. `counting`: go on after a
    failed assertion. `timeout` and `call_timeout`: seconds for the program in all and for one call of it.
    `test_grace`: seconds more for the tests themselves. `start_grace`: seconds for the runner to start.
    """

    tests: list[str]
    prompt: str
    program: str
    fallback: str | None
    entry: str
    counting: bool
    timeout: float
    call_timeout: float | None
    test_grace: float
    start_grace: float
    max_assertions: int

    def __init__(self, fields: dict[str, object]) -> None:
        self.__dict__.update(fields)


def serve() -> None:
    """Take one job from the server (descriptor 0) and answer it; the runner is at descriptor 1."""
    server = Channel(os.dup(0), MAX_ANSWER, MAX_REQUEST)
    runner = Channel(os.dup(1), MAX_REQUEST, MAX_OBJECTS)
    null = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    job = Job(server.receive())  # type: ignore[arg-type]
    try:
        hello = runner.receive(monotonic() + job.start_grace)
    except ChannelTimeout:
        hello = "no answer in time"
    except ChannelClosed as error:
        hello = str(error)
    if hello != ("hello",):
        server.send(("infrastructure", f"the runner did not start: {hello}"))
        return
    server.send(("started",))
    server.send(judge(job, runner))


def judge(job: Job, runner: Channel) -> tuple[object, ...]:
    """Run the tests against the program in the runner.

    Returns ("test-fault", detail), or ("judged", passed, detail, outcomes, held, total, seconds) with the outcomes, the
    shares added up and the number of assertions as `Recorder.summary` gives them, and the seconds that were spent
    waiting for the program.
    """
    _signal.signal(_signal.SIGALRM, _stop)
    _signal.setitimer(_signal.ITIMER_REAL, job.timeout + job.test_grace)
    try:
        judging = _Judging(job, runner)
        return judging.answer()
    except TestFault as error:
        return ("test-fault", str(error)[:DETAIL_LENGTH])
    except Enough:
        return ("test-fault", "the tests take too long to be prepared")
    finally:
        _signal.setitimer(_signal.ITIMER_REAL, 0)


def _stop(*_: object) -> None:
    raise Enough


class _Judging:
    """One job on its way to its verdict."""

    def __init__(self, job: Job, runner: Channel) -> None:
        self._job = job
        helpers = _helpers(job)
        self._tests = _prepare(job, helpers)
        valid = [test for test in self._tests if not isinstance(test, str)]
        mentions = {name for test in valid for name in test.mentions}
        self._candidate = Candidate(runner, job.entry, job.timeout, job.call_timeout, mentions)
        self._candidate.open_interfaces = "." in job.entry or _declares_class(job.prompt, job.entry)
        self._candidate.want_before = any(test.reads_before for test in valid)
        slots = [[] if isinstance(test, str) else _slots(test) for test in self._tests]
        if any("pytest" in source for source in job.tests):
            from . import pytest_names

            pytest_names.install()
        self._recorder = Recorder(self._candidate, slots, job.counting, job.max_assertions)
        self._names = Names(self._candidate, job.entry, {name for test in valid for name in test.free}, mentions)
        if helpers is not None:
            self._names.take_from_prompt(helpers)

    def answer(self) -> tuple[object, ...]:
        recorder, candidate = self._recorder, self._candidate
        passed, detail = False, ""
        try:
            passed = self._run_all()
        except CandidateFault as error:  # the program does not load
            detail = str(error)
            recorder.give_up(error.kind, detail)
        except Enough:
            detail = "the time or the number of evaluations is used up"
            recorder.give_up("timeout", detail)
        held, total, outcomes = recorder.summary()
        # the control flow decides, but never against the record
        spotless = candidate.fault is None and recorder.spotless
        detail = recorder.detail or detail or str(candidate.fault or "")
        return (
            "judged", passed and spotless, "" if passed and spotless else detail, outcomes, held, total,
            float(candidate.seconds),
        )  # fmt: skip

    def _run_all(self) -> bool:
        recorder = self._recorder
        passed = any(not isinstance(test, str) for test in self._tests)
        if passed:
            self._candidate.load(self._job.program, self._job.fallback, self._names.classes)
            self._names.take_from_program(recorder)
        for index, test in enumerate(self._tests):
            recorder.begin(index)
            try:
                if isinstance(test, str):
                    raise TestFault(test)
                if not self._run(index, test):
                    passed = False
                    if not self._job.counting:
                        break
            except TestFault as error:
                if len(self._tests) == 1:
                    raise
                recorder.invalid(index, str(error))
        return passed

    def _run(self, index: int, test: "rewrite.Rewritten") -> bool:
        """Execute one test. True if it ended as a passed test does."""
        candidate, recorder = self._candidate, self._recorder
        calls = candidate.calls
        errors: list[tuple[int, int, BaseException]] = []

        def ended(first: int, last: int, error: BaseException | None) -> None:
            fault = error or candidate.poison
            if fault is not None:
                errors.append((first, last, fault))
                candidate.poison = None  # the next one is not to pay for it

        try:
            running.execute(
                test.code, test.tree, self._names.all, candidate.function, ended if self._job.counting else None
            )
        except (TestFault, Enough):
            raise
        except BaseException as error:
            errors.append((0, MAX_LINE, error))
        finally:
            if not test.is_setup and "pytest" in sys.modules:
                running.forget_fixtures(test.tree, self._names.all)
        if candidate.calls == calls:
            self._must_call(errors)
        if test.is_setup and not errors:
            return True
        if not test.slots and not errors and candidate.poison is None:
            recorder.mark(0, True)
        for first, last, fault in errors:
            recorder.break_off(fault, _line(fault), first, last)
        recorder.end()
        return recorder.holds(index) and not errors

    def _must_call(self, errors: "list[tuple[int, int, BaseException]]") -> None:
        """A test that has never come to the candidate is no test, unless that is the candidate's fault."""
        for _, _, fault in errors:
            if not isinstance(fault, (AssertionError, CandidateFault)) and not self._names.is_missing(fault):
                what = f"{type(fault).__name__}: {fault}"
                raise TestFault(f"the test fails before it calls the candidate: {what}") from None
        if not errors and len(self._tests) == 1:
            raise TestFault("the test never calls the candidate")


def _helpers(job: Job) -> "Helpers | None":
    """What the prompt defines, where a test may use it: to look is to import `re`, a third of what a verdict costs."""
    if not job.prompt.strip() or ("class " not in job.prompt and not _free(job)):
        return None
    from .prompt import Helpers

    return Helpers(job.prompt)


def _free(job: Job) -> set[str]:
    """Names that the tests do not define themselves, beside the program's."""
    free: set[str] = set()
    for source in job.tests:
        try:
            free |= syntax.free_names(parse_test(source, "<test>", job.entry))
        except reach.FAULTS:
            continue
    return free - {job.entry.partition(".")[0], "candidate"}


def _prepare(job: Job, helpers: "Helpers | None") -> list["rewrite.Rewritten | str"]:
    """Each test, rewritten, or what is wrong with it."""
    tests: list[rewrite.Rewritten | str] = []
    for index, (source, found) in enumerate(zip(job.tests, reach.screen(job.tests, job.entry, helpers), strict=True)):
        if isinstance(found, str):
            tests.append(found)
            continue
        try:
            test = rewrite.rewrite(source, f"<test {index}>", job.entry, found.dead)
        except reach.FAULTS as error:
            tests.append(f"the test is no Python: {type(error).__name__}: {error}")
            continue
        test.is_setup = found.is_setup
        tests.append(test)
    if all(not isinstance(test, str) and test.is_setup for test in tests):
        raise TestFault("none of the tests calls the candidate")
    return tests


def _declares_class(prompt: str, name: str) -> bool:
    """Whether the prompt says that the entry point is a class."""
    return any(f"class {name}{after}" in prompt for after in "(: \n")


def _slots(test: "rewrite.Rewritten") -> "list[rewrite.Slot]":
    """Those of its assertions; a test that asserts nothing is itself one assertion, that it comes to its end."""
    return test.slots or ([] if test.is_setup else [rewrite.Slot(0, never=False)])


def _line(error: BaseException) -> int:
    """The line of the test at which it was left."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith("<test"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
