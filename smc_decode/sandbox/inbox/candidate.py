"""The program as test code sees it: the checker's end of the conversation with the runner."""

from time import monotonic

from . import operations, proxies
from .channel import MAX_OBJECTS, Channel, ChannelClosed, ChannelTimeout
from .peer import Peer
from .wire import WireError
from .world import World

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# raised only in tests that name them: elsewhere they would end a loop, or the test, without a word
SILENT = (StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit, StopAsyncIteration)
# what the program may not ask of the test's own objects: the way from an object to the code that made it
HIDDEN = ("_", "gi_", "cr_", "ag_", "f_", "tb_", "co_", "mro", "format")
ALLOWED = operations.OPERATIONS.keys() - {"signature"}


class TestFault(Exception):
    """The test itself cannot be run; the candidate is not to blame."""


class CandidateFault(BaseException):
    """What no test may expect of a candidate: `kind` is `timeout`, `crashed`, `rejected` (too large) or `raised`.

    Not an `Exception`, lest a test's `except Exception` take a time-out for the error that it waits for.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Candidate(Peer):
    """Asks the program, within `timeout` seconds of waiting in all.

    `call_timeout`: seconds after which one call is interrupted and the next may go on. `mentions`: all names
    in the tests. `fault` keeps the first fault, with which there is no pass, and `poison` the last one that no
    assertion has answered for yet, should test code swallow it. `calls` counts what the program was asked to do.
    """

    def __init__(
        self, runner: Channel, entry: str, timeout: float, call_timeout: float | None, mentions: set[str]
    ) -> None:
        super().__init__(runner, 2, library=True)
        self.calls = 0
        self.seconds = 0.0
        self.fault: CandidateFault | None = None
        self.poison: CandidateFault | None = None
        self.want_before = False
        self._asked = 0
        self._gone: CandidateFault | None = None
        self._entry = entry
        self._timeout = timeout
        self._call_timeout = call_timeout
        self._expected = mentions
        self.world = World(mentions)
        self._before: dict[int, tuple[object, object, object]] = {}
        head, _, method = entry.partition(".")
        self.function: Any = self._known(1, method or head)
        self.head: Any = self._known(3, head) if method else self.function

    def _known(self, number: int, name: str) -> object:
        proxy = proxies.make(self, (name, "candidate", 1))  # which can be called
        self.session.add_proxy(number, proxy)
        return proxy

    def load(self, program: str, fallback: str | None, classes: dict[str, type]) -> None:
        """Have the runner execute the program. `classes` are the prompt's. Raises `CandidateFault`."""
        self.session.classes.update(classes)
        options = {"classes": list(classes), "call_timeout": self._call_timeout, "capture": self.world.output}
        answer = self._exchange(("load", MAX_OBJECTS, program, fallback, self._entry, options))
        match answer:
            case ("loaded",):
                self.channel.codec = self.session
                self.world.begin(self)
                return
            case ("failed", str(kind), list(), str(message)):
                raise self._at_fault(CandidateFault("raised", f"the program does not load: {kind}: {message}"))
        raise self._lost(CandidateFault("crashed", "the program broke the protocol"))

    def named(self, name: str) -> object:
        """What the program has under a name. Raises NameError."""
        return self.ask("name", name)

    def before(self, argument: object) -> object:
        """`argument` as it was before the latest call that has changed it, unless the test has changed it since."""
        kept = self._before.get(id(argument))
        return kept[1] if kept is not None and kept[2] == argument else argument

    def ask(self, op: str, *args: "Any") -> object:
        watched = self._watch(args[1]) if op == "call" and self.want_before else ()
        outermost = op == "call" and self.world.random
        if outermost:
            self.world.before(self)
        try:
            return self._ask(op, args)
        finally:
            if outermost and self._gone is None:
                self.world.after(self)
            for argument, copy in watched:
                now = _copied(argument)
                if now != copy:
                    self._before[id(argument)] = (argument, copy, now)  # holds it, so that its id stays its own

    def _watch(self, args: tuple[object, ...]) -> "list[tuple[object, object]]":
        try:
            return [(argument, _copied(argument)) for argument in args if type(argument) in COPIED]
        except RecursionError:  # one that holds itself
            return []

    def _ask(self, op: str, args: "tuple[Any, ...]") -> object:
        self.calls += 1
        self._asked += 1
        number = self._asked
        try:
            answer = self._exchange(("do", number, op, args))
            while type(answer) is tuple and answer[:1] == ("do",):
                answer = self._reply(self._answer_to(answer))
        except WireError as error:
            raise TestFault(f"the test calls the candidate with what cannot be sent: {error}") from None
        except RecursionError:
            raise self._lost(CandidateFault("crashed", "program and test call each other without end")) from None
        match answer:
            case ("value", got, value, str(output)) if got == number:
                self.world.write(output)
                return value
            case ("stop", got) if got == number and op in ("next", "send"):
                raise StopIteration
            case ("raised", got, kinds, raised_with, fields, str(message), origin) if got == number:
                raise self._as_raised(kinds, raised_with, fields, message, origin)
            case ("rejected", got, str(message)) if got == number:
                raise self._at_fault(CandidateFault("rejected", message))
            case ("timeout", got) if got == number:
                raise self._at_fault(CandidateFault("timeout", "the call took too long"))
        raise self._lost(CandidateFault("crashed", "the program broke the protocol"))

    def _exchange(self, frame: tuple[object, ...]) -> object:
        """Send a frame and wait for the answer, at the candidate's expense."""
        if self._gone is not None:
            raise self._at_fault(self._gone)
        start = monotonic()
        deadline = start + self._timeout - self.seconds
        try:
            self.channel.send(frame, deadline)
            return self.channel.receive(deadline)
        except ChannelTimeout:
            fault = CandidateFault("timeout", f"the program took more than {self._timeout:g} s")
        except ChannelClosed as error:
            fault = CandidateFault("crashed", f"the program ended its process or broke the protocol: {error}")
        finally:
            self.seconds += monotonic() - start
        raise self._lost(fault)

    # -- what the program asks of the test's objects -------------------------------------------------------------------

    def _answer_to(self, request: "tuple[Any, ...]") -> tuple[object, ...]:
        """Do what the program asks. A false assertion in a function of the test's is not the program's to swallow."""
        try:
            _, number, op, args = request
            if type(args) is not tuple or op not in ALLOWED or not args or not self.session.is_home(args[0]):
                raise TypeError("this is not the program's to ask")
            if op in ("get", "set", "del") and not _may_ask(args):
                raise AttributeError("this is not the program's to ask")
            value = operations.perform(op, args)
        except StopIteration:
            return ("stop", number)
        except Exception as error:
            if isinstance(error, TestFault):
                raise
            if isinstance(error, AssertionError):
                self._at_fault(CandidateFault("failed", "an assertion in a function that the program called is false"))
            return self.raised(number, error, error)
        return ("value", number, value, "")

    def _reply(self, answer: tuple[object, ...]) -> object:
        try:
            return self._exchange(answer)
        except WireError as error:
            plain = self.without_details(answer) if answer[0] == "raised" else ("rejected", answer[1], str(error))
            return self._exchange(plain)

    # -- faults -------------------------------------------------------------------------------------------------------

    def _as_raised(self, kinds: object, args: object, fields: object, message: str, origin: object) -> BaseException:
        """What the program raised, as the nearest class that the checker knows."""
        if isinstance(origin, Exception) and self.session.is_home(origin):
            return origin
        try:
            error = self.error_of(kinds, args, fields, message)
        except (ValueError, TypeError):
            return self._lost(CandidateFault("crashed", "the program broke the protocol"))
        silent = [kind.__name__ for kind in SILENT if isinstance(error, kind)]
        if (silent or not isinstance(error, Exception)) and not self._expected.intersection(silent):
            return self._at_fault(CandidateFault("raised", f"{type(error).__name__}: {message}"))
        return error

    def _lost(self, fault: CandidateFault) -> CandidateFault:
        """The runner is of no more use: every later call fails at once, so that the rest of the test can be counted."""
        self._gone = fault
        return self._at_fault(fault)

    def _at_fault(self, fault: CandidateFault) -> CandidateFault:
        self.fault = self.fault or fault
        self.poison = fault
        return fault


def _may_ask(args: tuple[object, ...]) -> bool:
    name = args[1] if len(args) > 1 else None
    return type(name) is str and (name in ("__name__", "__doc__") or not name.startswith(HIDDEN))


COPIED = (list, dict, set)


def _copied(value: "Any") -> "Any":
    """A copy of plain containers, whole; what else they hold is the same."""
    kind = type(value)
    if kind is list or kind is tuple:
        return kind([_copied(item) for item in value])
    if kind is dict:
        return {key: _copied(item) for key, item in value.items()}
    return set(value) if kind is set else value
