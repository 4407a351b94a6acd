"""The sandbox as its users see it: takes the strongest tier that works here, and runs tests, calls and scripts."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from smc_decode.sandbox.bounds import MAX_ASSERTIONS, MAX_CALL_ANSWER, MAX_SOURCE, SERVER_LIMITS, checked_seconds
from smc_decode.sandbox.boxes import Bubblewrap, Landlock, Tier, Unconfined, Wiring
from smc_decode.sandbox.ends import filled, null_device, pipe, socket_pair
from smc_decode.sandbox.exchanges import check_calls, make_calls, run_script
from smc_decode.sandbox.inbox.channel import MAX_ANSWER, MAX_REQUEST, Channel, ChannelClosed
from smc_decode.sandbox.judging import judge
from smc_decode.sandbox.launch import Launcher, await_start
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
        self.max_parallel = max_parallel or os.cpu_count() or 1
        self._threads = ThreadPoolExecutor(self.max_parallel, thread_name_prefix="sandbox")
        self._rejected: dict[str, str] = {}
        launcher = functools.partial(Launcher, limits=limits or BoxLimits(), slots=UidSlots(), places=self.max_parallel)
        try:
            self._launcher = self._choose(launcher, prepare_runtime(cache), tier, allow_unsafe_exec)
        except BaseException:
            self._threads.shutdown()
            raise

    @property
    def tier(self) -> str:
        """`bubblewrap`, `landlock` or `unsafe`."""
        return self._launcher.tier.name

    @property
    def limits(self) -> BoxLimits:
        """What one box may use."""
        return self._launcher.limits

    @property
    def uids(self) -> frozenset[int]:
        """The uids that boxes run as, one each; none where the server may not change uid."""
        return self._launcher.slots.uids

    def describe(self) -> dict[str, Any]:
        """The tier, why stronger ones were not taken, and the limits: JSON for `/ready`."""
        return {
            "tier": self.tier,
            "safe": self.tier != Unconfined.name,
            "rejected_tiers": dict(self._rejected),
            "own_uid_per_box": bool(self.uids) and self.tier != Unconfined.name,
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
            judgement = judge(
                self._launcher, [test], entry_point, timeout, prompt=prompt, program=prompt + completion,
                fallback=completion, counting=False,
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
        judgement = judge(
            self._launcher, [tests] if isinstance(tests, str) else list(tests), entry_point, timeout, prompt=prompt,
            program=source, fallback=fallback, counting=True, call_timeout=call_timeout, max_assertions=max_assertions,
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
        seconds = checked_seconds(timeout)
        if len(source) > MAX_SOURCE:
            detail = f"the program is longer than {MAX_SOURCE} characters"
            return [CallOutcome("raised", error="ValueError", detail=detail) for _ in calls]
        with self._launcher.place() as stack:
            ours, theirs = stack.enter_context(socket_pair())
            null = stack.enter_context(null_device())
            box = self._launcher.start(stack, "runner", Wiring(theirs.fileno(), null.fileno()), timeout)
            theirs.close()
            channel = Channel(ours.fileno(), MAX_REQUEST, MAX_CALL_ANSWER, SERVER_LIMITS)
            await_start(channel, "hello", box)
            load = ("load", MAX_CALL_ANSWER, source, fallback, entry_point, None)
            return make_calls(channel, load, calls, time.monotonic() + seconds, call_timeout)

    def run_stdin(self, source: str, stdin: str, timeout: float) -> ScriptOutcome:
        """Run `source` as a script that reads `stdin`. Raises `SandboxError`."""
        seconds = checked_seconds(timeout)
        if len(source) > MAX_SOURCE:
            return ScriptOutcome("raised", "", f"the program is longer than {MAX_SOURCE} characters")
        with self._launcher.place() as stack:
            ours, theirs = stack.enter_context(socket_pair())
            stdin_end = stack.enter_context(filled(stdin.encode("utf-8", "surrogatepass")))
            from_script, stdout_end = stack.enter_context(pipe())
            wiring = Wiring(stdin_end.fileno(), stdout_end.fileno(), theirs.fileno())
            box = self._launcher.start(stack, "script", wiring, timeout)
            for end in (theirs, stdin_end, stdout_end):
                end.close()
            channel = Channel(ours.fileno(), MAX_REQUEST, MAX_ANSWER, SERVER_LIMITS)
            await_start(channel, "hello", box)
            deadline = time.monotonic() + seconds
            with contextlib.suppress(ChannelClosed):
                channel.send(("script", source), deadline)
            return run_script(channel, from_script, self.limits.output_bytes, deadline, box.exit_status)

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

    def _choose(
        self, launcher: Callable[[Tier], Launcher], runtime: Runtime, wanted: str | None, allow_unsafe_exec: bool
    ) -> Launcher:
        """The launcher of the strongest tier that passes its self-test, which runs in this sandbox itself."""
        from smc_decode.sandbox.selftest import check_tier

        tiers: dict[str, Callable[[Runtime], Tier]] = {Bubblewrap.name: Bubblewrap, Landlock.name: Landlock}
        if wanted is not None and wanted not in (*tiers, Unconfined.name):
            raise ValueError(f"tier must be one of {', '.join((*tiers, Unconfined.name))}; got {wanted!r}")
        for name, make in tiers.items():
            if wanted in (None, name):
                try:
                    self._launcher = launcher(make(runtime))
                    check_tier(self)
                except (SandboxUnavailable, SandboxError, OSError, NotImplementedError) as error:
                    self._rejected[name] = str(error)
                else:
                    return self._launcher
        if allow_unsafe_exec and wanted in (None, Unconfined.name):
            return launcher(Unconfined(runtime))
        reasons = "; ".join(f"{name}: {reason}" for name, reason in self._rejected.items())
        raise SandboxUnavailable(
            f"no sandbox tier works here ({reasons}). Install bubblewrap and allow user namespaces, or use a kernel "
            "with Landlock, or accept the risk with --allow-unsafe-exec."
        )
