"""Wrong programs get no pass, and no larger share than they deserve."""

from __future__ import annotations

import re

import pytest

from smc_decode.sandbox import InvalidTest, Sandbox
from tests.sandbox.hostile import WRONG, Fooling

TIMEOUT = 5.0


@pytest.mark.parametrize("program", WRONG, ids=lambda program: program.name)
def test_a_wrong_program_does_not_pass(tier_sandbox: Sandbox, program: Fooling) -> None:
    found = re.search(r"\(share (.*)\)", program.name)
    deserved = float(found[1]) if found else 0.0
    verdict = tier_sandbox.run_tests(program.prompt, program.source, program.test, "f", TIMEOUT)
    assert verdict.status != "pass"
    try:
        report = tier_sandbox.run_assertions(program.whole, program.test, "f", TIMEOUT, prompt=program.prompt)
    except InvalidTest:
        return
    assert not report.all_passed
    assert report.share <= deserved + 1e-9, report


def test_there_are_enough_of_them() -> None:
    assert len(WRONG) >= 60
