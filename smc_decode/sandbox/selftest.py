"""Does a tier hold what it promises, here and now? Asked at start-up, before any untrusted code runs in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smc_decode.sandbox.results import Call, SandboxUnavailable

if TYPE_CHECKING:
    from smc_decode.sandbox.sandbox import Sandbox

TIMEOUT = 10.0

# each must raise in the box
FORBIDDEN = {
    "read /etc/passwd": "open('/etc/passwd').read()",
    "read another process's environment": "open('/proc/1/environ', 'rb').read()",
    "list the root of the machine": "(_ for _ in ()).throw(OSError) if 'box' in os.listdir('/') else None",
    "write to /tmp": "open('/tmp/smc-decode-self-test', 'w')",
    "write beside the interpreter": "open(os.path.join(os.path.dirname(os.__file__), 'x'), 'w')",
    "start a process": "os.fork()",
    "signal its parent": "os.kill(os.getppid(), 0)",
    "open a socket": "__import__('_socket').socket(2, 1)",
    "execute a program": "os.execv('/bin/sh', ['sh', '-c', 'exit'])",
    "see the server's environment": "(_ for _ in ()).throw(OSError) if len(os.environ) <= 2 else None",
}
PROBE = "import os\ndef attempt(what):\n    eval(what)\n    return 'done'\n"

ALWAYS_EQUAL = "class A:\n    def __eq__(self, other): return True\ndef f(): return A()\n"
CHECK = "def check(candidate):\n    assert candidate() == 1\n"


def check_tier(sandbox: Sandbox) -> None:
    """Raise `SandboxUnavailable`, naming what went wrong, or `SandboxError` if no box starts at all."""
    for program, expected in (("def f(): return 1\n", "pass"), (ALWAYS_EQUAL, "fail"), ("def f(): return 2\n", "fail")):
        verdict = sandbox.run_tests("", program, CHECK, "f", TIMEOUT)
        if verdict.status != expected:
            raise SandboxUnavailable(f"a program that should {expected} got {verdict.status}: {verdict.detail}")
    outcomes = sandbox.run_calls(PROBE, [Call((what,)) for what in FORBIDDEN.values()], "attempt", TIMEOUT)
    for what, outcome in zip(FORBIDDEN, outcomes, strict=True):
        if outcome.kind != "raised":
            raise SandboxUnavailable(f"code in the box could {what} ({outcome.kind} {outcome.detail})")
