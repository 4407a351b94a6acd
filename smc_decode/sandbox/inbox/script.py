"""Runs one untrusted program as a script, on real standard streams; the expected output is never in the box."""

import os
import sys

from .channel import MAX_ANSWER, MAX_REQUEST, Channel
from .errors import describe


def serve(channel_fd: int) -> None:
    """Take one `script` frame on `channel_fd`, execute it, say how it ended, and leave without clean-up."""
    channel = Channel(channel_fd, MAX_ANSWER, MAX_REQUEST)
    channel.send(("hello",))
    request: tuple[str, str] = channel.receive()  # type: ignore[assignment]
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 2)
    main = type(sys)("__main__")
    sys.modules["__main__"] = main
    end: tuple[object, ...] = ("ended",)
    try:
        exec(compile(request[1], "<candidate>", "exec", dont_inherit=True), main.__dict__)
    except SystemExit as error:
        if error.code not in (None, 0):
            end = ("failed", *describe(error))
    except BaseException as error:
        end = ("failed", *describe(error))
    try:
        sys.stdout.flush()
    except BaseException as error:
        end = ("failed", *describe(error))
    channel.send(end)
    os._exit(0)
