"""Does a program pass its tests? Both run in boxes, apart from each other, so that neither can speak for the other."""

from __future__ import annotations

import contextlib
import time

from smc_decode.sandbox.bounds import (
    CHECKER_LIMITS,
    KILL_GRACE,
    MAX_ASSERTIONS,
    MAX_SOURCE,
    MAX_TEST_SOURCE,
    MAX_TESTS,
    START_GRACE,
    TEST_GRACE,
    checked_seconds,
)
from smc_decode.sandbox.boxes import Wiring
from smc_decode.sandbox.ends import null_device, socket_pair
from smc_decode.sandbox.exchanges import BadAnswer, Judgement, no_judgement, read_judgement
from smc_decode.sandbox.inbox.channel import MAX_ANSWER, MAX_REQUEST, Channel, ChannelClosed, ChannelTimeout
from smc_decode.sandbox.launch import Launcher, await_start
from smc_decode.sandbox.results import InvalidTest


def judge(
    launcher: Launcher,
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
    """Two boxes, one for the program and one for the tests, joined by a socket; the server reads the verdict.

    Raises `InvalidTest`, `SandboxError`, and ValueError for a timeout that is none.
    """
    seconds = checked_seconds(timeout)
    if len(tests) > MAX_TESTS or sum(map(len, [prompt, *tests])) > MAX_TEST_SOURCE:
        raise InvalidTest(f"at most {MAX_TESTS} tests with {MAX_TEST_SOURCE} characters can be run at a time")
    if len(program) > MAX_SOURCE:
        return no_judgement(f"the program is longer than {MAX_SOURCE} characters", tests, 0.0)
    job = {
        "tests": tests, "prompt": prompt, "program": program, "fallback": fallback, "entry": entry_point,
        "counting": counting, "timeout": seconds, "call_timeout": call_timeout, "test_grace": TEST_GRACE,
        "start_grace": START_GRACE, "max_assertions": max_assertions,
    }  # fmt: skip
    with launcher.place() as stack:
        ours, checkers = stack.enter_context(socket_pair())
        asks, answers = stack.enter_context(socket_pair())
        null = stack.enter_context(null_device())
        runner = launcher.start(stack, "runner", Wiring(answers.fileno(), null.fileno()), timeout)
        checker = launcher.start(stack, "checker", Wiring(checkers.fileno(), asks.fileno()), timeout + TEST_GRACE)
        for end in (checkers, asks, answers):
            end.close()
        channel = Channel(ours.fileno(), MAX_REQUEST, MAX_ANSWER, CHECKER_LIMITS)
        with contextlib.suppress(ChannelClosed, ChannelTimeout):
            channel.send(job, time.monotonic() + START_GRACE)
        await_start(channel, "started", checker, runner)
        try:
            answer = channel.receive(time.monotonic() + timeout + TEST_GRACE + KILL_GRACE)
            return read_judgement(answer)
        except (ChannelClosed, ChannelTimeout, BadAnswer):
            return no_judgement("the tests came to no end", tests, timeout)
