"""The runner: executes one untrusted program and answers calls to it. It never sees a test or an expected value.

Nothing that it says is trusted. The program may patch, read or replace every line below and may write to the channel
itself; all it can gain is to choose the plain value with which a call is answered, which it could do by returning it.
"""

import _signal  # type: ignore[import-not-found]  # `signal` would import `enum`
import builtins
import os
import sys

from .channel import MAX_ANSWER, MAX_REQUEST, Channel
from .wire import WireError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType
    from typing import Any

MESSAGE_LENGTH = 300


class _SoftTimeout(BaseException):
    """Raised in the program when one call has taken its time; a program that swallows it is killed from outside."""


def serve() -> None:
    """Answer frames on descriptor 0 until it closes: one `load` (with the greatest size of an answer), then `call`s."""
    channel = Channel(take_channel(), MAX_ANSWER, MAX_REQUEST)
    channel.send(("hello",))
    program = _Program()
    while True:
        request: tuple[Any, ...] = channel.receive()  # type: ignore[assignment]
        if request[0] == "load":
            channel.max_sent = request[1]
            channel.send(program.load(*request[2:]))
        else:
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
        self._module = type(sys)("candidate")
        sys.modules["candidate"] = self._module
        self._entry = ""

    def load(self, source: str, fallback: str | None, entry: str) -> tuple[object, ...]:
        """Execute `source`; if it is no Python and `fallback` is, execute that."""
        self._entry = entry
        try:
            exec(_compiled(source, fallback), self._module.__dict__)
            if entry:
                self._resolve(entry)
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
                value = self._resolve(name or self._entry)(*args, **kwargs)  # type: ignore[operator]
            finally:
                if soft_timeout is not None:
                    _signal.setitimer(_signal.ITIMER_REAL, 0)
        except _SoftTimeout:
            return ("timeout", number)
        except BaseException as error:
            return ("raised", number, *describe(error))
        return ("value", number, value, args if want_after else None)

    def _resolve(self, dotted: str) -> object:
        """`f`, or `Class.f` on a fresh instance."""
        head, *rest = dotted.split(".")
        try:
            found = self._module.__dict__[head]
        except KeyError:
            raise NameError(f"the program does not define {head!r}") from None
        for part in rest:
            found = getattr(found() if isinstance(found, type) else found, part)
        return found


def _compiled(source: str, fallback: str | None) -> "CodeType":
    try:
        return compile(source, "<candidate>", "exec", dont_inherit=True)
    except SyntaxError as error:
        if fallback is not None:
            try:
                return compile(fallback, "<candidate>", "exec", dont_inherit=True)
            except SyntaxError:
                pass
        raise error


def _interrupt(*_: object) -> None:
    raise _SoftTimeout


def describe(error: BaseException) -> tuple[str, list[str], str]:
    """An exception as plain values: type name, the names of its built-in bases (nearest first), message."""
    kind = type(error)
    try:
        message = str(error)[:MESSAGE_LENGTH]
    except BaseException:
        message = ""
    bases = [base.__name__ for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base]
    return kind.__name__, bases, message
