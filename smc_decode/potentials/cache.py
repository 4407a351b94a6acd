"""Scores kept by content, bounded in number, shared by all requests of one reward."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


def content_key(*parts: object) -> bytes:
    """A digest of the parts' representations, so that a key costs the same whatever it stands for."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else repr(part).encode()
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    return digest.digest()


class ContentCache(Generic[T]):
    """The ``max_entries`` values used last. Thread-safe. ``calls`` counts what was computed, ``hits`` what was not.

    An OrderedDict is an LRU but for one line of :meth:`put`, so no library is asked for it.
    """

    def __init__(self, max_entries: int = 20_000) -> None:
        if max_entries < 1:
            raise ValueError(f"max_entries must be at least 1, got {max_entries}")
        self.max_entries = max_entries
        self.calls = 0
        self.hits = 0
        self._values: OrderedDict[bytes, T] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._values)

    def find(self, key: bytes) -> tuple[T] | None:
        """The value in a 1-tuple, or None where there is none. Counts nothing."""
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return (self._values[key],)

    def put(self, key: bytes, value: T) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self.max_entries:
                self._values.popitem(last=False)

    async def map(self, keys: Sequence[bytes], compute: Callable[[list[int]], Awaitable[Sequence[T]]]) -> list[T]:
        """One value a key, in order. ``compute`` gets the indices of the keys that are new (each content once) and
        gives their values in that order; if it raises, nothing is kept."""
        found = [self.find(key) for key in keys]
        first: dict[bytes, int] = {}
        for index, key in enumerate(keys):
            if found[index] is None:
                first.setdefault(key, index)
        missing = list(first.values())
        with self._lock:
            self.calls += len(missing)
            self.hits += len(keys) - len(missing)
        fresh: dict[bytes, T] = {}
        if missing:
            for index, value in zip(missing, await compute(missing), strict=True):
                fresh[keys[index]] = value
                self.put(keys[index], value)
        return [fresh[key] if entry is None else entry[0] for key, entry in zip(keys, found, strict=True)]


async def gather(awaitables: Iterable[Awaitable[T]]) -> list[T]:
    """All results in order. The first failure cancels the rest and is raised as it is (a TaskGroup would raise a group,
    which every caller would have to take apart)."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
