"""What the sandbox answers. A bad candidate and a failed box never share a status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["pass", "fail", "infrastructure"]
AssertionKind = Literal["passed", "failed", "raised", "timeout", "crashed", "rejected", "unreached", "invalid"]
CallKind = Literal["value", "raised", "timeout", "crashed", "rejected"]
ScriptKind = Literal["ended", "raised", "timeout", "crashed", "too_much_output"]


class SandboxUnavailable(RuntimeError):
    """No tier of the sandbox works here, and running code without one was not allowed."""


class SandboxError(RuntimeError):
    """A box failed (it could not be started, say): the candidate is not to blame, and is not judged."""


class InvalidTest(ValueError):
    """The test itself cannot be run: it is no Python, checks nothing, or fails before it calls the candidate."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`infrastructure`: the box or the test failed, never the candidate. `seconds`: what the verdict cost, in all."""

    status: Status
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class AssertionOutcome:
    """What became of one written assertion: the index of its test, its line there (0 if unknown), and why.

    `share`: in how many of its evaluations, from 0 to 1. An assertion in a loop has one of these for each different
    outcome, and their shares add up to 1. `unreached`: the test came to its end without evaluating it; where a test
    broke off, what it did not reach has the kind of what broke it off.
    """

    test: int
    line: int
    kind: AssertionKind
    detail: str = ""
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class AssertionReport:
    """What became of every written assertion of some tests.

    `total` is the number of assertions as written, whatever the program does, and `passed` adds up, for each, the
    share of its evaluations that held: 0 for one that was not reached. Tests that cannot be run are among `outcomes`
    as `invalid` and are not counted. `seconds` were spent waiting for the candidate.
    """

    passed: float
    total: int
    all_passed: bool
    outcomes: tuple[AssertionOutcome, ...]
    detail: str
    seconds: float

    @property
    def share(self) -> float:
        """The mean of the assertions' shares, in [0, 1]. It is 1 only if each was evaluated and always held."""
        return self.passed / self.total if self.total else float(self.all_passed)


@dataclass(frozen=True, slots=True)
class Call:
    """Call `function` (the entry point if empty) with plain values."""

    args: tuple[object, ...] = ()
    kwargs: tuple[tuple[str, object], ...] = ()
    function: str = ""


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What a call gave.

    `value`: the plain value returned; `key`: bytes that are equal just when two answers are (for votes; the order
    in sets and dicts does not matter, NaN equals NaN, 1 and True differ); `args_after`: the positional arguments
    as the call left them, None if one is no longer plain; `error`: the exception's type name; `detail`: why there
    is no value.
    """

    kind: CallKind
    value: object = None
    key: bytes = b""
    args_after: tuple[object, ...] | None = None
    error: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ScriptOutcome:
    """What a script wrote to its standard output, and how it ended (`crashed` too if it left by `os._exit`)."""

    kind: ScriptKind
    stdout: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BoxLimits:
    """Limits on one box. Bytes are per box, since a box is one process."""

    memory_bytes: int = 512 << 20
    output_bytes: int = 4 << 20
    open_files: int = 64
    threads: int = 32
