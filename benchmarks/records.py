"""Results as JSON lines: a header, then one line a solved problem, on disk before the next begins.

A line that a crash cut short is dropped when the file is continued; what was done is never done again. A file that is
kept is compressed (``gzip -9n FILE``): it is read as it is, and ``--resume`` unpacks it beside itself first.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Key = tuple[str, str, int]
"""Method's label, problem, repeat."""

FINGERPRINT = (
    "benchmark",
    "model",
    "digest",
    "prompt_form",
    "reward",
    "reward_params",
    "rewards",
    "seed",
    "max_tokens",
    "stop",
)
"""What must be the same when a file is continued."""


class RecordsError(RuntimeError):
    """A file of results cannot be used; the message says what to do."""


@dataclass(frozen=True)
class RunFile:
    """A file that was read."""

    path: Path
    headers: Sequence[Mapping[str, Any]]
    """Of every run that wrote to the file, in order: it may have been continued with other problems or versions."""
    records: list[dict[str, Any]]

    @property
    def header(self) -> Mapping[str, Any]:
        """The last run's, with the methods of all."""
        methods = {name: value for each in self.headers for name, value in each.get("methods", {}).items()}
        return {**self.headers[-1], "methods": methods}

    @property
    def methods(self) -> list[str]:
        """Labels in the order in which they were planned, then any others."""
        planned = list(self.header["methods"])
        return list(dict.fromkeys([*planned, *(record["method"] for record in self.records)]))


def key(record: Mapping[str, Any]) -> Key:
    return record["method"], record["problem"], record["repeat"]


def read_run(path: Path) -> RunFile:
    """The header and the records of a file, compressed or not; a last line without its end is left out.

    Without a file of that name the one with ``.gz`` after it is read. Raises RecordsError.
    """
    if not path.exists() and _kept(path).exists():
        path = _kept(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise RecordsError(f"{path}: {error}") from error
    lines = data[: data.rfind(b"\n") + 1].splitlines()
    try:
        parsed = [json.loads(line) for line in lines]
    except ValueError as error:
        raise RecordsError(f"{path} holds a line that is no JSON ({error})") from error
    if not parsed or parsed[0].get("kind") != "run":
        raise RecordsError(f"{path} does not begin with the header of a run")
    headers = [each for each in parsed if each.get("kind") == "run"]
    records: dict[Key, dict[str, Any]] = {}
    for each in parsed[1:]:
        if each.get("kind") == "result":
            records.setdefault(key(each), each)
    return RunFile(path, headers, list(records.values()))


def _kept(path: Path) -> Path:
    return path.with_name(path.name + ".gz")


def _unpack(path: Path) -> None:
    """The kept file's content as ``path``, whole or not at all. Raises RecordsError."""
    half = path.with_name(path.name + ".half")
    try:
        with gzip.open(_kept(path)) as packed, half.open("wb") as out:
            shutil.copyfileobj(packed, out)
    except (OSError, EOFError, zlib.error) as error:
        half.unlink(missing_ok=True)
        raise RecordsError(f"{_kept(path)}: {error}") from error
    half.replace(path)


class RunWriter:
    """Appends to a file of results. ``resume``: continue one that is there, compressed or not, with the same settings.

    Raises RecordsError.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], *, resume: bool = False) -> None:
        self.path = path
        self.done: set[Key] = set()
        self.records: list[dict[str, Any]] = []
        if path.suffix == ".gz":
            raise RecordsError(f"{path}: results are written as plain lines; give {path.with_suffix('')}")
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() and _kept(path).exists():
            if not resume:
                raise RecordsError(f"{_kept(path)} exists: give --resume to continue it, or another --out")
            _unpack(path)
        if path.exists() and path.stat().st_size and not resume:
            raise RecordsError(f"{path} exists: give --resume to continue it, or another --out")
        keep = 0
        if resume and path.exists():
            keep = path.read_bytes().rfind(b"\n") + 1
        if keep:
            old = read_run(path)
            changed = [name for name in FINGERPRINT if old.header.get(name) != json.loads(json.dumps(header.get(name)))]
            if changed:
                raise RecordsError(f"{path} was made with another {', '.join(changed)}: give another --out")
            self.records = old.records
            self.done = {key(record) for record in old.records}
        self._file = path.open("ab")
        self._file.truncate(keep)
        self.write({"kind": "run", **header})

    def add(self, record: Mapping[str, Any]) -> None:
        """Write one result; it is on disk when this returns."""
        line = {"kind": "result", **record}
        self.write(line)
        self.done.add(key(line))
        self.records.append(line)

    def write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line, allow_nan=False, separators=(",", ":")).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
