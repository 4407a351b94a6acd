"""The runner: executes one untrusted program and answers calls to it. It never sees a test or an expected value.

Nothing that it says is trusted. The program may patch, read or replace every line below and may write to the channel
itself; all it can gain is to choose the values with which a call is answered, which it could do by returning them.
"""

import _io
import _signal  # type: ignore[import-not-found]  # `signal` would import `enum`
import _thread
import builtins
import os
import sys

from .channel import MAX_ANSWER, MAX_REQUEST, Channel
from .errors import describe
from .wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

MAX_OUTPUT = 1 << 20  # characters of output that a test may look at


class _SoftTimeout(BaseException):
    """Raised in the program when one call has taken its time; a program that swallows it is killed from outside."""


def serve() -> None:
    """Answer frames on descriptor 0 until it closes: first `load`, then calls.

    `load` says the greatest size of an answer, the program, what to take if it is no Python, the entry point, and for
    a conversation about objects its options (None: calls with plain values).
    """
    channel = Channel(take_channel(), MAX_ANSWER, MAX_REQUEST, blocking=True)
    channel.send(("hello",))
    program = _Program()
    request: tuple[Any, ...] = channel.receive()  # type: ignore[assignment]
    _, channel.max_sent, source, fallback, entry, options = request
    if options is None:
        channel.send(program.load(source, fallback, entry))
        _serve_plain_calls(channel, program)
    else:
        talk = _Talk(channel, program, options)
        channel.send(program.load(source, fallback, entry))
        talk.serve()


def _serve_plain_calls(channel: Channel, program: "_Program") -> None:
    while True:
        request: tuple[Any, ...] = channel.receive()  # type: ignore[assignment]
        _, number, name, args, kwargs, want_after, soft_timeout = request
        answer = program.call(number, name, args, kwargs, want_after, soft_timeout)
        try:
            channel.send(answer)
        except WireError as error:
            if answer[0] == "value" and want_after:  # it may be an argument that is no longer plain
                try:
                    channel.send((*answer[:3], None))
                    continue
                except WireError:
                    pass
            channel.send(("rejected", number, str(error)))


def take_channel() -> int:
    """Move the channel away from descriptor 0 and leave the standard streams empty."""
    fd = os.dup(0)
    null = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
    return fd


class _Program:
    def __init__(self) -> None:
        module = type(sys)("candidate")
        sys.modules["candidate"] = module
        self.names = module.__dict__
        self.entry_point = ""
        for name in ("exit", "quit"):  # the interpreter starts without `site`
            setattr(builtins, name, sys.exit)

    def load(self, source: str, fallback: str | None, entry: str) -> tuple[object, ...]:
        """Execute `source`; if it is no Python and `fallback` is, execute that."""
        self.entry_point = entry
        if "tempfile" in source:
            from . import memory_files

            memory_files.install()
        try:
            exec(_compiled(source, fallback), self.names)
            if entry:
                self.resolve(entry)
        except BaseException as error:
            return ("failed", *describe(error))
        return ("loaded",)

    def call(
        self, number: int, name: str, args: tuple[object, ...], kwargs: dict[str, object],
        want_after: bool, soft_timeout: float | None,
    ) -> tuple[object, ...]:  # fmt: skip
        try:
            try:
                if soft_timeout is not None:
                    _signal.signal(_signal.SIGALRM, _interrupt)
                    _signal.setitimer(_signal.ITIMER_REAL, soft_timeout)
                value = self.resolve(name or self.entry_point)(*args, **kwargs)  # type: ignore[operator]
            finally:
                if soft_timeout is not None:
                    _signal.setitimer(_signal.ITIMER_REAL, 0)
        except _SoftTimeout:
            return ("timeout", number)
        except BaseException as error:
            return ("raised", number, *describe(error))
        return ("value", number, value, args if want_after else None)

    def entry(self, *args: object, **kwargs: object) -> object:
        """Call the entry point."""
        return self.resolve(self.entry_point)(*args, **kwargs)  # type: ignore[operator]

    def resolve(self, dotted: str) -> object:
        """`f`, or `Class.f` on a fresh instance."""
        head, *rest = dotted.split(".")
        try:
            found = self.names[head]
        except KeyError:
            raise NameError(f"the program does not define {head!r}") from None
        for part in rest:
            found = getattr(found() if isinstance(found, type) else found, part)
        return found


class _Talk:
    """The conversation with the checker, in which objects have numbers.

    The first number is the entry point's, and the second, where that is a method, its class's. `options`: `classes`
    that the checker has under the same names, `call_timeout`, whether to `capture` output.
    """

    def __init__(self, channel: Channel, program: "_Program", options: "dict[str, Any]") -> None:
        from . import world
        from .operations import perform
        from .peer import Peer

        talk = self

        class RunnersPeer(Peer):
            def ask(self, op: str, *args: "Any") -> object:
                return talk.ask(op, args)

        self._peer = RunnersPeer(channel, 1, library=False)
        self._perform = perform
        self._own: dict[str, Any] = {"name": program.resolve, **world.RUNNERS}
        self._channel = channel
        self._program = program
        self._options = options
        self._thread = _thread.get_ident()
        self._asked = 0
        self._depth = 0
        self._request: Any = None
        self._output = _io.StringIO()

    def serve(self) -> None:
        """Answer until the channel closes."""
        names, program = self._program.names, self._program
        head, _, method = program.entry_point.partition(".")
        session = self._peer.session
        session.add_home(program.entry if method else names.get(head))
        if method:
            session.add_home(names.get(head))
        session.classes.update(
            {name: names[name] for name in self._options["classes"] if isinstance(names.get(name), type)}
        )
        self._channel.codec = session
        if self._options["capture"]:
            sys.stdout = self._output
        if self._options["call_timeout"] is not None:
            _signal.signal(_signal.SIGALRM, _interrupt)
        while True:
            self._request = self._channel.receive()
            self._answer()

    def ask(self, op: str, args: "tuple[Any, ...]") -> object:
        """Have the checker do something with an object of the test's."""
        if _thread.get_ident() != self._thread:
            raise RuntimeError("objects of the test can be used in the program's first thread only")
        self._asked += 1
        number = self._asked
        self._channel.send(("do", number, op, args))
        while True:
            answer: Any = self._channel.receive()
            if answer[0] == "do":
                self._request = answer
                del answer
                self._answer()
            else:
                return self._read(answer)

    def _read(self, answer: "tuple[Any, ...]") -> object:
        if answer[0] == "value":
            return answer[2]
        if answer[0] == "stop":
            raise StopIteration
        if answer[0] == "raised":
            error = self._peer.error_of(*answer[2:6])
            error._smc_origin = answer[6]  # type: ignore[attr-defined]
            raise error
        raise RuntimeError(str(answer[2]))

    def _answer(self) -> None:
        request, self._request = self._request, None
        number = request[1]
        answer = self._done(number, request[2], request[3])
        del request  # so that only what the program has kept is held here
        try:
            self._channel.send(answer)
        except WireError as error:
            if answer[0] == "raised":
                self._channel.send(self._peer.without_details(answer))
            else:
                self._channel.send(("rejected", number, str(error)))

    def _done(self, number: int, op: str, args: "tuple[Any, ...]") -> "tuple[object, ...]":
        timeout = self._options["call_timeout"] if self._depth == 0 else None
        self._depth += 1
        try:
            try:
                if timeout is not None:
                    _signal.setitimer(_signal.ITIMER_REAL, timeout)
                value = self._own[op](*args) if op in self._own else self._perform(op, args)
            finally:
                self._depth -= 1
                if timeout is not None:
                    _signal.setitimer(_signal.ITIMER_REAL, 0)
        except _SoftTimeout:
            return ("timeout", number)
        except BaseException as error:
            if op in ("next", "send") and isinstance(error, StopIteration):
                return ("stop", number)
            return self._peer.raised(number, error, getattr(error, "_smc_origin", None))
        return ("value", number, value, self._written())

    def _written(self) -> str:
        """What the program has written to its standard output since the last answer."""
        if not self._options["capture"]:
            return ""
        text = self._output.getvalue()[:MAX_OUTPUT]
        self._output.seek(0)
        self._output.truncate()
        return text


def _compiled(source: str, fallback: str | None) -> "CodeType":
    try:
        return compile(source.removeprefix("\ufeff"), "<candidate>", "exec", dont_inherit=True)
    except SyntaxError as error:
        if fallback is not None:
            try:
                return compile(fallback, "<candidate>", "exec", dont_inherit=True)
            except SyntaxError:
                pass
        raise error


def _interrupt(*_: object) -> None:
    raise _SoftTimeout
