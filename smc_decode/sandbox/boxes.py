"""Boxes: one process each that holds untrusted code, and the tiers of confinement that make them."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from smc_decode.sandbox import seccomp
from smc_decode.sandbox.inbox.confine import landlock_version
from smc_decode.sandbox.orphans import clear_orphans
from smc_decode.sandbox.results import BoxLimits, SandboxError, SandboxUnavailable
from smc_decode.sandbox.runtime import Runtime

Role = Literal["runner", "checker", "script"]

PYTHON_FLAGS = ("-I", "-S", "-E", "-B", "-X", "utf8")
STACK_BYTES = 64 << 20
MESSAGE_BYTES = 4096
KILL_SECONDS = 10
EXIT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Wiring:
    """Descriptors for a box: standard input and output, and (for a script) the channel beside them."""

    stdin: int
    stdout: int
    channel: int | None = None


class Tier(Protocol):
    """A way to confine a process."""

    name: str

    def start(self, role: Role, wiring: Wiring, limits: BoxLimits, cpu_seconds: int, uid: int | None) -> Box:
        """Start a box. Raises `SandboxError` if that fails."""
        ...


class Box:
    """A started box. `close` ends all that runs in it, waits for that, and leaves no process or descriptor behind."""

    def __init__(self, process: subprocess.Popen[bytes], errors: int, info: int | None = None) -> None:
        self._process = process
        self._errors = errors
        self._info = info

    def close(self) -> None:
        """Kill and reap. Safe to call more than once."""
        inner = self._inner()
        try:
            if inner is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(inner, signal.SIGKILL)
                poll = select.poll()
                poll.register(inner, select.POLLIN)
                poll.poll(KILL_SECONDS * 1000)
            else:
                self._process.kill()
            try:
                self._process.wait(timeout=KILL_SECONDS)
            except subprocess.TimeoutExpired:  # the wrapper is stuck: it takes the box with it
                self._process.kill()
                self._process.wait()
        finally:
            for fd in (inner, self._errors, self._info):
                if fd is not None and fd >= 0:
                    os.close(fd)
            self._errors, self._info = -1, None

    def complaint(self) -> str:
        """What was written to standard error before untrusted code ran. Call before `close`."""
        with contextlib.suppress(OSError):
            os.set_blocking(self._errors, False)
            return os.read(self._errors, MESSAGE_BYTES).decode("utf-8", "replace").strip()[-500:]
        return ""

    def exit_status(self) -> int | None:
        """How the process ended (0: well), which it must be about to do; None if it does not."""
        try:
            return self._process.wait(timeout=EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def _inner(self) -> int | None:
        """A descriptor of the first process in the box, where another process wraps it.

        That one is killed rather than the wrapper, so that the wrapper reaps it: whoever adopts orphans may not.
        """
        if self._info is None or self._process.poll() is not None:
            return None
        text = b""
        while part := os.read(self._info, MESSAGE_BYTES):
            text += part
        try:
            inner = os.pidfd_open(json.loads(text)["child-pid"])
        except (ValueError, KeyError, OSError):
            return None
        # as long as the wrapper has not gone, it has not given the pid free
        if self._process.poll() is not None:
            os.close(inner)
            return None
        return inner


def _limits_argument(limits: BoxLimits, cpu_seconds: int, count_threads: bool = True) -> str:
    values = {
        resource.RLIMIT_AS: limits.memory_bytes,
        resource.RLIMIT_STACK: STACK_BYTES,
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: 64,
    }
    if count_threads:
        values[resource.RLIMIT_NPROC] = limits.threads
    return ",".join(f"{number}={value}" for number, value in values.items())


def _boot(inbox: str) -> str:
    return f"import sys; sys.path.append({inbox!r}); from inbox.boot import main; main()"


def _spawn(
    command: Sequence[str],
    wiring: Wiring,
    environment: dict[str, str],
    passed: Sequence[int] = (),
    user: int | None = None,
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a process; also gives a descriptor of its standard error."""
    errors, errors_write = os.pipe()
    try:
        process = subprocess.Popen(
            command,
            stdin=wiring.stdin,
            stdout=wiring.stdout,
            stderr=errors_write,
            pass_fds=(*passed, *(() if wiring.channel is None else (wiring.channel,))),
            env=environment,
            cwd="/",
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    except OSError as error:
        os.close(errors)
        raise SandboxError(f"a box cannot be started: {error}") from error
    finally:
        os.close(errors_write)
    return process, errors


class Bubblewrap:
    """All namespaces of its own, a read-only root with nothing but the runtime, no capability, seccomp, rlimits."""

    name = "bubblewrap"

    def __init__(self, runtime: Runtime) -> None:
        found = shutil.which("bwrap")
        if found is None:
            raise SandboxUnavailable("bwrap is not installed (package bubblewrap)")
        self._bwrap = found
        self._setpriv = shutil.which("setpriv")
        self._runtime = runtime
        self._filter = seccomp.build_filter(allow_exec=True)
        clear_orphans()

    def start(self, role: Role, wiring: Wiring, limits: BoxLimits, cpu_seconds: int, uid: int | None) -> Box:
        info, info_write = os.pipe()
        rules, rules_write = os.pipe()
        os.write(rules_write, self._filter)  # far less than a pipe holds
        os.close(rules_write)
        command = [
            self._bwrap,
            "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
            "--unshare-cgroup-try", "--uid", "65534", "--gid", "65534", "--hostname", "box", "--cap-drop", "ALL",
            "--die-with-parent", "--new-session", "--as-pid-1", "--clearenv",
            "--ro-bind", str(self._runtime.root), "/",
            "--ro-bind", str(self._runtime.inbox), "/box",
            "--dev-bind", "/dev/null", "/dev/null",
            "--chdir", "/", "--seccomp", str(rules), "--info-fd", str(info_write),
            "--", "/usr/bin/python3", *PYTHON_FLAGS, "-c", _boot("/box"),
            role, _limits_argument(limits, cpu_seconds), "-",
            *(() if wiring.channel is None else (str(wiring.channel),)),
        ]  # fmt: skip
        user = uid
        if uid is not None and self._setpriv is not None:
            # after the exec rather than between fork and exec: a server with gigabytes mapped is then not forked but
            # vforked
            command = [self._setpriv, "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--", *command]
            user = None
        try:
            process, errors = _spawn(command, wiring, {}, (rules, info_write), user)
        except BaseException:
            os.close(info)
            raise
        finally:
            os.close(info_write)
            os.close(rules)
        return Box(process, errors, info)


class Landlock:
    """For places without user namespaces: Landlock hides all files but the runtime, seccomp does the rest, rlimits.

    What it lacks beside bubblewrap: names and sizes of files can be asked for (not their content), pids and the
    host's name are the machine's.
    """

    name = "landlock"

    def __init__(self, runtime: Runtime) -> None:
        if landlock_version() == 0:
            raise SandboxUnavailable("the kernel has no Landlock, or has it switched off")
        self._runtime = runtime

    def start(self, role: Role, wiring: Wiring, limits: BoxLimits, cpu_seconds: int, uid: int | None) -> Box:
        parts = ["-" if uid is None else str(uid), str(os.getpid()), self._runtime.root, self._runtime.inbox]
        confinement = ":".join(map(str, parts))
        # without a uid of its own the count would take in all processes of the user's; then memory bounds the threads
        argument = _limits_argument(limits, cpu_seconds, count_threads=uid is not None)
        return _start_plain(self._runtime, role, wiring, argument, confinement)


class Unconfined:
    """No confinement but rlimits. Only where the operator has said so."""

    name = "unsafe"

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def start(self, role: Role, wiring: Wiring, limits: BoxLimits, cpu_seconds: int, uid: int | None) -> Box:
        argument = _limits_argument(limits, cpu_seconds, count_threads=False)
        return _start_plain(self._runtime, role, wiring, argument, "-")


def _start_plain(runtime: Runtime, role: Role, wiring: Wiring, limits: str, confinement: str) -> Box:
    command = [
        str(runtime.python), *PYTHON_FLAGS, "-c", _boot(str(runtime.inbox)), role, limits, confinement,
        *(() if wiring.channel is None else (str(wiring.channel),)),
    ]  # fmt: skip
    process, errors = _spawn(command, wiring, {"LD_LIBRARY_PATH": str(runtime.root / "usr" / "lib")})
    return Box(process, errors)
