"""Uids for boxes: one each, because the kernel counts processes, and lets processes signal each other, by uid."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

HIGH = 2_046_820_352  # far from accounts, dynamic users and the usual ranges of subordinate uids
PER_PROCESS = 128
PROCESSES = 512


class UidSlots:
    """Hands out unused uids. Without the right to change uid there are none, and boxes run as the server's user."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free = _range()
        self.uids = frozenset(self._free)

    @contextmanager
    def take(self) -> Iterator[int | None]:
        """A uid that no other box of this process has, or None where there are none (left)."""
        with self._lock:
            uid = self._free.pop() if self._free else None
        try:
            yield uid
        finally:
            if uid is not None:
                with self._lock:
                    self._free.append(uid)


def _range() -> list[int]:
    if os.geteuid() != 0:
        return []
    with open("/proc/self/uid_map") as file:
        mapped = [[int(number) for number in line.split()] for line in file]
    end = max(start + count for start, _, count in mapped)
    first = min(HIGH, end - PER_PROCESS * PROCESSES)
    if first < 1000:  # a container that maps one uid, or a few
        return []
    mine = first + os.getpid() % PROCESSES * PER_PROCESS
    return list(range(mine, mine + PER_PROCESS))
