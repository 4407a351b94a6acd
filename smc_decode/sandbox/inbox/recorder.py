"""Keeps what became of each assertion."""

from .candidate import Candidate, CandidateFault, TestFault

DETAIL_LENGTH = 300


class Enough(BaseException):
    """The time, or the number of assertions, is used up."""


class Recorder:
    """Counts the assertions of one test after another, as the rewritten tests meet them.

    `outcomes` holds (test, line, kind, detail); the kinds are `passed`, `failed`, those of `CandidateFault`, and
    `invalid` for a test that cannot be run.
    """

    def __init__(self, candidate: Candidate, written: list[int], limit: int) -> None:
        self.outcomes: list[tuple[int, int, str, str]] = []
        self.detail = ""  # of the first failure
        self._candidate = candidate
        self._limit = limit
        self._test = 0
        self._unseen = written  # assertions written in each test and not yet met

    @property
    def unseen(self) -> int:
        """Written assertions that were never reached."""
        return sum(self._unseen)

    def begin(self, test: int) -> None:
        """The outcomes that follow are of this test."""
        self._test = test
        self._candidate.poison = None

    def end(self) -> None:
        """The test has run to its end: assertions that it did not reach are in branches that were not meant."""
        self._unseen[self._test] = 0
        if self._candidate.poison is not None:
            self.failed(0, self._candidate.poison)

    def mark(self, line: int, value: object) -> None:
        """An assertion was evaluated to `value`. A fault that test code swallowed on the way fails it."""
        poison, self._candidate.poison = self._candidate.poison, None
        if poison is not None:
            self.failed(line, poison)
        elif value:
            self._record(line, "passed", "")
        else:
            self._record(line, "failed", "the assertion is false")

    def failed(self, line: int, error: BaseException) -> None:
        """An assertion, or what led to it, raised."""
        self._candidate.poison = None
        if isinstance(error, TestFault):
            raise error
        if isinstance(error, CandidateFault):
            self._record(line, error.kind, str(error))
        elif isinstance(error, AssertionError):
            self._record(line, "failed", "the assertion is false")
        else:
            self._record(line, "raised", f"{type(error).__name__}: {error}")

    def invalid(self, test: int, detail: str) -> None:
        """The test cannot be run."""
        self.outcomes.append((test, 0, "invalid", detail[:DETAIL_LENGTH]))
        self._unseen[test] = 0

    def _record(self, line: int, kind: str, detail: str) -> None:
        detail = detail[:DETAIL_LENGTH]
        if kind != "passed" and not self.detail:
            self.detail = f"line {line} of the test: {detail}"
        if self._unseen[self._test] > 0:
            self._unseen[self._test] -= 1
        self.outcomes.append((self._test, line, kind, detail))
        if len(self.outcomes) >= self._limit:
            self._unseen = [0] * len(self._unseen)
            raise Enough
