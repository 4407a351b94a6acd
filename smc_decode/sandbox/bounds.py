"""How much may be asked of the sandbox at a time, and how long a box is waited for."""

from __future__ import annotations

from smc_decode.sandbox.inbox import wire

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


def checked_seconds(timeout: float) -> float:
    """The timeout. Raises ValueError for what is none."""
    if not 0 < timeout <= MAX_TIMEOUT:
        raise ValueError(f"timeout must be above 0 and at most {MAX_TIMEOUT:g} seconds; got {timeout}")
    return float(timeout)
