"""The sandbox as its users see it: takes the strongest tier that works here, and runs tests, calls and scripts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from smc_decode.sandbox.boxes import Box, Bubblewrap, Landlock, Role, Tier, Unconfined, Wiring
from smc_decode.sandbox.ends import pipe, socket_pair
from smc_decode.sandbox.exchanges import (
    BadAnswer,
    Judgement,
    check_calls,
    make_calls,
    no_judgement,
    read_judgement,
    run_script,
)
from smc_decode.sandbox.inbox import wire
from smc_decode.sandbox.inbox.channel import MAX_ANSWER, MAX_REQUEST, Channel, ChannelClosed, ChannelTimeout
from smc_decode.sandbox.results import (
    AssertionReport,
    BoxLimits,
    Call,
    CallOutcome,
    InvalidTest,
    SandboxError,
    SandboxUnavailable,
    ScriptOutcome,
    Verdict,
)
from smc_decode.sandbox.runtime import Runtime, prepare_runtime
from smc_decode.sandbox.slots import UidSlots

P = ParamSpec("P")
T = TypeVar("T")

START_GRACE = 15.0  # seconds for a box to start on a busy machine
TEST_GRACE = 2.0  # seconds for the tests themselves, beside what the candidate takes
KILL_GRACE = 1.0  # seconds more before a checker that gives no answer is ended
MAX_TIMEOUT = 600.0
MAX_ASSERTIONS = 1_000_000
MAX_TESTS = 1000
MAX_CALL_ANSWER = 256 << 10  # bytes that the server reads for one call
MAX_SOURCE = 1 << 20
MAX_TEST_SOURCE = 16 << 20

# what the server itself reads from a box: small, and few hashed entries, since those can be made to collide
SERVER_LIMITS = wire.Limits(depth=64, nodes=50_000, hashed=2_000)
CHECKER_LIMITS = wire.Limits(depth=8, nodes=50_000, hashed=0)


class Sandbox:
    """Runs untrusted programs. Thread-safe; the `a...` methods are the same for asyncio and never block the event loop.

    `max_parallel` bounds how many programs run at a time (default: the number of CPUs); further callers wait.
    `tier` forces one tier. Raises `SandboxUnavailable` if no tier passes its self-test, unless `allow_unsafe_exec`.
    """

    def __init__(
        self,
        *,
        allow_unsafe_exec: bool = False,
        tier: str | None = None,
        max_parallel: int | None = None,
        limits: BoxLimits | None = None,
        cache: Path | None = None,
    ) -> None:
        self.limits = limits or BoxLimits()
        self.max_parallel = max_parallel or os.cpu_count() or 1
        self._places = threading.BoundedSemaphore(self.max_parallel)
        self._threads = ThreadPoolExecutor(self.max_parallel, thread_name_prefix="sandbox")
        self._slots = UidSlots()
        self._rejected: dict[str, str] = {}
        try:
            self._tier = self._choose(prepare_runtime(cache), tier, allow_unsafe_exec)
        except BaseException:
            self._threads.shutdown()
            raise

    @property
    def tier(self) -> str:
        """`bubblewrap`, `landlock` or `unsafe`."""
        return self._tier.name

    @property
    def uids(self) -> frozenset[int]:
        """The uids that boxes run as, one each; none where the server may not change uid."""
        return self._slots.uids

    def describe(self) -> dict[str, Any]:
        """The tier, why stronger ones were not taken, and the limits: JSON for `/ready`."""
        return {
            "tier": self.tier,
            "safe": self.tier != Unconfined.name,
            "rejected_tiers": dict(self._rejected),
            "own_uid_per_box": bool(self._slots.uids) and self.tier != Unconfined.name,
            "max_parallel": self.max_parallel,
            "memory_bytes": self.limits.memory_bytes,
        }

    def close(self) -> None:
        """Wait for what runs and stop the threads."""
        self._threads.shutdown()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- what it does ---------------------------------------------------------------------------------------------

    def run_tests(self, prompt: str, completion: str, test: str, entry_point: str, timeout: float) -> Verdict:
        """HumanEval's question: does `prompt + completion` pass `test`, which defines `check(candidate)`?

        `timeout`: seconds for the program, in all its calls. Raises ValueError only for a timeout that is none.
        """
        start = time.perf_counter()
        try:
            judgement = self._judge(
                [test], entry_point, timeout, prompt=prompt, program=prompt + completion, fallback=completion,
                counting=False,
            )  # fmt: skip
        except (SandboxError, InvalidTest) as error:
            return Verdict("infrastructure", str(error), time.perf_counter() - start)
        seconds = time.perf_counter() - start
        return Verdict("pass", "", seconds) if judgement.passed else Verdict("fail", judgement.detail, seconds)

    def run_assertions(
        self,
        source: str,
        tests: str | Sequence[str],
        entry_point: str,
        timeout: float,
        *,
        prompt: str = "",
        fallback: str | None = None,
        call_timeout: float | None = None,
        max_assertions: int = MAX_ASSERTIONS,
    ) -> AssertionReport:
        """Run every assertion of `tests` against the program `source`, going on after failures.

        `tests`: source that defines `check(candidate)`, or one or more sources with assertions that call the
        entry point by its name. `prompt`: trusted source in which tests find helpers. `fallback`: a program to
        take if `source` is no Python. `call_timeout`: seconds after which one call is given up and the next one
        made. `max_assertions`: evaluations of assertions, in loops each, after which the rest counts as not reached.
        Raises `SandboxError`, and `InvalidTest` if there is but one test and it cannot be run.
        """
        if not 1 <= max_assertions <= MAX_ASSERTIONS:
            raise ValueError(f"max_assertions must be from 1 to {MAX_ASSERTIONS}; got {max_assertions}")
        judgement = self._judge(
            [tests] if isinstance(tests, str) else list(tests), entry_point, timeout, prompt=prompt, program=source,
            fallback=fallback, counting=True, call_timeout=call_timeout, max_assertions=max_assertions,
        )  # fmt: skip
        return AssertionReport(
            passed=judgement.held,
            total=judgement.total,
            all_passed=judgement.passed and judgement.held == judgement.total,
            outcomes=tuple(judgement.outcomes),
            detail=judgement.detail,
            seconds=judgement.seconds,
        )

    def run_calls(
        self,
        source: str,
        calls: Sequence[Call],
        entry_point: str,
        timeout: float,
        *,
        fallback: str | None = None,
        call_timeout: float | None = None,
    ) -> list[CallOutcome]:
        """Load `source` once and make all `calls`, in order, in one box. One outcome a call.

        `timeout`: seconds for all; `call_timeout` as in `run_assertions`. A program that does not load gives
        `raised` for every call. Raises `SandboxError`, and ValueError for arguments that are no plain values.
        """
        check_calls(calls)
        seconds = _seconds(timeout)
        if len(source) > MAX_SOURCE:
            detail = f"the program is longer than {MAX_SOURCE} characters"
            return [CallOutcome("raised", error="ValueError", detail=detail) for _ in calls]
        with self._places, contextlib.ExitStack() as stack:
            ours, theirs = stack.enter_context(socket_pair())
            null = stack.enter_context(open(os.devnull, "r+b", buffering=0))
            box = self._start(stack, "runner", Wiring(theirs.fileno(), null.fileno()), timeout)
            theirs.close()
            channel = Channel(ours.fileno(), MAX_REQUEST, MAX_CALL_ANSWER, SERVER_LIMITS)
            self._expect(channel, "hello", box)
            load = ("load", MAX_CALL_ANSWER, source, fallback, entry_point, None)
            return make_calls(channel, load, calls, time.monotonic() + seconds, call_timeout)

    def run_stdin(self, source: str, stdin: str, timeout: float) -> ScriptOutcome:
        """Run `source` as a script that reads `stdin`. Raises `SandboxError`."""
        seconds = _seconds(timeout)
        if len(source) > MAX_SOURCE:
            return ScriptOutcome("raised", "", f"the program is longer than {MAX_SOURCE} characters")
        with self._places, contextlib.ExitStack() as stack:
            ours, theirs = stack.enter_context(socket_pair())
            stdin_end, to_script = stack.enter_context(pipe())
            from_script, stdout_end = stack.enter_context(pipe())
            wiring = Wiring(stdin_end.fileno(), stdout_end.fileno(), theirs.fileno())
            box = self._start(stack, "script", wiring, timeout)
            for end in (theirs, stdin_end, stdout_end):
                end.close()
            channel = Channel(ours.fileno(), MAX_REQUEST, MAX_ANSWER, SERVER_LIMITS)
            self._expect(channel, "hello", box)
            deadline = time.monotonic() + seconds
            with contextlib.suppress(ChannelClosed):
                channel.send(("script", source), deadline)
            return run_script(
                channel, to_script, from_script, stdin, self.limits.output_bytes, deadline, box.exit_status
            )

    async def arun_tests(self, prompt: str, completion: str, test: str, entry_point: str, timeout: float) -> Verdict:
        """`run_tests` for asyncio."""
        return await self._in_thread(self.run_tests, prompt, completion, test, entry_point, timeout)

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
        max_assertions: int = MAX_ASSERTIONS,
    ) -> AssertionReport:
        """`run_assertions` for asyncio."""
        return await self._in_thread(
            self.run_assertions, source, tests, entry_point, timeout, prompt=prompt, fallback=fallback,
            call_timeout=call_timeout, max_assertions=max_assertions,
        )  # fmt: skip

    async def arun_calls(
        self,
        source: str,
        calls: Sequence[Call],
        entry_point: str,
        timeout: float,
        *,
        fallback: str | None = None,
        call_timeout: float | None = None,
    ) -> list[CallOutcome]:
        """`run_calls` for asyncio."""
        return await self._in_thread(
            self.run_calls, source, calls, entry_point, timeout, fallback=fallback, call_timeout=call_timeout
        )

    async def arun_stdin(self, source: str, stdin: str, timeout: float) -> ScriptOutcome:
        """`run_stdin` for asyncio."""
        return await self._in_thread(self.run_stdin, source, stdin, timeout)

    # -- how it does it -------------------------------------------------------------------------------------------

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, functools.partial(function, *args, **kwargs))

    def _judge(
        self,
        tests: list[str],
        entry_point: str,
        timeout: float,
        *,
        prompt: str,
        program: str,
        fallback: str | None,
        counting: bool,
        call_timeout: float | None = None,
        max_assertions: int = MAX_ASSERTIONS,
    ) -> Judgement:
        """Two boxes, one for the program and one for the tests, joined by a socket; the server reads the verdict."""
        seconds = _seconds(timeout)
        if len(tests) > MAX_TESTS or sum(map(len, [prompt, *tests])) > MAX_TEST_SOURCE:
            raise InvalidTest(f"at most {MAX_TESTS} tests with {MAX_TEST_SOURCE} characters can be run at a time")
        if len(program) > MAX_SOURCE:
            return no_judgement(f"the program is longer than {MAX_SOURCE} characters", tests, 0.0)
        job = {
            "tests": tests, "prompt": prompt, "program": program, "fallback": fallback, "entry": entry_point,
            "counting": counting, "timeout": seconds, "call_timeout": call_timeout, "test_grace": TEST_GRACE,
            "start_grace": START_GRACE, "max_assertions": max_assertions,
        }  # fmt: skip
        with self._places, contextlib.ExitStack() as stack:
            ours, checkers = stack.enter_context(socket_pair())
            asks, answers = stack.enter_context(socket_pair())
            null = stack.enter_context(open(os.devnull, "r+b", buffering=0))
            runner = self._start(stack, "runner", Wiring(answers.fileno(), null.fileno()), timeout)
            checker = self._start(stack, "checker", Wiring(checkers.fileno(), asks.fileno()), timeout + TEST_GRACE)
            for end in (checkers, asks, answers):
                end.close()
            channel = Channel(ours.fileno(), MAX_REQUEST, MAX_ANSWER, CHECKER_LIMITS)
            with contextlib.suppress(ChannelClosed, ChannelTimeout):
                channel.send(job, time.monotonic() + START_GRACE)
            self._expect(channel, "started", checker, runner)
            try:
                answer = channel.receive(time.monotonic() + timeout + TEST_GRACE + KILL_GRACE)
                return read_judgement(answer)
            except (ChannelClosed, ChannelTimeout, BadAnswer):
                return no_judgement("the tests came to no end", tests, timeout)

    def _start(self, stack: contextlib.ExitStack, role: Role, wiring: Wiring, seconds: float) -> Box:
        uid = stack.enter_context(self._slots.take())
        box = self._tier.start(role, wiring, self.limits, math.ceil(seconds) + 1, uid)
        stack.callback(box.close)
        return box

    def _expect(self, channel: Channel, word: str, *boxes: Box) -> None:
        """Wait until the boxes have started; untrusted code comes after that, so this failing is never its fault."""
        try:
            answer = channel.receive(time.monotonic() + 2 * START_GRACE)
        except ChannelTimeout:
            answer = "no answer in time"
        except ChannelClosed as error:
            answer = str(error)
        if answer != (word,):
            said = [answer[1] if isinstance(answer, tuple) and len(answer) == 2 else answer]
            said += [complaint for box in boxes if (complaint := box.complaint())]
            raise SandboxError("a box did not start: " + "; ".join(map(str, said)))

    def _choose(self, runtime: Runtime, wanted: str | None, allow_unsafe_exec: bool) -> Tier:
        from smc_decode.sandbox.selftest import check_tier

        tiers: dict[str, Callable[[Runtime], Tier]] = {Bubblewrap.name: Bubblewrap, Landlock.name: Landlock}
        if wanted is not None and wanted not in (*tiers, Unconfined.name):
            raise ValueError(f"tier must be one of {', '.join((*tiers, Unconfined.name))}; got {wanted!r}")
        for name, make in tiers.items():
            if wanted in (None, name):
                try:
                    self._tier = make(runtime)
                    check_tier(self)
                except (SandboxUnavailable, SandboxError, OSError, NotImplementedError) as error:
                    self._rejected[name] = str(error)
                else:
                    return self._tier
        if allow_unsafe_exec and wanted in (None, Unconfined.name):
            return Unconfined(runtime)
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self._rejected.items())
        raise SandboxUnavailable(
            f"no sandbox tier works here ({reasons}). Install bubblewrap and allow user namespaces, or use a kernel "
            "with Landlock, or accept the risk with --allow-unsafe-exec."
        )


def _seconds(timeout: float) -> float:
    if not 0 < timeout <= MAX_TIMEOUT:
        raise ValueError(f"timeout must be above 0 and at most {MAX_TIMEOUT:g} seconds; got {timeout}")
    return float(timeout)
