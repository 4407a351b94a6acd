"""Keeps what became of each written assertion."""

import sys

from . import proxies
from .candidate import Candidate, CandidateFault, TestFault
from .rewrite import Slot

DETAIL_LENGTH = 300
KINDS_KEPT = 4  # different outcomes of one assertion; further ones are counted with the last
OUTCOMES_KEPT = 5000


class Enough(BaseException):
    """The time, or the number of evaluations, is used up."""


class Account:
    """One written assertion: how often each outcome (kind, detail) came about."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.counts: dict[tuple[str, str], int] = {}

    @property
    def reached(self) -> bool:
        return bool(self.counts)

    @property
    def holds(self) -> bool:
        return self.reached and all(kind == "passed" for kind, _ in self.counts)

    def add(self, kind: str, detail: str) -> None:
        outcome = (kind, detail[:DETAIL_LENGTH])
        if outcome not in self.counts and len(self.counts) >= KINDS_KEPT:
            outcome = next((known for known in self.counts if known[0] == kind), None) or next(reversed(self.counts))
        self.counts[outcome] = self.counts.get(outcome, 0) + 1


class Recorder:
    """Accounts for the assertions of one test after another, as the rewritten tests meet them.

    `slots`: the assertions written in each test. `counting`: go on after an assertion that does not hold. `limit`
    bounds the evaluations in all. Kinds of outcomes are `passed`, `failed`, those of `CandidateFault`, `unreached`
    for what a test that came to its end did not meet, and `invalid` for a test that cannot be run.
    """

    def __init__(self, candidate: Candidate, slots: list[list[Slot]], counting: bool, limit: int) -> None:
        self.detail = ""  # of the first failure
        self._accounts = [[Account(slot) for slot in each] for each in slots]
        self._invalid: dict[int, str] = {}
        self._candidate = candidate
        self._counting = counting
        self._left = limit
        self._test = 0
        self._last: Account | None = None
        self._entered: list[tuple[BaseException | None, int]] = []
        self._failures = 0

    # -- what rewritten tests call ------------------------------------------------------------------------------------

    def mark(self, slot: int, value: object) -> None:
        """An assertion was evaluated to `value`. A fault that test code swallowed on the way fails it."""
        if self._candidate.poison is not None:
            self.failed(slot, self._candidate.poison)
        elif proxies.is_proxy(value):
            self.failed(slot, AssertionError("an object that is no plain value proves nothing"))
        elif value:
            self._add(self._accounts[self._test][slot], "passed", "")
        else:
            self.failed(slot, AssertionError())

    def failed(self, slot: int, error: "BaseException | type") -> None:
        """An assertion is false, or it or what led to it raised."""
        raised = error() if isinstance(error, type) else error
        if isinstance(raised, TestFault):
            raise raised
        self._candidate.poison = None
        self._add(self._accounts[self._test][slot], *_told(raised))
        if not self._counting:
            raise raised

    def enter(self, slot: int, _: object) -> None:
        """A statement that is one assertion begins."""
        self._entered.append((sys.exc_info()[1], self._failures))

    def leave(self, slot: int, _: object) -> None:
        """It has ended, perhaps by a `return`, unless an error is on its way through."""
        error, failures = self._entered.pop()
        if sys.exc_info()[1] is error and self._failures == failures:
            self.mark(slot, True)

    # -- what the checker calls ---------------------------------------------------------------------------------------

    def begin(self, test: int) -> None:
        """The outcomes that follow are of this test."""
        self._test = test
        self._last = None
        self._entered = []
        self._candidate.poison = None

    def end(self) -> None:
        """The test has come to its end: what control must never reach, it has not reached."""
        if self._candidate.poison is not None:
            self.break_off(self._candidate.poison, 0)
            return
        for account in self._accounts[self._test]:
            if not account.reached:
                account.add(*(("passed", "") if account.slot.never else ("unreached", "no evaluation came to it")))

    def break_off(self, error: BaseException, line: int, first: int = 0, last: int = 1 << 31) -> None:
        """The test has ended before its end, or the part of it in these lines has. What that did not reach did not
        hold, nor did the whole."""
        kind, detail = _told(error)
        self._note(line, detail)
        everything = self._accounts[self._test]
        accounts = [account for account in everything if first <= account.slot.line <= last]
        if all(account.holds for account in accounts if account.reached or not account.slot.never):
            # nothing that was written there failed, and yet the test did
            reached = [account for account in accounts if account.reached]
            charged = self._last if self._last in accounts else None
            charged = charged or next(reversed(reached), None) or next(iter(accounts or everything), None)
            if charged is not None:
                charged.add(kind, detail)
        for account in accounts:
            if not account.reached:
                account.add(kind, detail)

    def invalid(self, test: int, detail: str) -> None:
        """The test cannot be run."""
        self._invalid[test] = detail[:DETAIL_LENGTH]
        self._accounts[test] = []

    def holds(self, test: int) -> bool:
        """Whether the test passed, as far as its assertions go: all held that were reached, and one was."""
        accounts = [
            account
            for account in self._accounts[test]
            if ("unreached", "no evaluation came to it") not in account.counts
        ]
        return all(account.holds for account in accounts) and (bool(accounts) or not self._accounts[test])

    @property
    def spotless(self) -> bool:
        """Whether nothing failed, of all that was met."""
        return self._failures == 0

    def give_up(self, kind: str, detail: str) -> None:
        """Nothing more will be run."""
        if self._last is not None and self._last.holds:
            self._last.add(kind, detail)
        for accounts in self._accounts:
            for account in accounts:
                if not account.reached:
                    account.add(kind, detail)

    def summary(self) -> tuple[float, int, list[tuple[int, int, str, str, float]]]:
        """The shares of all assertions added up, their number, and the outcomes (test, line, kind, detail, share)."""
        outcomes: list[tuple[int, int, str, str, float]] = []
        passed, total = 0.0, 0
        for test, accounts in enumerate(self._accounts):
            if test in self._invalid:
                outcomes.append((test, 0, "invalid", self._invalid[test], 0.0))
            for account in accounts:
                total += 1
                evaluations = sum(account.counts.values())
                for (kind, detail), count in account.counts.items():
                    passed += count / evaluations if kind == "passed" else 0.0
                    outcomes.append((test, account.slot.line, kind, detail, count / evaluations))
        return passed, total, outcomes[:OUTCOMES_KEPT]

    def _add(self, account: Account, kind: str, detail: str) -> None:
        if kind != "passed":
            self._failures += 1
            self._note(account.slot.line, detail)
        account.add(kind, detail)
        self._last = account
        self._left -= 1
        if self._left <= 0:
            raise Enough

    def _note(self, line: int, detail: str) -> None:
        if not self.detail:
            self.detail = f"line {line} of the test: {detail}"[:DETAIL_LENGTH]


def _told(error: BaseException) -> tuple[str, str]:
    """Kind and detail of what an error means."""
    if isinstance(error, CandidateFault):
        return error.kind, str(error)
    if isinstance(error, Enough):
        return "timeout", "the time or the number of evaluations is used up"
    if isinstance(error, AssertionError):
        said = str(error)
        return "failed", f"the assertion is false: {said}" if said else "the assertion is false"
    return "raised", f"{type(error).__name__}: {error}"
