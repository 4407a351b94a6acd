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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import structlog

from server.openai.errors import APIError
from server.runs.wire import Decode, event_json
from smc_decode.events import Event

_ID = re.compile(r"run_[0-9a-f]{32}")
_log = structlog.get_logger("server.runs.store")


class Traces:
    """The folder of stored runs. ``max_bytes`` bounds them all together, and each one to a quarter of it."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def begin(self, head: Mapping[str, Any], decode: Decode | None) -> Trace:
        """Begin to store a run; ``head`` is its first line (who asked for what)."""
        trace = Trace(self._folder, self._max_bytes // 4, head, decode)
        self._make_room()
        return trace

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

    def _make_room(self) -> None:
        try:
            files = [(path.stat().st_mtime, path.stat().st_size, path) for path in self._folder.glob("run_*.jsonl")]
            total = sum(size for _, size, _ in files)
            for _, size, path in sorted(files):
                if total <= self._max_bytes:
                    return
                path.unlink(missing_ok=True)
                total -= size
        except OSError as error:
            _log.warning("old traces could not be removed", error=str(error))


class Trace:
    """One run that is being stored. ``warning`` says why it could not be."""

    def __init__(self, folder: Path, max_bytes: int, head: Mapping[str, Any], decode: Decode | None) -> None:
        self._id = f"run_{uuid.uuid4().hex}"
        self._path = folder / f"{self._id}.jsonl"
        self._left = max_bytes
        self._decode = decode
        self._file: IO[str] | None = None
        self.warning: str | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.fdopen(
                os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
            )
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
            except OSError as error:
                self._give_up(error)

    def _write(self, value: Mapping[str, Any]) -> None:
        if self._file is None:
            return
        line = json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
        self._left -= len(line)
        try:
            if self._left < 0:
                raise OSError("the run is larger than a quarter of trace_max_bytes")
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
