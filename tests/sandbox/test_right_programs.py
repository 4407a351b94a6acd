"""Right programs pass as they do in plain Python: identity, aliasing, changes in place, and objects of every kind."""

from __future__ import annotations

import subprocess
import sys

import pytest

from smc_decode.sandbox import Sandbox
from tests.sandbox.hostile import RIGHT, Fooling

TIMEOUT = 10.0
IN_ONE_PROCESS = """
import json, sys, types
prompt, source, test = json.load(sys.stdin)
module = types.ModuleType("candidate")
sys.modules["candidate"] = module
try:
    compile(prompt, "prompt", "exec")
except SyntaxError:
    prompt = prompt.split("```python\\n")[1].split("```")[0]
exec(prompt + source, module.__dict__)
names = {name: value for name, value in vars(module).items() if not name.startswith("__")}
names |= {"__name__": "__test__", "candidate": module.f}
exec(test, names)
if "check" in names:
    names["check"](module.f)
for name, value in list(names.items()):
    if name.startswith("test_"):
        value()
"""


@pytest.mark.parametrize("program", RIGHT, ids=lambda program: program.name)
def test_a_right_program_passes_and_has_the_whole_share(tier_sandbox: Sandbox, program: Fooling) -> None:
    verdict = tier_sandbox.run_tests(program.prompt, program.whole, program.test, "f", TIMEOUT)
    assert (verdict.status, verdict.detail) == ("pass", "")
    report = tier_sandbox.run_assertions(program.whole, program.test, "f", TIMEOUT, prompt=program.prompt)
    assert (report.share, report.all_passed) == (1.0, True), report


def test_plain_python_says_the_same() -> None:
    import json

    for program in RIGHT:
        job = json.dumps([program.prompt, program.source, program.test])
        done = subprocess.run([sys.executable, "-c", IN_ONE_PROCESS], input=job, text=True, capture_output=True)
        assert done.returncode == 0, (program.name, done.stderr)


def test_there_are_enough_of_them() -> None:
    assert len(RIGHT) >= 50
