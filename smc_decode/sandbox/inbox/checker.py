"""The checker: holds the tests, calls the program through a proxy, and decides. Its control flow is the verdict.

It compares plain values that it has built itself out of tagged bytes, so that no object of the program's ever
takes part in a comparison. It runs in a box of its own, because tests may come from a client.
"""

import _signal  # type: ignore[import-not-found]
import os
from time import monotonic

from . import rewrite
from .candidate import Candidate, CandidateFault, TestFault
from .channel import MAX_ANSWER, MAX_REQUEST, Channel, ChannelClosed, ChannelTimeout
from .recorder import DETAIL_LENGTH, Enough, Recorder


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
    runner = Channel(os.dup(1), MAX_REQUEST, MAX_ANSWER)
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

    Returns ("test-fault", detail), or ("judged", passed, detail, outcomes, unseen, seconds) with the outcomes and the
    number of unseen assertions as `Recorder` keeps them, and the seconds that were spent waiting for the program.
    """
    candidate = Candidate(runner, job.entry, job.timeout, job.call_timeout)
    _signal.signal(_signal.SIGALRM, _stop)
    _signal.setitimer(_signal.ITIMER_REAL, job.timeout + job.test_grace)
    recorder = Recorder(candidate, [1] * len(job.tests), job.max_assertions)
    passed, detail = False, ""
    try:
        tests = _prepare(job)
        written = [0 if isinstance(test, str) else max(1, test.assertions) for test in tests]
        recorder = Recorder(candidate, written, job.max_assertions)
        passed = _run_all(tests, job, candidate, recorder)
    except TestFault as error:
        return ("test-fault", str(error)[:DETAIL_LENGTH])
    except CandidateFault as error:  # the program does not load
        detail = str(error)
    except Enough:
        detail = "the time or the number of assertions is used up"
    finally:
        _signal.setitimer(_signal.ITIMER_REAL, 0)
    # the control flow decides, but never against the record
    spotless = candidate.fault is None and all(kind in ("passed", "invalid") for _, _, kind, _ in recorder.outcomes)
    detail = recorder.detail or detail or str(candidate.fault or "")
    return (
        "judged", passed and spotless, detail[:DETAIL_LENGTH], recorder.outcomes, recorder.unseen, candidate.seconds,
    )  # fmt: skip


def _stop(*_: object) -> None:
    raise Enough


def _prepare(job: Job) -> list["rewrite.Rewritten | str"]:
    """Each test, rewritten, or what is wrong with it."""
    tests: list[rewrite.Rewritten | str] = []
    for index, source in enumerate(job.tests):
        try:
            tests.append(rewrite.rewrite(source, f"<test {index}>", job.entry, job.counting))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            tests.append(f"the test is no Python: {type(error).__name__}: {error}")
    return tests


def _run_all(tests: list["rewrite.Rewritten | str"], job: Job, candidate: Candidate, recorder: Recorder) -> bool:
    valid = [test for test in tests if not isinstance(test, str)]
    candidate.want_after = any(test.reads_after for test in valid)
    if valid:
        names = _names({name for test in valid for name in test.free}, job, candidate, recorder)
        candidate.load(job.program, job.fallback)
    passed = bool(valid)
    for index, test in enumerate(tests):
        recorder.begin(index)
        try:
            if isinstance(test, str):
                raise TestFault(test)
            if not _run(test, names, candidate, recorder):
                passed = False
                if not job.counting:
                    break
        except TestFault as error:
            if len(tests) == 1:
                raise
            recorder.invalid(index, str(error))
    return passed


def _names(free: set[str], job: Job, candidate: Candidate, recorder: Recorder) -> dict[str, object]:
    """What test code finds: the entry point, the prompt's own helpers, and the program's other functions."""
    names: dict[str, object] = {
        "__name__": "__test__",
        "candidate": candidate,
        rewrite.MARK: recorder.mark,
        rewrite.FAILED: recorder.failed,
        rewrite.CAUGHT: (Exception, CandidateFault),
        rewrite.AFTER: candidate.after,
    }
    head, _, method = job.entry.partition(".")
    names[head] = _Class(head, candidate) if method else candidate
    free -= names.keys()
    if free:
        # a helper that the prompt defines is taken from the prompt: the program may have changed it
        helpers = _defined_by(job.prompt)
        for name in free:
            names[name] = helpers[name] if name in helpers else candidate.function(name)
    return names


def _defined_by(prompt: str) -> dict[str, object]:
    """What the prompt defines; nothing if it is prose."""
    for body in ("", "\n    pass\n", "\n        pass\n"):  # it may end in the middle of a function or a method
        helpers: dict[str, object] = {"__name__": "__prompt__"}
        try:
            exec(compile(prompt + body, "<prompt>", "exec", dont_inherit=True), helpers)
        except SyntaxError:
            continue
        except (Exception, SystemExit):
            pass
        return helpers
    return {}


class _Class:
    """Stands for a class of the program: `Class().method(...)` runs on a fresh instance in the runner."""

    def __init__(self, name: str, candidate: Candidate) -> None:
        self._name = name
        self._candidate = candidate

    def __call__(self) -> "_Class":
        return self

    def __getattr__(self, method: str) -> object:
        return self._candidate.function(f"{self._name}.{method}")


def _run(test: "rewrite.Rewritten", names: dict[str, object], candidate: Candidate, recorder: Recorder) -> bool:
    """Execute one test. True if it ended as a passed test does."""
    names.pop("check", None)
    calls, outcomes = candidate.calls, len(recorder.outcomes)
    try:
        exec(test.code, names)  # type: ignore[arg-type]
        check = names.get("check")
        if check is not None:
            check(candidate)  # type: ignore[operator]
        elif not test.assertions and candidate.calls == calls:
            raise TestFault("the test neither defines `check` nor asserts anything")
    except (TestFault, Enough):
        raise
    except BaseException as error:
        if candidate.calls == calls and not isinstance(error, (AssertionError, CandidateFault)):
            raise TestFault(f"the test fails before it calls the candidate: {type(error).__name__}: {error}") from None
        recorder.failed(_line(error), error)
        return False
    recorder.end()
    return all(kind == "passed" for _, _, kind, _ in recorder.outcomes[outcomes:])


def _line(error: BaseException) -> int:
    """The line of the test at which it was left."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.startswith("<test"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
