"""The server's side of talking to a box: calls over a channel, and a script's standard streams."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Sequence
from io import FileIO
from typing import NamedTuple

from smc_decode.sandbox.inbox import wire
from smc_decode.sandbox.inbox.channel import Channel, ChannelClosed, ChannelTimeout
from smc_decode.sandbox.results import AssertionOutcome, Call, CallOutcome, InvalidTest, ScriptOutcome

CHUNK = 1 << 16
MAX_CALLS = 1000
MAX_ARGUMENTS = 16 << 20


class BadAnswer(Exception):
    """A box answered what the protocol does not know."""


def check_calls(calls: Sequence[Call]) -> None:
    """Raise ValueError unless all arguments are plain values and there are not too many."""
    if len(calls) > MAX_CALLS:
        raise ValueError(f"at most {MAX_CALLS} calls can be made at a time; got {len(calls)}")
    for call in calls:
        try:
            size = len(wire.encode((call.args, dict(call.kwargs))))
        except wire.WireError as error:
            raise ValueError(f"an argument of a call cannot be sent to the sandbox: {error}") from error
        if size > MAX_ARGUMENTS:
            raise ValueError(f"the arguments of a call take {size} bytes, more than {MAX_ARGUMENTS}")


def make_calls(
    channel: Channel,
    load: tuple[object, ...],
    calls: Sequence[Call],
    deadline: float,
    call_timeout: float | None,
) -> list[CallOutcome]:
    """Load the program and make the calls, until `deadline` (monotonic). One outcome a call.

    `load`: a frame without options, so that calls take and give plain values.
    """
    outcomes: list[CallOutcome] = []
    try:
        channel.send(load, deadline)
        match channel.receive(deadline):
            case ("loaded",):
                pass
            case ("failed", str(kind), list(), str(message)):
                detail = f"the program does not load: {kind}: {message}"
                return [CallOutcome("raised", error=kind, detail=detail) for _ in calls]
            case _:
                raise ChannelClosed("the program broke the protocol")
        for number, call in enumerate(calls):
            frame = ("call", number, call.function, call.args, dict(call.kwargs), True, call_timeout)
            channel.send(frame, deadline)
            outcomes.append(_outcome(number, channel.receive(deadline)))
    except ChannelTimeout:
        rest = CallOutcome("timeout", detail="the program took too long")
    except ChannelClosed as error:
        rest = CallOutcome("crashed", detail=str(error))
    else:
        return outcomes
    return outcomes + [rest] * (len(calls) - len(outcomes))


def _outcome(number: int, answer: object) -> CallOutcome:
    match answer:
        case ("value", got, value, left) if got == number:
            after = left if isinstance(left, tuple) else None
            return CallOutcome("value", value, wire.canonical(value), args_after=after)
        case ("raised", got, str(kind), list(), str(message)) if got == number:
            return CallOutcome("raised", error=kind, detail=message)
        case ("rejected", got, str(message)) if got == number:
            return CallOutcome("rejected", detail=message)
        case ("timeout", got) if got == number:
            return CallOutcome("timeout", detail="the call took too long")
    raise ChannelClosed("the program broke the protocol")


class Judgement(NamedTuple):
    """The checker's answer: `held` is the shares of the `total` written assertions added up."""

    passed: bool
    detail: str
    outcomes: list[AssertionOutcome]
    held: float
    total: int
    seconds: float


def no_judgement(detail: str, tests: list[str], seconds: float) -> Judgement:
    """What is said of a program that the tests could not be run against."""
    return Judgement(False, detail, [], 0.0, max(1, len(tests)), seconds)


def read_judgement(answer: object) -> Judgement:
    """The checker's answer. Raises `InvalidTest` if that is what it says, `BadAnswer` if it is none."""
    match answer:
        case ("judged", bool(passed), str(detail), list(raw), float(held), int(total), float(seconds)):
            outcomes = []
            for item in raw:
                match item:
                    case (int(test), int(line), str(kind), str(why), float(share)):
                        outcomes.append(AssertionOutcome(test, line, kind, why, share))  # type: ignore[arg-type]
                    case _:
                        raise BadAnswer
            return Judgement(passed, detail, outcomes, held, total, seconds)
        case ("test-fault", str(detail)):
            raise InvalidTest(detail)
    raise BadAnswer


def read_output(from_script: FileIO, max_output: int, deadline: float) -> tuple[bytes, bool]:
    """Read until the script closes its output, has written more than `max_output`, or time is up.

    Returns the output (cut to `max_output`) and whether it came to its end.
    """
    parts: list[bytes] = []
    room = max_output
    poll = select.poll()
    poll.register(from_script, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        part = from_script.read(CHUNK)
        if part == b"":
            return b"".join(parts), True
        parts.append(part[:room])
        room -= len(part)
        if room < 0:
            break
    return b"".join(parts), False


def run_script(
    channel: Channel,
    from_script: FileIO,
    max_output: int,
    deadline: float,
    exit_status: Callable[[], int | None],
) -> ScriptOutcome:
    """See a script, which has been sent, through to its end. ``exit_status``: of its process, once that has gone."""
    output, ended = read_output(from_script, max_output, deadline)
    text = output.decode("utf-8", "replace")
    if not ended and len(output) >= max_output:
        return ScriptOutcome("too_much_output", text, f"the script wrote more than {max_output} bytes")
    try:
        end = channel.receive(deadline)
    except ChannelTimeout:
        return ScriptOutcome("timeout", text, "the script took too long")
    except ChannelClosed:
        if exit_status() == 0:  # os._exit(0)
            return ScriptOutcome("ended", text)
        return ScriptOutcome("crashed", text, "the script ended its process")
    match end:
        case ("ended",):
            return ScriptOutcome("ended", text)
        case ("failed", str(kind), list(), str(message)):
            return ScriptOutcome("raised", text, f"{kind}: {message}")
    return ScriptOutcome("crashed", text, "the script broke the protocol")
