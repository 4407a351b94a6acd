"""Prefixes and stand-ins that the tests of rewards share."""

from __future__ import annotations

from collections.abc import Sequence

from smc_decode.potentials import Prefix
from smc_decode.sandbox.results import AssertionReport


def answer(text: str, finished: bool = True, logprobs: Sequence[float] | None = None, prompt: str = "") -> Prefix:
    """A prefix that decodes to ``text``; its token ids are the text's code points, so equal texts have equal ids."""
    return Prefix(
        tuple(map(ord, text)),
        finished,
        prompt_text=prompt,
        logprobs=None if logprobs is None else tuple(logprobs),
        decode=lambda ids: "".join(map(chr, ids)),
    )


class FakeSandbox:
    """Gives each program the report that ``judge(source)`` says, and remembers what it was asked."""

    def __init__(self, judge: object) -> None:
        self.judge = judge
        self.sources: list[str] = []

    async def arun_assertions(self, source: str, *_: object, **__: object) -> AssertionReport:
        self.sources.append(source)
        result = self.judge(source)  # type: ignore[operator]
        if isinstance(result, Exception):
            raise result
        return result


def report(passed: int, total: int) -> AssertionReport:
    return AssertionReport(passed, total, passed == total, (), "", 0.0)
