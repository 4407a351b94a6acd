"""Hostile programs get no pass, and nothing of them is seen from outside."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import secrets
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from smc_decode.sandbox import Sandbox
from smc_decode.sandbox.runtime import prepare_runtime
from tests.sandbox.hostile import FOOLING, HARMS, Fooling, Harm

TIMEOUT = 0.3
PLACES = ("/", "/tmp", "/var/tmp", "/dev/shm", "/dev", "/usr/lib", ".")
HARM_TEST = """
def check(candidate):
    got = candidate(7)
    assert got == '@TOKEN@'
    assert got == 'refused'
"""
ENVIRONMENT_NAME = "SMC_DECODE_TEST_SECRET"


class World:
    """What a hostile program might touch, and whether it did."""

    def __init__(self, directory: Path, sandbox: Sandbox) -> None:
        self.mark = f"smc-hostile-{secrets.token_hex(8)}"
        self.secret = secrets.token_hex(16)
        self.canary = directory / f"canary-{self.mark[-8:]}"
        self.canary.write_text(self.secret)
        self.canary.chmod(0o644)
        self.runtime = prepare_runtime()
        self.signals: list[int] = []
        self._canary_before = self._stat(self.canary)
        self._runtime_before = self._tree()
        self._listeners = [socket.socket(), socket.socket(type=socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX)]
        self._listeners.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self._listeners.append(socket.socket(socket.AF_UNIX))
        self._listeners[0].bind(("127.0.0.1", 0))
        self.port = self._listeners[0].getsockname()[1]
        self._listeners[1].bind(("127.0.0.1", self.port))
        self._listeners[2].bind(str(directory / "stream"))
        self.socket = directory / "datagram"
        self._listeners[3].bind(str(self.socket))
        self.socket.chmod(0o777)
        self._listeners[4].bind("\0" + self.mark)
        for listener in self._listeners:
            listener.setblocking(False)
            if listener.type == socket.SOCK_STREAM:
                listener.listen()
        self.victim = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        self._descriptors = descriptors()
        self._sandbox = sandbox
        self._processes = left_behind(sandbox)

    def fill(self, text: str) -> str:
        """`text` with the names of things in this world."""
        values = {
            "MARK": self.mark, "PORT": self.port, "SOCKET": self.socket, "SECRET": os.environ[ENVIRONMENT_NAME],
            "PID": os.getpid(), "VICTIM": self.victim.pid, "CANARY": self.canary, "CANARY_NAME": self.canary.name,
            "PROJECT": Path(__file__).parents[2], "TOKEN": self.secret,
        }  # fmt: skip
        return re.sub("@([A-Z_]+)@", lambda match: str(values[match[1]]), text)

    def assert_unharmed(self) -> None:
        """Nothing was written, sent, signalled, changed or left behind."""
        assert self.signals == []
        assert self.victim.poll() is None
        assert process_status(self.victim.pid)["State"][0] == "S"
        assert process_status(self.victim.pid)["TracerPid"] == "0"
        assert process_status(os.getpid())["TracerPid"] == "0"
        assert os.getpriority(os.PRIO_PROCESS, self.victim.pid) == os.getpriority(os.PRIO_PROCESS, 0)
        assert self.canary.read_text() == self.secret
        assert self._stat(self.canary) == self._canary_before
        assert self._tree() == self._runtime_before
        for place in PLACES:
            assert not [name for name in os.listdir(place) if self.mark in name]
        for listener in self._listeners:
            with pytest.raises(BlockingIOError):
                listener.accept() if listener.type == socket.SOCK_STREAM else listener.recv(1)
        assert descriptors() == self._descriptors
        assert {pid: name for pid, name in left_behind(self._sandbox).items() if pid not in self._processes} == {}

    def close(self) -> None:
        self.victim.kill()
        self.victim.wait()
        for listener in self._listeners:
            listener.close()

    @staticmethod
    def _stat(path: Path) -> tuple[int, ...]:
        stat = path.stat()
        return stat.st_mode, stat.st_nlink, stat.st_uid, stat.st_size, stat.st_mtime_ns

    def _tree(self) -> dict[str, tuple[int, ...]]:
        """Top of the runtime, where the hostile programs aim."""
        usr = self.runtime.root / "usr"
        tops = [self.runtime.root, self.runtime.inbox, self.runtime.inbox / "inbox"]
        tops += [usr / "bin", usr / "lib", *(usr / "lib").glob("python3*")]
        return {str(path): self._stat(path) for top in tops for path in [top, *top.iterdir()]}


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def process_status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def left_behind(sandbox: Sandbox) -> dict[str, str]:
    """Children of this process (zombies too), and processes of boxes that have outlived their wrapper."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            status = process_status(int(entry))
            child = int(status["PPid"]) == os.getpid()
            boxed = int(status["Uid"].split()[0]) in sandbox.uids
            orphan = status["PPid"] == "1" and b"inbox.boot" in Path(f"/proc/{entry}/cmdline").read_bytes()
            if child or boxed or orphan:
                found[entry] = f"{status['Name']} {status['State']}"
    return found


@pytest.fixture(scope="module")
def public_directory() -> Iterator[Path]:
    """A directory that every uid can reach, unlike pytest's own."""
    with tempfile.TemporaryDirectory(prefix="smc-decode-test-") as directory:
        os.chmod(directory, 0o755)
        yield Path(directory)


@pytest.fixture
def world(public_directory: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[World]:
    monkeypatch.setenv(ENVIRONMENT_NAME, secrets.token_hex(16))
    name = "tier_sandbox" if "tier_sandbox" in request.fixturenames else "sandbox"
    with tempfile.TemporaryDirectory(dir=public_directory) as directory:
        os.chmod(directory, 0o755)
        world = World(Path(directory), request.getfixturevalue(name))
        caught = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGIO)
        before = {number: signal.signal(number, lambda got, _: world.signals.append(got)) for number in caught}
        try:
            yield world
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            world.close()


@pytest.mark.parametrize("harm", HARMS, ids=lambda harm: harm.name)
def test_no_harm_is_done(tier_sandbox: Sandbox, world: World, harm: Harm) -> None:
    if harm.name == "system_calls_of_another_architecture" and platform.machine() != "x86_64":
        pytest.skip("the machine code is for x86_64")
    report = tier_sandbox.run_assertions(world.fill(harm.source), world.fill(HARM_TEST), "f", TIMEOUT)
    assert not report.all_passed
    kinds = [outcome.kind for outcome in report.outcomes]
    assert kinds[0] in ("failed", "timeout", "crashed", "raised")
    if kinds[0] == "failed" and not harm.may_end:  # it came to an end
        assert kinds == ["failed", "passed"]
    world.assert_unharmed()


@pytest.mark.parametrize("fooling", FOOLING, ids=lambda fooling: fooling.name)
def test_no_test_is_fooled(tier_sandbox: Sandbox, world: World, fooling: Fooling) -> None:
    verdict = tier_sandbox.run_tests(fooling.prompt, world.fill(fooling.source), world.fill(fooling.test), "f", TIMEOUT)
    assert verdict.status == "fail", verdict
    world.assert_unharmed()


@pytest.mark.parametrize("fooling", FOOLING, ids=lambda fooling: fooling.name)
def test_no_count_of_assertions_is_fooled(sandbox: Sandbox, world: World, fooling: Fooling) -> None:
    report = sandbox.run_assertions(
        fooling.prompt + world.fill(fooling.source), world.fill(fooling.test), "f", TIMEOUT,
        prompt=fooling.prompt, call_timeout=TIMEOUT / 2,
    )  # fmt: skip
    assert not report.all_passed
    assert report.passed < report.total


def test_the_hostile_suite_is_large_enough() -> None:
    assert len(HARMS) + len(FOOLING) >= 30
