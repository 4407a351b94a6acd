"""Ends of what processes read and write, closed when the block is left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from io import FileIO


@contextlib.contextmanager
def socket_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    first, second = socket.socketpair()
    with first, second:
        yield first, second


@contextlib.contextmanager
def pipe() -> Iterator[tuple[FileIO, FileIO]]:
    read_end, write_end = os.pipe()
    with open(read_end, "rb", buffering=0) as reader, open(write_end, "wb", buffering=0) as writer:
        yield reader, writer


@contextlib.contextmanager
def filled(data: bytes) -> Iterator[FileIO]:
    """A file in memory that holds `data` and can only be read: programs may ask for its size."""
    seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL
    with open(os.memfd_create("input", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING), "r+b", buffering=0) as file:
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
        file.seek(0)
        yield file


@contextlib.contextmanager
def null_device() -> Iterator[FileIO]:
    """Nothing to read, and whatever is written is lost."""
    with open(os.devnull, "r+b", buffering=0) as null:
        yield null
