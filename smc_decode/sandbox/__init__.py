"""Runs model-written code where it can do no harm and cannot fool its tests. Knows nothing of rewards."""

from __future__ import annotations

import functools

from smc_decode.sandbox.results import (
    AssertionOutcome,
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
from smc_decode.sandbox.sandbox import Sandbox
from smc_decode.sandbox.screening import refuse_tests

__all__ = [
    "AssertionOutcome",
    "AssertionReport",
    "BoxLimits",
    "Call",
    "CallOutcome",
    "InvalidTest",
    "Sandbox",
    "SandboxError",
    "SandboxUnavailable",
    "ScriptOutcome",
    "Verdict",
    "default_sandbox",
    "refuse_tests",
    "run_tests",
]


@functools.cache
def default_sandbox() -> Sandbox:
    """The sandbox that `run_tests` uses, made at the first call. Raises `SandboxUnavailable`."""
    return Sandbox()


def run_tests(prompt: str, completion: str, test: str, entry_point: str, timeout: float) -> Verdict:
    """Does the program `prompt + completion` pass `test`, which defines `check(candidate)`?

    `timeout`: seconds for the program, in all its calls. The status is `infrastructure` where no sandbox works
    here, a box fails or the test itself cannot be run; never because of a bad candidate.
    """
    try:
        sandbox = default_sandbox()
    except SandboxUnavailable as error:
        return Verdict("infrastructure", str(error), 0.0)
    return sandbox.run_tests(prompt, completion, test, entry_point, timeout)
