"""Uids for boxes: one each, because the kernel counts processes, and lets processes signal each other, by uid."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smc_decode.sandbox.results import SandboxError

HIGH = 2_046_820_352  # far from accounts, dynamic users and the usual ranges of subordinate uids
PER_PROCESS = 256
PROCESSES = 128
NOBODY_AND_OTHERS = 1024  # the top of a container's range
CAP_SETGID, CAP_SETUID = 1 << 6, 1 << 7


class UidSlots:
    """Hands out unused uids. Without the right to change uid there are none, and boxes run as the server's user."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = available_uids()
        self.uids = frozenset(self._free)

    @contextmanager
    def take(self) -> Iterator[int | None]:
        """A uid that no other box of this process has; None where there are none at all.

        Raises `SandboxError` if all are in use: a box must not fall back to the server's own uid.
        """
        if not self.uids:
            yield None
            return
        with self._lock:
            if not self._free:
                raise SandboxError(f"all {PER_PROCESS} uids for boxes are in use: lower max_parallel")
            uid = self._free.pop()
        try:
            yield uid
        finally:
            with self._lock:
                self._free.append(uid)


def available_uids(proc: Path = Path("/proc/self")) -> list[int]:
    """A range of uids for this process, apart from those of other servers (as far as a pid can tell them apart)."""
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    if os.geteuid() != 0 or ~int(status["CapEff"], 16) & (CAP_SETGID | CAP_SETUID):
        return []
    mapped = [[int(number) for number in line.split()] for line in (proc / "uid_map").read_text().splitlines()]
    end = max(start + count for start, _, count in mapped)
    first = min(HIGH, end - PER_PROCESS * PROCESSES - NOBODY_AND_OTHERS)
    if first < NOBODY_AND_OTHERS:  # a container with one uid, or a few
        return []
    mine = first + os.getpid() % PROCESSES * PER_PROCESS
    return list(range(mine, mine + PER_PROCESS))
