"""The names that test code finds: the candidate, the prompt's own helpers, and what else the program defines."""

import sys

from . import rewrite
from .candidate import Candidate, CandidateFault, TestFault
from .recorder import Recorder
from .wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .prompt import Helpers

MODULE = "__test__"


class Names:
    """Built in two steps: before the program is loaded (the prompt's), and after it (the program's)."""

    def __init__(self, candidate: Candidate, entry: str, free: set[str], attributes: set[str]) -> None:
        self._candidate = candidate
        self._head = entry.partition(".")[0]
        self._free = free - {self._head, "candidate"}
        self._attributes = attributes
        module = type(sys)(MODULE)
        sys.modules[MODULE] = module
        self.all: dict[str, object] = module.__dict__
        self.classes: dict[str, type] = {}
        self._missing: set[str] = set()

    def take_from_prompt(self, helpers: "Helpers") -> None:
        """Names that the prompt defines are the prompt's, whatever the program does. Raises `TestFault`."""
        wanted = self._free & helpers.bound
        if not wanted and not helpers.classes - {self._head}:
            return
        made = helpers.make()
        for name in wanted:
            if name in helpers.broken:
                raise TestFault(f"the prompt's {name!r} cannot be made here: {helpers.broken[name]}")
            if name in made:
                self.all[name] = made[name]
        self.classes = {
            name: value
            for name, value in made.items()
            if isinstance(value, type) and value.__module__ == "__prompt__" and name != self._head
        }
        made[self._head] = self._candidate.head

    def take_from_program(self, recorder: Recorder) -> None:
        """The entry point, modules whose import the test forgot, and the program's own names."""
        given = {
            "candidate": self._candidate.function, self._head: self._candidate.head,
            rewrite.MARK: recorder.mark, rewrite.FAILED: recorder.failed, rewrite.ENTER: recorder.enter,
            rewrite.LEAVE: recorder.leave, rewrite.CAUGHT: (Exception, CandidateFault),
            rewrite.BEFORE: self._candidate.before, rewrite.EXPECTED: _expected,
            rewrite.CONTENT: _content,
        }  # fmt: skip
        self.all.update(given)
        for name in self._free - self.all.keys():
            if name in self._attributes and name in sys.stdlib_module_names:
                self.all[name] = __import__(name)
                continue
            try:
                found = self._candidate.named(name)
                if callable(found):  # no constants: a test that compares with one would compare two answers
                    self.all[name] = found
            except (Exception, CandidateFault) as error:
                if isinstance(error, (TestFault, WireError)):
                    raise
                self._candidate.poison = None
        if not self._head:  # with one entry point what else the program has not is the test's to define
            self._missing = self._free - self.all.keys()

    def is_missing(self, error: BaseException) -> bool:
        """Whether a test was left for want of a name that is the program's to define."""
        return isinstance(error, NameError) and error.name in self._missing


def _expected(value: object, again: object) -> object:
    """A value that a test expects, which must not depend on what the program has done to an argument."""
    before = again()  # type: ignore[operator]
    if value is before or value == before:
        return value
    raise AssertionError("the expected value is computed from an argument that the program has changed")


def _content(value: object) -> object:
    """A value, whose NaNs are new ones if it holds any: a list equals itself even where it holds one."""
    try:
        return _renewed(value) if _holds_nan(value) else value
    except RecursionError:  # it holds itself
        return value


def _holds_nan(value: object) -> bool:
    kind = type(value)
    if kind is float:
        return value != value
    if kind is dict:
        return any(map(_holds_nan, value.values()))  # type: ignore[attr-defined]
    return kind in (list, tuple) and any(map(_holds_nan, value))  # type: ignore[call-overload]


def _renewed(value: "Any") -> object:
    kind = type(value)
    if kind is float and value != value:
        return float("nan")
    if kind is dict:
        return {key: _renewed(item) for key, item in value.items()}
    return kind([_renewed(item) for item in value]) if kind in (list, tuple) else value
