"""Runs one untrusted program as a script, on real standard streams; the expected output is never in the box.

It finds and leaves what the interpreter would give and do: `exit`, the program's own arguments, `/dev/stdin`; and at
its end threads are waited for, `atexit` is served and what is written but not sent yet is sent.
"""

import builtins
import io
import os
import resource
import sys

from .channel import MAX_ANSWER, MAX_REQUEST, Channel
from .errors import describe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

NAME = "main.py"
STREAMS = {
    f"{folder}/{name}": number
    for number, stream in enumerate(("stdin", "stdout", "stderr"))
    for folder, name in (("/dev", stream), ("/dev/fd", str(number)), ("/proc/self/fd", str(number)))
}
"""Names of the standard streams for which a box has no files."""


def serve(channel_fd: int) -> None:
    """Take one `script` frame on `channel_fd`, execute it, say how it ended, and leave."""
    channel = Channel(channel_fd, MAX_ANSWER, MAX_REQUEST)
    channel.send(("hello",))
    request: tuple[str, str] = channel.receive()  # type: ignore[assignment]
    null = os.open("/dev/null", os.O_RDWR)
    os.dup2(null, 2)
    source = request[1].removeprefix("\ufeff")  # as in a file
    main = _prepared()
    if "tempfile" in source:
        from . import memory_files

        memory_files.install()
    channel.send(_run(source, main))
    os._exit(0)


def _prepared() -> "ModuleType":
    """The main module, and around it what a script may count on."""
    sys.argv[:] = [NAME]
    for name in ("exit", "quit"):  # the interpreter starts without `site`
        setattr(builtins, name, sys.exit)
    builtins.open = io.open = _opener(io.open)
    os.open = _descriptor(os.open)
    resource.setrlimit = _limiter(resource.setrlimit)
    main = type(sys)("__main__")
    main.__file__ = NAME
    sys.modules["__main__"] = main
    return main


def _run(source: str, main: "ModuleType") -> tuple[object, ...]:
    """Execute the program and what follows it; says how it ended."""
    end: tuple[object, ...] = ("ended",)
    try:
        exec(compile(source, NAME, "exec", dont_inherit=True), main.__dict__)
    except SystemExit as error:
        if error.code not in (None, 0):
            end = ("failed", *describe(error))
    except BaseException as error:
        end = ("failed", *describe(error))
    for step in (_join_threads, _call_exit_functions, main.__dict__.clear):  # the last closes the files left open
        try:  # noqa: SIM105
            step()
        except BaseException:  # the interpreter would complain on standard error
            pass
    try:
        for stream in {sys.stdout, sys.__stdout__}:
            if stream is not None and not stream.closed:
                stream.flush()
    except BaseException as error:
        end = ("failed", *describe(error))
    return end


def _join_threads() -> None:
    threading: Any = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()


def _call_exit_functions() -> None:
    atexit: Any = sys.modules.get("atexit")
    if atexit is not None:
        atexit._run_exitfuncs()


def _stream(file: object) -> "int | None":
    try:
        return STREAMS.get(os.fspath(file))  # type: ignore[call-overload]
    except TypeError:
        return None


def _opener(opened: "Any") -> "Any":
    def open(file: object, *args: object, **kwargs: object) -> object:
        number = _stream(file)
        return opened(file if number is None else os.dup(number), *args, **kwargs)

    return open


def _limiter(limited: "Any") -> "Any":
    """Programs that recurse deeply ask for more stack than a box may give: they get what there is."""

    def setrlimit(which: int, limits: tuple[int, int]) -> None:
        most = resource.getrlimit(which)[1]
        soft, hard = (most if most >= 0 and not 0 <= wish <= most else wish for wish in limits)
        limited(which, (soft, hard))

    return setrlimit


def _descriptor(opened: "Any") -> "Any":
    def open(path: object, *args: object, **kwargs: object) -> object:
        number = _stream(path)
        return opened(path, *args, **kwargs) if number is None else os.dup(number)

    return open
