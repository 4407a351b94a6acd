"""Clears away what a server that was killed may have left: boxes of bubblewrap that were just being set up.

In that moment the inner process waits for a word from its wrapper, and its life is not yet tied to the wrapper's.
If the wrapper dies with the server just then, it waits for ever. No untrusted code is in it yet.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

NAME = "bwrap"
OURS = b"inbox.boot"


def clear_orphans(proc: Path = Path("/proc")) -> list[int]:
    """Kill inner processes of boxes that have no wrapper, and give their pids. Boxes of living servers have one."""
    killed: list[int] = []
    for entry in os.listdir(proc):
        if entry.isdigit() and _is_orphan(proc, int(entry)):
            with contextlib.suppress(OSError):
                process = os.pidfd_open(int(entry))
                try:
                    if _is_orphan(proc, int(entry)):  # still, now that the pid cannot become another's
                        signal.pidfd_send_signal(process, signal.SIGKILL)
                        killed.append(int(entry))
                finally:
                    os.close(process)
    return killed


def _is_orphan(proc: Path, pid: int) -> bool:
    try:
        status = _status(proc, pid)
        inner = len(status["NSpid"].split()) > 1  # the first process of a pid namespace of its own
        if not inner or status["Name"] != NAME or OURS not in (proc / str(pid) / "cmdline").read_bytes():
            return False
        return _status(proc, int(status["PPid"]))["Name"] != NAME
    except (OSError, KeyError, ValueError):  # it has gone meanwhile, or belongs to somebody else
        return False


def _status(proc: Path, pid: int) -> dict[str, str]:
    lines = (proc / str(pid) / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
