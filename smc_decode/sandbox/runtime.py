"""The read-only file tree that a box sees: an interpreter, its standard library, the shared libraries of both, no more.

It is a copy, made once and kept in the user's cache, because the interpreter may live where a box's uid cannot go
(a home directory) and beside things that a box should not see (site-packages, the project).
"""

from __future__ import annotations

import compileall
import hashlib
import os
import platform
import py_compile
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from smc_decode.sandbox import seccomp
from smc_decode.sandbox.results import SandboxUnavailable

INBOX = Path(__file__).parent / "inbox"
# tests, tools for people, and what needs a display or the network's package index
LEFT_OUT = (
    "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo", "turtle.py", "ensurepip",
    "lib2to3", "pydoc_data", "config-*", "__pycache__", "_tkinter*", "_test*", "_xxtestfuzz*", "*.a",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Runtime:
    """`root`: the tree; `inbox`: our own modules for the box, and the Landlock tier's filter. Both readable by all."""

    root: Path
    inbox: Path

    @property
    def python(self) -> Path:
        """The interpreter, seen from outside the box."""
        return self.root / "usr" / "bin" / "python3"


def prepare_runtime(cache: Path | None = None) -> Runtime:
    """The runtime for this interpreter, made now if the cache has none. Raises `SandboxUnavailable`."""
    problems: list[str] = []
    for place in default_caches() if cache is None else [cache]:
        try:
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
            owner = place.lstat()
            if owner.st_uid != os.geteuid() or owner.st_mode & 0o022 or not stat.S_ISDIR(owner.st_mode):
                raise PermissionError(f"{place} must be a directory of the server's user that nobody else can write to")
            return Runtime(
                root=_once(place / f"python-{_digest(_python_facts())}", _build_root),
                inbox=_once(place / f"inbox-{_digest(_inbox_facts())}", _build_inbox),
            )
        except (OSError, subprocess.SubprocessError) as error:
            problems.append(f"{place}: {error}")
    raise SandboxUnavailable("there is no place for the sandbox's runtime: " + "; ".join(problems))


def default_caches() -> list[Path]:
    """Where to keep the runtime, best first. Root's boxes run as other users, who must be able to reach it."""
    uid = os.geteuid()
    base = os.environ.get("XDG_CACHE_HOME")
    best = (
        Path("/var/cache/smc-decode") if uid == 0 else Path(base or Path.home() / ".cache") / "smc-decode" / "sandbox"
    )
    return [best, Path(tempfile.gettempdir()) / f"smc-decode-{uid}"]


def _digest(facts: list[str]) -> str:
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()[:16]


def _python_facts() -> list[str]:
    executable = Path(_executable())
    recipe = Path(__file__).read_text()
    changed = str(executable.stat().st_mtime_ns)
    return [sys.version, str(executable), changed, str(_stdlib()), *platform.libc_ver(), recipe]


def _inbox_facts() -> list[str]:
    sources = [path.read_text() for path in sorted(INBOX.glob("*.py"))]
    return [sys.version, seccomp.build_filter(allow_exec=False).hex(), *sources]


def _executable() -> str:
    """The interpreter itself, also when this process runs in a virtual environment."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _stdlib() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _once(target: Path, build: object) -> Path:
    """Build `target` beside itself and move it into place, so that it is there whole or not at all."""
    if target.is_dir():
        return target
    scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        build(scratch)  # type: ignore[operator]
        for path in [scratch, *scratch.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            scratch.rename(target)
        except OSError:
            if not target.is_dir():  # not just another process that was faster
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _build_root(root: Path) -> None:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    usr = root / "usr"  # an interpreter does not look for its library in the root itself
    for directory in ("usr/bin", "usr/lib", "dev", "box"):
        (root / directory).mkdir(parents=True)
    for link, target in (("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib"), ("usr/lib64", "lib")):
        (root / link).symlink_to(target)
    (root / "dev" / "null").touch()
    shutil.copy2(_executable(), usr / "bin" / name)
    (usr / "bin" / "python3").symlink_to(name)
    stdlib = usr / "lib" / name
    shutil.copytree(_stdlib(), stdlib, ignore=shutil.ignore_patterns(*LEFT_OUT))
    extensions = Path(sysconfig.get_config_var("DESTSHARED") or _stdlib() / "lib-dynload")
    if extensions.is_dir():
        ignore = shutil.ignore_patterns(*LEFT_OUT)
        shutil.copytree(extensions, stdlib / "lib-dynload", ignore=ignore, dirs_exist_ok=True)
    compileall.compile_dir(
        stdlib, quiet=2, stripdir=str(root), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    for library, source in _libraries([Path(_executable()), *extensions.glob("*.so")]).items():
        shutil.copy2(source, usr / "lib" / library)


def _libraries(files: list[Path]) -> dict[str, str]:
    """The shared libraries that these files need: name to path."""
    listing = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=False, timeout=60).stdout
    found: dict[str, str] = {}
    for line in listing.splitlines():
        match = re.match(r"\s+(?:(\S+) => )?(/\S+) \(0x", line)
        if match:
            found.setdefault(os.path.basename(match[1] or match[2]), match[2])
    return found


def _build_inbox(inbox: Path) -> None:
    package = inbox / "inbox"
    package.mkdir()
    for source in INBOX.glob("*.py"):
        shutil.copy2(source, package)
    compileall.compile_dir(
        package, quiet=2, stripdir=str(inbox), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    (inbox / "filter.bpf").write_bytes(seccomp.build_filter(allow_exec=False))
