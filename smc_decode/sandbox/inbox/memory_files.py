"""Temporary files for programs in a box that has no place to write: they lie in the program's own memory.

What `tempfile` gives, and whatever is put beneath its directory, is kept in a dictionary of this process and counts as
its memory. The functions of `os` and `io` that take a path or a descriptor look there first. No system call that a box
may not make is needed, and nothing else can be written.
"""

import _io
import builtins
import errno
import io
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

ROOT = "/memory"
FIRST_DESCRIPTOR = 1 << 20  # above all that the kernel gives
MAX_BYTES = 256 << 20


def install() -> None:
    """Have `tempfile` make its files here."""
    tree = Tree()
    for name in ("open", "stat", "lstat", "access", "mkdir", "rmdir", "unlink", "remove", "rename", "replace",
                 "listdir", "scandir", "chmod", "utime"):  # fmt: skip
        _layer(name, getattr(tree, name), tree.has)
    for name in ("read", "write", "close", "lseek", "fstat", "ftruncate", "fsync"):
        _layer(name, getattr(tree, "fd_" + name), tree.has_descriptor)
    plain = io.open

    def opened(file: "Any", mode: str = "r", buffering: int = -1, encoding: "str | None" = None,
               errors: "str | None" = None, newline: "str | None" = None, closefd: bool = True,
               opener: "Any" = None) -> "Any":  # fmt: skip
        text = (encoding, errors, newline)
        if tree.has_descriptor(file):
            return _wrapped(_Handle(tree, tree.descriptors[file], file if closefd else None), mode, *text)
        if not tree.has(file):
            return plain(file, mode, buffering, encoding, errors, newline, closefd, opener)
        flags = _flags(mode)
        number = tree.open(file, flags) if opener is None else opener(file, flags)
        handle = _Handle(tree, tree.descriptors[number], number)
        handle.name = file
        return _wrapped(handle, mode, *text)

    builtins.open = io.open = opened
    import tempfile  # after all that it takes from `os`

    tempfile.tempdir = ROOT


def _layer(name: str, ours: "Callable[..., Any]", has: "Callable[[Any], bool]") -> None:
    plain = getattr(os, name)

    def layered(*args: "Any", **kwargs: "Any") -> "Any":
        return ours(*args, **kwargs) if args and has(args[0]) else plain(*args, **kwargs)

    setattr(os, name, layered)


def _flags(mode: str) -> int:
    access = os.O_RDWR if "+" in mode else os.O_RDONLY if "r" in mode else os.O_WRONLY
    extra = {"w": os.O_CREAT | os.O_TRUNC, "a": os.O_CREAT | os.O_APPEND, "x": os.O_CREAT | os.O_EXCL}
    return access | sum(bits for letter, bits in extra.items() if letter in mode)


def _error(number: int, path: object) -> OSError:
    return OSError(number, os.strerror(number), path)


class _Open:
    """What a descriptor stands for: the file's bytes, where it is in them, and how it was opened."""

    def __init__(self, data: bytearray, flags: int) -> None:
        self.data = data
        self.flags = flags
        self.at = 0


class Tree:
    """Files and directories by their absolute paths, and what is open."""

    def __init__(self) -> None:
        self.nodes: dict[str, bytearray | None] = {ROOT: None}  # None: a directory
        self.descriptors: dict[int, _Open] = {}
        self._next = FIRST_DESCRIPTOR

    def has(self, path: object) -> bool:
        """Whether a path lies here, be there something or not."""
        try:
            name = os.fspath(path)  # type: ignore[call-overload]
        except TypeError:
            return False
        name = os.fsdecode(name)
        return (name + "/").startswith(ROOT + "/") and (os.path.normpath(name) + "/").startswith(ROOT + "/")

    def has_descriptor(self, number: object) -> bool:
        return isinstance(number, int) and number in self.descriptors

    def open(self, path: "Any", flags: int, mode: int = 0o777, *, dir_fd: object = None) -> int:
        name = _name(path)
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            return self._opened(bytearray(), flags)
        if name not in self.nodes:
            if not flags & os.O_CREAT or self.nodes.get(os.path.dirname(name), b"") is not None:
                raise _error(errno.ENOENT, path)
            self.nodes[name] = bytearray()
        elif flags & os.O_EXCL:
            raise _error(errno.EEXIST, path)
        data = self.nodes[name]
        if data is None:
            raise _error(errno.EISDIR, path)
        if flags & os.O_TRUNC:
            data.clear()
        return self._opened(data, flags)

    def _opened(self, data: bytearray, flags: int) -> int:
        self._next += 1
        self.descriptors[self._next] = _Open(data, flags)
        return self._next

    def stat(self, path: "Any", *, dir_fd: object = None, follow_symlinks: bool = True) -> os.stat_result:
        return _stat(self._node(path))

    lstat = stat

    def access(self, path: "Any", mode: int, **options: object) -> bool:
        return _name(path) in self.nodes

    def chmod(self, path: "Any", mode: int, **options: object) -> None:
        self._node(path)

    def utime(self, path: "Any", *args: object, **options: object) -> None:
        self._node(path)

    def mkdir(self, path: "Any", mode: int = 0o777, *, dir_fd: object = None) -> None:
        name = _name(path)
        if name in self.nodes:
            raise _error(errno.EEXIST, path)
        if self.nodes.get(os.path.dirname(name), b"") is not None:
            raise _error(errno.ENOENT, path)
        self.nodes[name] = None

    def rmdir(self, path: "Any", *, dir_fd: object = None) -> None:
        if self._node(path) is not None:
            raise _error(errno.ENOTDIR, path)
        if any(self._beneath(_name(path))):
            raise _error(errno.ENOTEMPTY, path)
        del self.nodes[_name(path)]

    def unlink(self, path: "Any", *, dir_fd: object = None) -> None:
        if self._node(path) is None:
            raise _error(errno.EISDIR, path)
        del self.nodes[_name(path)]

    remove = unlink

    def rename(self, old: "Any", new: "Any", **options: object) -> None:
        source, target = _name(old), _name(new)
        self._node(old)
        if not self.has(new):
            raise _error(errno.EROFS, new)
        if self.nodes.get(os.path.dirname(target), b"") is not None:
            raise _error(errno.ENOENT, new)
        for name in [source, *self._beneath(source)]:
            self.nodes[target + name[len(source) :]] = self.nodes.pop(name)

    replace = rename

    def listdir(self, path: "Any" = ".") -> list[str]:
        if self._node(path) is not None:
            raise _error(errno.ENOTDIR, path)
        begin = len(_name(path)) + 1
        return [name[begin:] for name in self._beneath(_name(path)) if "/" not in name[begin:]]

    def scandir(self, path: "Any" = ".") -> "_Entries":
        return _Entries(_Entry(self, os.path.join(_name(path), name)) for name in self.listdir(path))

    def _node(self, path: object) -> "bytearray | None":
        name = _name(path)
        if name not in self.nodes:
            raise _error(errno.ENOENT, path)
        return self.nodes[name]

    def _beneath(self, name: str) -> "Iterator[str]":
        return iter([other for other in self.nodes if other.startswith(name + "/")])

    def fd_read(self, number: int, size: int) -> bytes:
        one = self.descriptors[number]
        part = bytes(one.data[one.at : one.at + size])
        one.at += len(part)
        return part

    def fd_write(self, number: int, data: "Any") -> int:
        return write(self.descriptors[number], data)

    def fd_close(self, number: int) -> None:
        del self.descriptors[number]

    def fd_lseek(self, number: int, offset: int, whence: int) -> int:
        one = self.descriptors[number]
        one.at = max(0, offset + (0, one.at, len(one.data))[whence])
        return one.at

    def fd_fstat(self, number: int) -> os.stat_result:
        return _stat(self.descriptors[number].data)

    def fd_ftruncate(self, number: int, length: int) -> None:
        resize(self.descriptors[number].data, length)

    def fd_fsync(self, number: int) -> None:
        """It is where it will be."""


def _name(path: object) -> str:
    return os.path.normpath(os.fsdecode(path))  # type: ignore[arg-type]


def _stat(data: "bytearray | None") -> os.stat_result:
    mode = stat.S_IFDIR | 0o700 if data is None else stat.S_IFREG | 0o600
    return os.stat_result((mode, id(data), 0, 1, os.getuid(), os.getgid(), len(data or b""), 0, 0, 0))


def resize(data: bytearray, length: int) -> None:
    if length > MAX_BYTES:
        raise _error(errno.ENOSPC, None)
    del data[length:]
    data.extend(bytes(length - len(data)))


def write(one: _Open, data: "Any") -> int:
    view = memoryview(data).cast("B")
    begin = len(one.data) if one.flags & os.O_APPEND else one.at
    if len(one.data) < begin:
        resize(one.data, begin)
    if begin + len(view) > MAX_BYTES:
        raise _error(errno.ENOSPC, None)
    one.data[begin : begin + len(view)] = view
    one.at = begin + len(view)
    return len(view)


class _Handle(_io._RawIOBase):
    """A file as the layers of `io` want it."""

    def __init__(self, tree: Tree, one: _Open, number: "int | None") -> None:
        self._tree, self._one, self._number = tree, one, number
        self.name: object = number

    def readable(self) -> bool:
        return not self._one.flags & os.O_WRONLY

    def writable(self) -> bool:
        return bool(self._one.flags & (os.O_WRONLY | os.O_RDWR))

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        if self._number is None:
            raise io.UnsupportedOperation("fileno")
        return self._number

    def readinto(self, buffer: "Any") -> int:
        one = self._one
        part = one.data[one.at : one.at + len(buffer)]
        buffer[: len(part)] = part
        one.at += len(part)
        return len(part)

    def write(self, data: "Any") -> int:
        return write(self._one, data)

    def seek(self, offset: int, whence: int = 0) -> int:
        one = self._one
        one.at = max(0, offset + (0, one.at, len(one.data))[whence])
        return one.at

    def truncate(self, size: "int | None" = None) -> int:
        size = self._one.at if size is None else size
        resize(self._one.data, size)
        return size

    def close(self) -> None:
        if not self.closed and self._number is not None:
            self._tree.descriptors.pop(self._number, None)
        super().close()


def _wrapped(raw: _Handle, mode: str, encoding: "str | None", errors: "str | None", newline: "str | None") -> "Any":
    layer = io.BufferedRandom if "+" in mode else io.BufferedReader if "r" in mode else io.BufferedWriter
    buffered = layer(raw)  # type: ignore[arg-type]
    if "b" in mode:
        return buffered
    text = io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)
    text.mode = mode  # type: ignore[misc]
    return text


class _Entry:
    """What `os.scandir` gives."""

    def __init__(self, tree: Tree, path: str) -> None:
        self._tree = tree
        self.path = path
        self.name = os.path.basename(path)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self._tree.nodes.get(self.path, b"") is None

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return self._tree.nodes.get(self.path) is not None

    def is_symlink(self) -> bool:
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return self._tree.stat(self.path)

    def inode(self) -> int:
        return self.stat().st_ino

    def __fspath__(self) -> str:
        return self.path


class _Entries:
    def __init__(self, entries: "Iterator[_Entry]") -> None:
        self._entries = entries

    def __iter__(self) -> "_Entries":
        return self

    def __next__(self) -> _Entry:
        return next(self._entries)

    def __enter__(self) -> "_Entries":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())
