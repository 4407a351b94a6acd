"""Stored runs (``smc.trace``): one JSON-lines file a run, in a folder of bounded size, oldest gone first.

A trace is a reader of the run like any other: that it cannot be written is a warning in the answer, and nothing
more. Only the key that made a run can read it back.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import structlog

from smc_decode.events import Event

from ..edge.auth import ANONYMOUS
from ..errors import APIError
from .wire import Decode, event_json

_ID = re.compile(r"run_[0-9a-f]{32}")
_log = structlog.get_logger("server.runs.store")


@dataclass
class _Stored:
    """A run in the folder. ``size`` in bytes, as they are written."""

    path: Path
    owner: str
    size: int = 0
    running: bool = False


class Traces:
    """The folder of stored runs. ``max_bytes`` bounds them all together, one to a quarter of it, and those of an API
    key to a half. Where room is needed, the oldest run of the owner that has most goes."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._stored: dict[Path, _Stored] | None = None

    def begin(self, head: Mapping[str, Any], decode: Decode | None) -> Trace:
        """Begin to store a run; ``head`` is its first line (who asked for what)."""
        return Trace(self, self._folder, head, decode)

    def enter(self, path: Path, owner: str) -> None:
        """A run begins to be stored."""
        if self._stored is None:
            self._stored = self._found()
        self._stored[path] = _Stored(path, owner, running=True)

    def take(self, path: Path, size: int) -> None:
        """Room for ``size`` more bytes of a run. Raises OSError where there is none."""
        stored = self._all[path]
        if stored.size + size > self._max_bytes // 4:
            raise OSError("the run is larger than a quarter of trace_max_bytes")
        if stored.owner != ANONYMOUS:
            of_owner = [each for each in self._all.values() if each.owner == stored.owner]
            self._make_room(of_owner, self._max_bytes // 2 - size, "the key's runs are larger than half of")
        self._make_room(list(self._all.values()), self._max_bytes - size, "the runs that are going on fill")
        stored.size += size

    def leave(self, path: Path, *, keep: bool) -> None:
        """A run is stored, or (``keep`` false) is not."""
        if path in self._all:
            self._all[path].running = False
            if not keep:
                del self._all[path]

    @property
    def _all(self) -> dict[Path, _Stored]:
        return {} if self._stored is None else self._stored

    def _make_room(self, among: Sequence[_Stored], most: int, reason: str) -> None:
        """Remove finished runs, until those ``among`` which room is made have at most ``most`` bytes."""
        left = list(among)
        while sum(each.size for each in left) > most:
            sizes: Counter[str] = Counter()
            for each in left:
                sizes[each.owner] += each.size
            ended = [each for each in left if not each.running]
            if not ended:
                raise OSError(f"{reason} trace_max_bytes")
            heaviest = max((each.owner for each in ended), key=lambda owner: sizes[owner])
            oldest = next(each for each in ended if each.owner == heaviest)
            oldest.path.unlink(missing_ok=True)
            del self._all[oldest.path]
            left.remove(oldest)

    def _found(self) -> dict[Path, _Stored]:
        """What an earlier server has left, oldest first."""
        found = []
        with contextlib.suppress(OSError):
            for path in self._folder.glob("run_*.jsonl"):
                with contextlib.suppress(OSError):
                    stat = path.stat()
                    stored = _Stored(path, str(self._head(path).get("owner")), stat.st_size)
                    found.append((stat.st_mtime, stored))
        return {stored.path: stored for _, stored in sorted(found, key=lambda each: each[0])}

    def path(self, trace_id: str, owner: str) -> Path:
        """The file of a run of ``owner``'s. Raises APIError (404)."""
        path = self._folder / f"{trace_id}.jsonl"
        if not _ID.fullmatch(trace_id) or self._head(path).get("owner") != owner:
            raise APIError(404, f"there is no stored run {trace_id!r}", code="run_not_found", param="id")
        return path

    def lines(self, trace_id: str, owner: str) -> Iterator[str]:
        """The run's lines, the head first. Raises APIError (404) at once."""
        path = self.path(trace_id, owner)

        def read() -> Iterator[str]:
            with path.open(encoding="utf-8") as file:
                for line in file:
                    yield line.rstrip("\n")

        return read()

    def _head(self, path: Path) -> dict[str, Any]:
        try:
            with path.open(encoding="utf-8") as file:
                head = json.loads(file.readline())
        except (OSError, ValueError):
            return {}
        return head if isinstance(head, dict) else {}


class Trace:
    """One run that is being stored. ``warning`` says why it could not be."""

    def __init__(self, traces: Traces, folder: Path, head: Mapping[str, Any], decode: Decode | None) -> None:
        self._traces = traces
        self._id = f"run_{uuid.uuid4().hex}"
        self._path = folder / f"{self._id}.jsonl"
        self._decode = decode
        self._file: IO[bytes] | None = None
        self.warning: str | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
            traces.enter(self._path, str(head.get("owner")))
        except OSError as error:
            self._give_up(error)
        self._write({"event": "Head", "id": self._id, "time": time.time(), **head})

    @property
    def id(self) -> str | None:
        """The name under which the run can be read back; None where it is not stored."""
        return None if self.warning else self._id

    def read(self, event: Event) -> None:
        if self._file is not None:
            self._write(event_json(event, self._decode))

    def close(self) -> None:
        """No more events. Closing twice is harmless."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
                self._traces.leave(self._path, keep=True)
            except OSError as error:
                self._give_up(error)

    def _write(self, value: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        try:
            line = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            self._traces.take(self._path, len(line))
            self._file.write(line)
            self._file.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.warning = f"the run could not be stored: {error}"
        _log.warning("trace not stored", error=str(error))
        file, self._file = self._file, None
        with contextlib.suppress(OSError):
            if file is not None:
                file.close()
            self._path.unlink(missing_ok=True)
        self._traces.leave(self._path, keep=False)
