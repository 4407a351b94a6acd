"""Says of tests, before anything runs, that they would accept every program. Nothing of them is executed."""

from __future__ import annotations

from collections.abc import Sequence

from smc_decode.sandbox.inbox.prompt import Helpers
from smc_decode.sandbox.inbox.reach import screen


def refuse_tests(tests: str | Sequence[str], entry_point: str, prompt: str = "") -> tuple[int, str] | None:
    """The index of the first test that cannot be used, and why; None if all can.

    A test is refused if it is no Python, if nothing in it would call the candidate, if its assertions are in code that
    nothing runs (functions that nobody calls, a coroutine or generator in place of `check`, a main guard), or if the
    program would say itself whether its answer is right. `prompt`: where tests find helpers.
    """
    sources = [tests] if isinstance(tests, str) else list(tests)
    found = screen(sources, entry_point, Helpers(prompt) if prompt.strip() else None)
    for index, one in enumerate(found):
        if isinstance(one, str):
            return index, one
    if all(not isinstance(one, str) and one.is_setup for one in found):
        return 0, "none of the tests calls the candidate"
    return None
