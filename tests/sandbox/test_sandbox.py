"""What the sandbox promises to its users."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import smc_decode.sandbox as package
from smc_decode.sandbox import (
    BoxLimits,
    Call,
    InvalidTest,
    Sandbox,
    SandboxError,
    SandboxUnavailable,
    Verdict,
    judging,
    run_tests,
)
from smc_decode.sandbox.boxes import Bubblewrap, Unconfined
from smc_decode.sandbox.runtime import Runtime, prepare_runtime

PROMPT = 'def f(x):\n    """Add one."""\n'
CHECK = "def check(candidate):\n    assert candidate(1) == 2\n    assert candidate(5) == 6\n"
RIGHT = "    return x + 1\n"


# -- run_tests ------------------------------------------------------------------------------------------------------


def test_the_module_function_judges_a_program(sandbox: Sandbox) -> None:
    verdict = run_tests(PROMPT, RIGHT, CHECK, "f", 3.0)
    assert isinstance(verdict, Verdict)
    assert (verdict.status, verdict.detail) == ("pass", "")
    assert verdict.seconds > 0
    assert run_tests(PROMPT, "    return x\n", CHECK, "f", 3.0).status == "fail"


@pytest.mark.parametrize(
    ("completion", "why"),
    [
        ("    return x + 2\n", "line 2"),
        ("    return 1 / 0\n", "ZeroDivisionError"),
        ("    retrun x\n", "SyntaxError"),
        ("    while True: pass\n", "more than 1 s"),
        ("    import os; os._exit(0)\n", "ended its process"),
        ("    return object()\n", "is false"),
        ("    return x + 1\nraise ValueError('at import')\n", "at import"),
    ],
)
def test_a_bad_candidate_fails_and_the_detail_says_why(sandbox: Sandbox, completion: str, why: str) -> None:
    verdict = sandbox.run_tests(PROMPT, completion, CHECK, "f", 1.0)
    assert verdict.status == "fail"
    assert why in verdict.detail


@pytest.mark.parametrize("prompt", [PROMPT, "def f(x):\n", "Write a function that adds one.\n", ""])
def test_a_whole_program_as_completion_works_whatever_the_prompt(sandbox: Sandbox, prompt: str) -> None:
    program = "import math\n\ndef f(x):\n    return math.floor(x) + 1\n"
    assert sandbox.run_tests(prompt, program, CHECK, "f", 3.0).status == "pass"
    assert sandbox.run_tests(prompt, program.replace("+ 1", "+ 2"), CHECK, "f", 3.0).status == "fail"


@pytest.mark.parametrize(
    "test",
    ["def check(candidate:", "x = 1", "def check(candidate):\n    pass\n", "import no_such_module\nassert f(1) == 2\n"],
)
def test_a_broken_test_is_not_held_against_the_candidate(sandbox: Sandbox, test: str) -> None:
    assert sandbox.run_tests(PROMPT, RIGHT, test, "f", 3.0).status == "infrastructure"
    with pytest.raises(InvalidTest):
        sandbox.run_assertions(PROMPT + RIGHT, test, "f", 3.0)


@pytest.mark.parametrize("timeout", [0, -1, math.nan, math.inf, 601])
def test_a_timeout_that_is_none_is_an_error(sandbox: Sandbox, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        sandbox.run_tests(PROMPT, RIGHT, CHECK, "f", timeout)


def test_a_test_that_never_ends_fails(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "TEST_GRACE", 0.1)
    monkeypatch.setattr(judging, "KILL_GRACE", 0.3)
    for test in ("while True: pass", "while True:\n    try:\n        while True: pass\n    except BaseException: pass"):
        source = f"def check(candidate):\n    candidate(1)\n    exec({test!r})\n"
        assert sandbox.run_tests(PROMPT, RIGHT, source, "f", 0.2).status == "fail"


def test_a_hostile_test_is_boxed_too(sandbox: Sandbox, tmp_path: Path) -> None:
    test = (
        f"def check(candidate):\n    candidate(1)\n    open({str(tmp_path / 'x')!r}, 'w')\n"
        "import os\ntry: os.fork()\nexcept OSError: pass\nelse: raise SystemExit\n"
    )
    verdict = sandbox.run_tests(PROMPT, RIGHT, test, "f", 3.0)
    assert verdict.status == "fail"
    assert "Error" in verdict.detail
    assert not list(tmp_path.iterdir())


def test_tests_may_expect_exceptions_by_their_built_in_type(sandbox: Sandbox) -> None:
    program = (
        "class Mine(KeyError): pass\n"
        "def f(x):\n"
        "    if x == 0: raise ValueError('zero')\n"
        "    if x == 1: raise Mine('one')\n"
        "    if x == 2: raise UnicodeDecodeError('utf-8', b'', 0, 1, 'two')\n"
        "    raise SystemExit\n"
    )
    test = (
        "def check(candidate):\n"
        "    for x, kind, name in ((0, ValueError, 'ValueError'), (1, LookupError, 'Mine'), (2, UnicodeError, None)):\n"
        "        try:\n            candidate(x)\n"
        "        except kind as error:\n            assert name is None or type(error).__name__ == name\n"
        "        else:\n            assert False\n"
    )
    assert sandbox.run_tests("", program, test, "f", 3.0).status == "pass"
    expects_exit = "def check(candidate):\n    try: candidate(3)\n    except BaseException: return\n    assert False\n"
    assert sandbox.run_tests("", program, expects_exit, "f", 3.0).status == "fail"


def test_helpers_come_from_the_prompt_and_other_functions_from_the_program(sandbox: Sandbox) -> None:
    prompt = "import math\n\ndef half(x):\n    return x / 2\n\ndef f(x):\n"
    program = "    return 2 * x\n\ndef half(x):\n    return 99\n\ndef other(x):\n    return x + math.pi\n"
    test = "def check(candidate):\n    assert half(candidate(3)) == 3\n    assert other(1) > 4\n"
    assert sandbox.run_tests(prompt, program, test, "f", 3.0).status == "pass"


def test_changes_of_an_argument_in_place_can_be_tested(sandbox: Sandbox) -> None:
    test = "def check(candidate):\n    x = [3, 1, 2]\n    assert candidate(x) is None\n    assert x == [1, 2, 3]\n"
    assert sandbox.run_tests("", "def f(x): x.sort()", test, "f", 3.0).status == "pass"
    assert sandbox.run_tests("", "def f(x): sorted(x)", test, "f", 3.0).status == "fail"
    untouched = "def check(candidate):\n    x = {1: [2]}\n    candidate(x)\n    assert x == {1: [2]}\n"
    assert sandbox.run_tests("", "def f(x): return 1", untouched, "f", 3.0).status == "pass"
    assert sandbox.run_tests("", "def f(x): x[1].append(3)", untouched, "f", 3.0).status == "fail"


def test_methods_can_be_entry_points(sandbox: Sandbox) -> None:
    program = "class Solution:\n    def twice(self, x): return 2 * x\n"
    for call in ("candidate(4)", "Solution().twice(4)", "Solution().twice(x=4)"):
        test = f"def check(candidate):\n    assert {call} == 8\n"
        assert sandbox.run_tests("", program, test, "Solution.twice", 3.0).status == "pass"


@pytest.mark.parametrize(
    "program",
    [
        "import threading\ndef f(x):\n    out = []\n    t = threading.Thread(target=lambda: out.append(x + 1))\n"
        "    t.start()\n    t.join()\n    return out[0]\n",
        "from concurrent.futures import ThreadPoolExecutor\ndef f(x):\n    with ThreadPoolExecutor(2) as pool:\n"
        "        return list(pool.map(lambda v: v + 1, [x]))[0]\n",
        "import asyncio\nasync def g(x):\n    await asyncio.sleep(0)\n"
        "    return await asyncio.to_thread(lambda: x + 1)\n"
        "def f(x): return asyncio.run(g(x))\n",
        "import decimal, fractions, heapq, itertools, json, re, hashlib, zlib, datetime, statistics, random, typing\n"
        "def f(x): return int(fractions.Fraction(x)) + 1\n",
        "from dataclasses import dataclass\nimport enum, functools, time\n@dataclass\nclass P:\n    x: int\n"
        "@functools.cache\ndef f(x):\n    time.sleep(0.001)\n    print('noise')\n    return P(x).x + 1\n",
        "import sys\nsys.setrecursionlimit(20000)\ndef f(x, depth=9000): return f(x, depth - 1) if depth else x + 1\n",
    ],
    ids=["thread", "thread pool", "asyncio", "standard library", "dataclass and output", "deep recursion"],
)  # fmt: skip
def test_honest_programs_find_what_they_need(tier_sandbox: Sandbox, program: str) -> None:
    verdict = tier_sandbox.run_tests("", program, CHECK, "f", 10.0)
    assert verdict.status == "pass", verdict


# -- run_assertions -------------------------------------------------------------------------------------------------


def test_each_written_assertion_has_one_share(sandbox: Sandbox) -> None:
    test = (
        "def check(candidate):\n    assert True, 'no evidence'\n"
        "    assert candidate(1) == 2\n    assert candidate(2) == 0\n"
        "    for i in range(4):\n        assert candidate(i) != 3, 'loop'\n    assert candidate('a') == 1\n"
    )
    report = sandbox.run_assertions(PROMPT + RIGHT, test, "f", 3.0)
    assert (report.passed, report.total, report.all_passed) == (1.75, 4, False)
    assert report.share == pytest.approx(1.75 / 4)
    told = [(outcome.line, outcome.kind, outcome.share) for outcome in report.outcomes]
    assert told == [(3, "passed", 1), (4, "failed", 1), (6, "passed", 0.75), (6, "failed", 0.25), (7, "raised", 1)]
    assert "line 4" in report.detail


def test_assertions_that_were_not_reached_count_as_not_passed(sandbox: Sandbox) -> None:
    test = "def check(c):\n    assert c(1) == 2\n    y = c('a')\n    assert y == 1\n    assert c(2) == 3\n"
    report = sandbox.run_assertions(PROMPT + RIGHT, test, "f", 3.0)
    assert (report.passed, report.total) == (1, 3)
    unloadable = sandbox.run_assertions("def f(x) oops", CHECK, "f", 3.0)
    assert (unloadable.passed, unloadable.total, unloadable.share) == (0, 2, 0.0)


def test_what_must_never_be_reached_holds_when_the_test_ends_without_it(sandbox: Sandbox) -> None:
    test = "def check(c):\n    if c(1) == 2:\n        assert c(2) == 3\n    else:\n        assert False\n"
    report = sandbox.run_assertions(PROMPT + RIGHT, test, "f", 3.0)
    assert (report.passed, report.total, report.all_passed) == (2, 2, True)
    report = sandbox.run_assertions("def f(x): return x", test, "f", 3.0)
    assert (report.passed, report.total, report.all_passed) == (0, 2, False)


def test_an_assertion_that_was_not_evaluated_did_not_hold(sandbox: Sandbox) -> None:
    test = "def check(c):\n    assert c(1) == 2\n    for value in c.many(3):\n        assert value > 0\n"
    program = PROMPT + RIGHT + "\nf.many = lambda n: []\n"
    report = sandbox.run_assertions(program, test, "f", 3.0)
    assert (report.passed, report.total, report.all_passed) == (1, 2, False)
    assert report.outcomes[1].kind == "unreached"


def test_tests_may_be_a_list_and_broken_ones_among_them_are_left_out(sandbox: Sandbox) -> None:
    tests = ["assert f(1) == 2", "assert f(2) == 2", "assert f(", "assert f(3) == undefined_name + 1", CHECK]
    report = sandbox.run_assertions(PROMPT + RIGHT, tests, "f", 3.0)
    kinds = [(outcome.test, outcome.kind) for outcome in report.outcomes]
    assert kinds == [(0, "passed"), (1, "failed"), (2, "invalid"), (3, "raised"), (4, "passed"), (4, "passed")]
    assert (report.passed, report.total, report.all_passed) == (3, 5, False)


def test_a_program_that_hangs_still_gets_a_count(sandbox: Sandbox) -> None:
    program = "def f(x):\n    while x == 2: pass\n    return x\n"
    test = "def check(c):\n    for i in range(5):\n        assert c(i) == i\n"
    report = sandbox.run_assertions(program, test, "f", 1.0)
    assert (report.passed, report.total) == (pytest.approx(2 / 5), 1)
    report = sandbox.run_assertions(program, test, "f", 10.0, call_timeout=0.5)
    assert (report.passed, report.total) == (pytest.approx(4 / 5), 1)
    assert report.outcomes[1].kind == "timeout"


def test_the_number_of_assertions_is_bounded(sandbox: Sandbox) -> None:
    test = "def check(c):\n    while True:\n        assert c(1) == 2\n"
    report = sandbox.run_assertions(PROMPT + RIGHT, test, "f", 5.0, max_assertions=50)
    assert (report.passed, report.total, report.all_passed) == (pytest.approx(50 / 51), 1, False)
    with pytest.raises(ValueError, match="max_assertions"):
        sandbox.run_assertions(PROMPT + RIGHT, test, "f", 5.0, max_assertions=0)


def test_a_swallowed_time_out_passes_nothing(sandbox: Sandbox) -> None:
    test = (
        "x = 1\ndef check(c):\n    try:\n        c(1)\n    except:\n        pass\n    assert x < 2\n    assert x < 3\n"
    )
    report = sandbox.run_assertions("def f(x):\n    while True: pass", test, "f", 0.2)
    assert not report.all_passed
    assert [outcome.kind for outcome in report.outcomes] == ["timeout", "passed"]


# -- run_calls ------------------------------------------------------------------------------------------------------


def test_calls_give_values_errors_and_arguments_afterwards(sandbox: Sandbox) -> None:
    program = (
        "def f(x, y=0):\n    if x == 'err': raise KeyError('gone')\n    if x == 'obj': return object()\n"
        "    if isinstance(x, list): x.append(y)\n    return (x, {y: {1.5, 2j}}, None, b'b', frozenset('a'))\n"
        "def g(): return 'g'\n"
    )
    calls = [
        Call(([1],), (("y", 2),)),
        Call(("err",)),
        Call(("obj",)),
        Call((3,)),
        Call(function="g"),
        Call(function="h"),
    ]
    got = sandbox.run_calls(program, calls, "f", 3.0)
    assert [outcome.kind for outcome in got] == ["value", "raised", "rejected", "value", "value", "raised"]
    assert got[0].value == ([1, 2], {2: {1.5, 2j}}, None, b"b", frozenset("a"))
    assert got[0].args_after == ([1, 2],)
    assert (got[1].error, got[1].detail) == ("KeyError", "'gone'")
    assert got[4].value == "g"
    assert got[5].error == "NameError"


def test_an_argument_that_is_no_longer_plain_does_not_lose_the_value(sandbox: Sandbox) -> None:
    outcome = sandbox.run_calls("def f(x):\n    x.append(object())\n    return 1", [Call(([],))], "f", 3.0)[0]
    assert (outcome.kind, outcome.value, outcome.args_after) == ("value", 1, None)


def test_keys_are_equal_just_for_equal_answers(sandbox: Sandbox) -> None:
    values = "[{1, 2}, {2, 1}, 1, 1.0, True, float('nan'), -float('nan'), {'a': 1, 'b': 2}, {'b': 2, 'a': 1}]"
    calls = [Call((index,)) for index in range(9)]
    keys = [outcome.key for outcome in sandbox.run_calls(f"def f(i): return {values}[i]", calls, "f", 3.0)]
    assert keys[0] == keys[1]
    assert keys[5] == keys[6]
    assert keys[7] == keys[8]
    assert len(set(keys)) == 6


def test_a_call_that_hangs_costs_only_itself_where_calls_have_a_time_limit(sandbox: Sandbox) -> None:
    program = "def f(x):\n    while x == 1: pass\n    return x\n"
    calls = [Call((index,)) for index in range(3)]
    kinds = [outcome.kind for outcome in sandbox.run_calls(program, calls, "f", 10.0, call_timeout=0.5)]
    assert kinds == ["value", "timeout", "value"]
    kinds = [outcome.kind for outcome in sandbox.run_calls(program, calls, "f", 1.0)]
    assert kinds == ["value", "timeout", "timeout"]


def test_a_program_that_does_not_load_gives_an_error_for_each_call(sandbox: Sandbox) -> None:
    got = sandbox.run_calls("1 / 0", [Call((1,)), Call((2,))], "f", 3.0)
    assert [(outcome.kind, outcome.error) for outcome in got] == [("raised", "ZeroDivisionError")] * 2
    assert sandbox.run_calls("1 / 0", [], "f", 3.0) == []


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("def f(x): return 'x' * (1 << 20)", "rejected"),
        ("def f(x): return list(range(60_000))", "rejected"),
        ("def f(x): return set(range(10_000))", "crashed"),
        ("import os\ndef f(x): os.kill(os.getpid(), 9)", "raised"),
        ("import os\ndef f(x): os._exit(1)", "crashed"),
    ],
)
def test_what_the_server_reads_is_bounded(sandbox: Sandbox, program: str, kind: str) -> None:
    assert sandbox.run_calls(program, [Call((1,))], "f", 3.0)[0].kind == kind


def test_arguments_that_cannot_be_sent_are_an_error(sandbox: Sandbox) -> None:
    for calls in ([Call((object(),))], [Call(("x" * (17 << 20),))], [Call()] * 1001):
        with pytest.raises(ValueError, match="call"):
            sandbox.run_calls("def f(x): pass", calls, "f", 3.0)


# -- run_stdin ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "stdin", "stdout", "kind"),
    [
        ("print(int(input()) + int(input()))", "1\n2\n", "3\n", "ended"),
        ("import sys\nfor line in sys.stdin: print(line.strip()[::-1])", "ab\ncd\n", "ba\ndc\n", "ended"),
        ("import os\nos.write(1, os.read(0, 100))", "raw", "raw", "ended"),
        ("print(open(0).read())", "é\n", "é\n\n", "ended"),
        ("if __name__ == '__main__':\n    print('main')", "", "main\n", "ended"),
        ("import sys\nprint('x')\nsys.exit()", "", "x\n", "ended"),
        ("print('x')\nraise SystemExit(3)", "", "x\n", "raised"),
        ("print('x')\n1 / 0", "", "x\n", "raised"),
        ("print(input())", "", "", "raised"),
        ("import os\nprint('x', flush=True)\nos._exit(0)", "", "x\n", "ended"),
        ("print('x', flush=True)\nwhile True: pass", "", "x\n", "timeout"),
        ("import sys\nprint('x')\nsys.stdout.close()\nimport time\ntime.sleep(9)", "", "x\n", "timeout"),
        ("pass", "y" * 1_000_000, "", "ended"),
        ("print('x' * 1_000_000)", "", "x" * 1_000_000 + "\n", "ended"),
        ("import sys\nprint(len(sys.stdin.read()))", "y" * 3_000_000, "3000000\n", "ended"),
        ("def f(:", "", "", "raised"),
    ],
)
def test_scripts_read_and_write_their_streams(
    sandbox: Sandbox, program: str, stdin: str, stdout: str, kind: str
) -> None:
    outcome = sandbox.run_stdin(program, stdin, 1.5)
    assert (outcome.kind, outcome.stdout) == (kind, stdout), outcome.detail


def test_too_much_output_is_cut_off(tier_sandbox: Sandbox) -> None:
    outcome = tier_sandbox.run_stdin("while True: print('x' * 1000)", "", 10.0)
    assert outcome.kind == "too_much_output"
    assert len(outcome.stdout) == tier_sandbox.limits.output_bytes


# -- asyncio and threads --------------------------------------------------------------------------------------------


async def test_the_event_loop_goes_on_while_programs_run(sandbox: Sandbox) -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.005)

    ticking = asyncio.create_task(tick())
    slow = "def f(x):\n    import time\n    time.sleep(0.2)\n    return x + 1\n"
    verdict, report, calls, script = await asyncio.gather(
        sandbox.arun_tests("", slow, "def check(c):\n    assert c(1) == 2\n", "f", 3.0),
        sandbox.arun_assertions(slow, ["assert f(1) == 2"], "f", 3.0),
        sandbox.arun_calls(slow, [Call((1,))], "f", 3.0),
        sandbox.arun_stdin("print(1)", "", 3.0),
    )
    ticking.cancel()
    assert (verdict.status, report.share, calls[0].value, script.stdout) == ("pass", 1.0, 2, "1\n")
    assert ticks >= 10


def test_many_threads_share_a_sandbox_and_no_more_boxes_run_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most, lock = 0, 0, threading.Lock()

    with Sandbox(max_parallel=2) as sandbox:
        start = sandbox._launcher.start

        def counted(stack: contextlib.ExitStack, *args: object) -> object:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)

            def down() -> None:
                nonlocal running
                with lock:
                    running -= 1

            stack.callback(down)
            return start(stack, *args)  # type: ignore[arg-type]

        monkeypatch.setattr(sandbox._launcher, "start", counted)
        programs = [PROMPT + f"    return x + {index % 3}\n" for index in range(24)]
        with ThreadPoolExecutor(8) as pool:
            statuses = list(pool.map(lambda text: sandbox.run_tests("", text, CHECK, "f", 10.0).status, programs))
    assert statuses == [("pass" if index % 3 == 1 else "fail") for index in range(24)]
    assert most <= 4  # two boxes a verdict


def test_nothing_is_left_after_many_verdicts(tier_sandbox: Sandbox) -> None:
    def descriptors() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))

    tier_sandbox.run_tests(PROMPT, RIGHT, CHECK, "f", 3.0)
    before = descriptors()
    for _ in range(20):
        assert tier_sandbox.run_tests(PROMPT, RIGHT, CHECK, "f", 3.0).status == "pass"
    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


# -- tiers ----------------------------------------------------------------------------------------------------------


def test_the_tier_is_described_for_readiness(tier_sandbox: Sandbox) -> None:
    facts = tier_sandbox.describe()
    assert facts["tier"] == tier_sandbox.tier
    assert facts["safe"] is True
    assert json.loads(json.dumps(facts)) == facts


def test_a_tier_that_does_not_keep_its_promises_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def unconfined(self: object, *args: object) -> object:
        return Unconfined(prepare_runtime()).start(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(Bubblewrap, "start", unconfined)
    with pytest.raises(SandboxUnavailable, match="code in the box could"):
        Sandbox(tier="bubblewrap")


def test_the_next_tier_is_taken_where_the_first_does_not_work(
    monkeypatch: pytest.MonkeyPatch, tier_sandbox: Sandbox
) -> None:
    if tier_sandbox.tier != "landlock":
        pytest.skip("for machines that have the second tier")
    monkeypatch.setattr("shutil.which", lambda name: None)
    with Sandbox() as sandbox:
        assert sandbox.tier == "landlock"
        assert "not installed" in sandbox.describe()["rejected_tiers"]["bubblewrap"]


@pytest.fixture
def no_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("smc_decode.sandbox.boxes.landlock_version", lambda: 0)


@pytest.mark.usefixtures("no_tier")
def test_without_a_tier_the_sandbox_refuses_and_says_what_to_do() -> None:
    with pytest.raises(SandboxUnavailable, match=r"bubblewrap.*Landlock.*--allow-unsafe-exec"):
        Sandbox()
    package.default_sandbox.cache_clear()
    try:
        assert run_tests(PROMPT, RIGHT, CHECK, "f", 3.0).status == "infrastructure"
    finally:
        package.default_sandbox.cache_clear()


@pytest.mark.usefixtures("no_tier")
def test_without_a_tier_the_operator_may_accept_the_risk() -> None:
    with Sandbox(allow_unsafe_exec=True) as sandbox:
        assert (sandbox.tier, sandbox.describe()["safe"]) == ("unsafe", False)
        assert sandbox.run_tests(PROMPT, RIGHT, CHECK, "f", 3.0).status == "pass"
        assert sandbox.run_tests(PROMPT, "    return None\n", CHECK, "f", 3.0).status == "fail"


def test_an_unknown_tier_is_an_error() -> None:
    with pytest.raises(ValueError, match="bubblewrap, landlock, unsafe"):
        Sandbox(tier="docker")


def test_a_box_that_cannot_start_is_infrastructure(tier_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    # too little memory for the interpreter itself
    monkeypatch.setattr(tier_sandbox._launcher, "limits", BoxLimits(memory_bytes=1 << 20))
    verdict = tier_sandbox.run_tests(PROMPT, RIGHT, CHECK, "f", 3.0)
    assert verdict.status == "infrastructure"
    assert "did not start" in verdict.detail
    with pytest.raises(SandboxError):
        tier_sandbox.run_calls(PROMPT + RIGHT, [Call((1,))], "f", 3.0)
    with pytest.raises(SandboxError):
        tier_sandbox.run_stdin("print(1)", "", 3.0)


def test_boxes_have_uids_of_their_own_where_the_server_may_give_them(tier_sandbox: Sandbox) -> None:
    if os.geteuid() != 0:
        assert not tier_sandbox.uids
        pytest.skip("only root can give them")
    test = "import os\ndef check(c):\n    assert len({c(), os.getuid()}) == 2\n    assert c() != 0 != os.getuid()\n"
    program = "import os\ndef f(): return os.getuid()\n"
    if tier_sandbox.tier == "landlock":  # in bubblewrap each sees itself as nobody
        assert tier_sandbox.run_tests("", program, test, "f", 3.0).status == "pass"
    else:
        assert tier_sandbox.run_calls(program, [Call()], "f", 3.0)[0].value == 65534


def test_boxes_die_with_the_server(tier_sandbox: Sandbox) -> None:
    script = (
        "from smc_decode.sandbox import Sandbox\n"
        f"sandbox = Sandbox(tier={tier_sandbox.tier!r})\n"
        "print('ready', flush=True)\n"
        "sandbox.run_tests('', 'while True: pass', 'def check(c): c(1)', 'f', 60)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        # until the program is at work: bwrap cannot be told to die before it has set up the box
        wait_until(lambda: any(map(cpu_ticks, boxes_below(server.pid))))
        boxes = boxes_below(server.pid)
        assert len(boxes) >= 2
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
        assert server.stdout is not None
        server.stdout.close()
    wait_until(lambda: not any(map(is_box, boxes)))


def wait_until(condition: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_box(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"inbox.boot" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


def cpu_ticks(pid: int) -> int:
    """Processor time that a process has used, in steps of 20 clock ticks."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) // 20
    return 0


def boxes_below(ancestor: int) -> set[int]:
    """Box processes among the descendants of a process."""
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents[int(entry)] = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
    below = {ancestor}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return {pid for pid in below if is_box(pid)}


# -- the runtime ----------------------------------------------------------------------------------------------------


def test_the_runtime_holds_the_interpreter_and_nothing_of_the_project(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    runtime = prepare_runtime(tmp_path)
    names = {path.name for path in runtime.root.rglob("*")}
    assert {"python3", "os.py", "null"} <= names
    assert not names & {"site-packages", "dist-packages", "passwd", "pytest", "smc_decode", "numpy"}
    assert sorted(path.name for path in runtime.root.iterdir()) == ["bin", "box", "dev", "lib", "lib64", "usr"]
    assert prepare_runtime(tmp_path) == Runtime(runtime.root, runtime.inbox)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".making")]


def test_a_cache_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o777)
    with pytest.raises(SandboxUnavailable, match="nobody else"):
        prepare_runtime(tmp_path)
