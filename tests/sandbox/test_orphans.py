"""What a killed server may leave behind is cleared away, and nothing else."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from smc_decode.sandbox import Sandbox
from smc_decode.sandbox.orphans import clear_orphans

BWRAP = shutil.which("bwrap")


@pytest.fixture
def half_made_box(sandbox: Sandbox) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A wrapper that never tells its box to go on, since nobody reads what it reports, and the box's process."""
    if BWRAP is None or sandbox.tier != "bubblewrap":
        pytest.skip("needs bubblewrap")
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    os.write(write_end, b" " * 4096)
    os.set_blocking(write_end, True)
    command = [BWRAP, "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "--info-fd", str(write_end)]
    wrapper = subprocess.Popen([*command, "--", "/bin/true", "inbox.boot"], pass_fds=[write_end])
    os.close(write_end)
    try:
        yield wrapper, inner_of(wrapper.pid)
    finally:
        wrapper.kill()
        wrapper.wait()
        os.close(read_end)
        clear_orphans()


def inner_of(wrapper: int) -> int:
    """The child of a wrapper, once there is one."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for entry in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, rest = entry.read_text().split(" ", 1)
            except OSError:
                continue
            if rest.rpartition(")")[2].split()[1] == str(wrapper):
                return int(pid)
        time.sleep(0.01)
    raise AssertionError("the wrapper made no box")


def test_a_box_without_its_wrapper_is_cleared_away(half_made_box: tuple[subprocess.Popen[bytes], int]) -> None:
    wrapper, inner = half_made_box
    assert inner not in clear_orphans()  # it has a wrapper
    assert wrapper.poll() is None
    wrapper.kill()
    wrapper.wait()
    assert inner in clear_orphans()


def test_boxes_at_work_are_left_alone(sandbox: Sandbox) -> None:
    program = "def f(x):\n    import time\n    time.sleep(0.1)\n    return x\n"
    stop = threading.Event()

    def sweep() -> None:
        while not stop.is_set():
            clear_orphans()

    sweeping = threading.Thread(target=sweep)
    sweeping.start()
    try:
        for _ in range(5):
            assert sandbox.run_tests("", program, "def check(c):\n    assert c(1) == 1\n", "f", 10.0).status == "pass"
    finally:
        stop.set()
        sweeping.join()
