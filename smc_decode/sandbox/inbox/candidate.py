"""The program as test code sees it: callables whose every answer is a fresh plain value."""

import builtins
from time import monotonic

from .channel import MAX_ANSWER, Channel, ChannelClosed, ChannelTimeout
from .wire import WireError

MUTABLE = (list, dict, set)


class TestFault(Exception):
    """The test itself cannot be run; the candidate is not to blame."""


class CandidateFault(BaseException):
    """What no test may expect of a candidate: `kind` is `timeout`, `crashed`, `rejected` (no plain value) or `raised`.

    Not an `Exception`, lest a test's `except Exception` take a time-out for the error that it waits for.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Candidate:
    """Calls the entry point in the runner, within `timeout` seconds of waiting in all.

    `call_timeout`: seconds after which one call is interrupted and the next may go on. `fault` keeps the first
    fault, with which there is no pass, and `poison` the last one that no assertion has answered for yet, should
    test code swallow it.
    """

    def __init__(self, runner: Channel, entry: str, timeout: float, call_timeout: float | None) -> None:
        self.__name__ = entry
        self.calls = 0
        self.seconds = 0.0
        self.fault: CandidateFault | None = None
        self.poison: CandidateFault | None = None
        self.want_after = False
        self._gone: CandidateFault | None = None
        self._runner = runner
        self._timeout = timeout
        self._call_timeout = call_timeout
        self._after: dict[int, tuple[object, object]] = {}

    def load(self, program: str, fallback: str | None) -> None:
        """Have the runner execute the program. Raises `CandidateFault`."""
        answer = self._ask(("load", MAX_ANSWER, program, fallback, self.__name__))
        match answer:
            case ("loaded",):
                return
            case ("failed", str(kind), list(), str(message)):
                raise self._at_fault(CandidateFault("raised", f"the program does not load: {kind}: {message}"))
        raise self._lost(CandidateFault("crashed", "the program broke the protocol"))

    def __call__(self, *args: object, **kwargs: object) -> object:
        return self._call("", args, kwargs)

    def function(self, name: str) -> object:
        """Another function of the program, or `Class.method` on a fresh instance."""

        def proxy(*args: object, **kwargs: object) -> object:
            return self._call(name, args, kwargs)

        proxy.__name__ = name
        return proxy

    def after(self, argument: object) -> object:
        """`argument` as the candidate has left it."""
        kept = self._after.get(id(argument))
        return argument if kept is None else kept[1]

    def _call(self, name: str, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        self.calls += 1
        number = self.calls
        sent = tuple([self.after(argument) for argument in args])
        try:
            answer = self._ask(("call", number, name, sent, kwargs, self.want_after, self._call_timeout))
        except WireError as error:
            raise TestFault(f"the test calls the candidate with what is no plain value: {error}") from None
        match answer:
            case ("value", got, value, left) if got == number:
                if self.want_after:
                    self._keep(args, left)
                return value
            case ("raised", got, str(kind), list(bases), str(message)) if got == number:
                raise self._as_raised(kind, bases, message)
            case ("rejected", got, str(message)) if got == number:
                raise self._at_fault(CandidateFault("rejected", message))
            case ("timeout", got) if got == number:
                raise self._at_fault(CandidateFault("timeout", "the call took too long"))
        raise self._lost(CandidateFault("crashed", "the program broke the protocol"))

    def _keep(self, args: tuple[object, ...], left: object) -> None:
        if type(left) is not tuple or len(left) != len(args):
            return
        for index, argument in enumerate(args):
            if type(argument) in MUTABLE and type(left[index]) is type(argument):
                self._after[id(argument)] = (argument, left[index])  # holds the argument, so that its id stays its own

    def _ask(self, frame: tuple[object, ...]) -> object:
        """Send a frame and wait for the answer, at the candidate's expense."""
        if self._gone is not None:
            raise self._at_fault(self._gone)
        start = monotonic()
        deadline = start + self._timeout - self.seconds
        try:
            self._runner.send(frame, deadline)
            return self._runner.receive(deadline)
        except ChannelTimeout:
            fault = CandidateFault("timeout", f"the program took more than {self._timeout:g} s")
        except ChannelClosed as error:
            fault = CandidateFault("crashed", f"the program ended its process or broke the protocol: {error}")
        finally:
            self.seconds += monotonic() - start
        raise self._lost(fault)

    def _as_raised(self, kind: str, bases: list[object], message: str) -> BaseException:
        """What the candidate raised, as a subclass (of the same name) of its nearest built-in exception."""
        if "StopIteration" in bases:  # `all(map(candidate, ...))` would take it for the end of the list
            bases = []
        for name in bases:
            base = getattr(builtins, name, None) if isinstance(name, str) else None
            if isinstance(base, type) and issubclass(base, Exception):
                try:
                    return base(message) if kind == name else type(kind, (base,), {})(message)
                except (TypeError, ValueError):  # some want more arguments, and a name may be a forgery
                    continue
        return self._at_fault(CandidateFault("raised", f"{kind}: {message}"))

    def _lost(self, fault: CandidateFault) -> CandidateFault:
        """The runner is of no more use: every later call fails at once, so that the rest of the test can be counted."""
        self._gone = fault
        return self._at_fault(fault)

    def _at_fault(self, fault: CandidateFault) -> CandidateFault:
        self.fault = self.fault or fault
        self.poison = fault
        return fault
