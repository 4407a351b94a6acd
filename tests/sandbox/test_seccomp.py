"""The system call filter, run by a small model of the kernel's interpreter."""

from __future__ import annotations

import errno
from struct import pack, unpack, unpack_from

import pytest

from smc_decode.sandbox.seccomp import ALLOWED, AUDIT_ARCH, EXECVE, RESTRICTED, SENDTO, build_filter, refuse

ALLOW, KILL = 0x7FFF0000, 0x80000000
ARCHES = ("x86_64", "aarch64")
OTHER = {"x86_64": 0x40000003, "aarch64": 0x40000028}  # i386, arm
FORBIDDEN = {  # name: (x86_64, aarch64)
    "fork": (57, None), "vfork": (58, None), "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131),
    "socket": (41, 198), "connect": (42, 203), "sendmsg": (46, 211), "ptrace": (101, 117), "mount": (165, 40),
    "unshare": (272, 97), "setns": (308, 268), "setuid": (105, 146), "chmod": (90, None), "fchmodat": (268, 53),
    "unlinkat": (263, 35), "linkat": (265, 37), "symlinkat": (266, 36), "renameat2": (316, 276), "mknodat": (259, 33),
    "process_vm_readv": (310, 270), "bpf": (321, 280), "io_uring_setup": (425, 425), "memfd_create": (319, 279),
    "shmget": (29, 194), "keyctl": (250, 219), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "pidfd_open": (434, 434), "pidfd_send_signal": (424, 424), "setpriority": (141, 140), "seccomp": (317, 277),
}  # fmt: skip


def run(program: bytes, number: int, arch: int, args: tuple[int, ...] = ()) -> int:
    """The filter's answer for one system call."""
    data = pack("=iIQ6Q", number, arch, 0, *(args + (0,) * 6)[:6])
    accumulator, at = 0, 0
    while True:
        code, jump_true, jump_false, k = unpack("=HBBI", program[8 * at : 8 * at + 8])
        at += 1
        if code == 0x20:
            (accumulator,) = unpack_from("=I", data, k)
        elif code == 0x06:
            return int(k)
        else:
            holds = accumulator == k if code == 0x15 else bool(accumulator & k)
            at += jump_true if holds else jump_false


@pytest.mark.parametrize("arch", ARCHES)
def test_named_calls_pass_and_all_others_are_refused(arch: str) -> None:
    program, column = build_filter(allow_exec=True, arch=arch), ARCHES.index(arch)
    assert len(program) % 8 == 0
    assert len(program) // 8 < 4096
    allowed = {pair[column] for pair in ALLOWED.values()} | {EXECVE[column]}
    special = {pair[column] for pair, _, _ in RESTRICTED.values()} | {SENDTO[column], (56, 220)[column], 435}
    for number in range(500):
        if number not in special:
            expected = ALLOW if number in allowed else refuse(errno.EPERM)
            assert run(program, number, AUDIT_ARCH[arch]) == expected, number


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("name", FORBIDDEN)
def test_dangerous_calls_are_refused(arch: str, name: str) -> None:
    number = FORBIDDEN[name][ARCHES.index(arch)]
    if number is not None:
        assert run(build_filter(allow_exec=True, arch=arch), number, AUDIT_ARCH[arch]) == refuse(errno.EPERM)


@pytest.mark.parametrize("arch", ARCHES)
def test_calls_of_another_architecture_end_the_process(arch: str) -> None:
    assert run(build_filter(allow_exec=True, arch=arch), 0, OTHER[arch]) == KILL


def test_calls_of_the_x32_interface_are_refused() -> None:
    for number in (0, 1, 59, 512, 520):
        program = build_filter(allow_exec=True, arch="x86_64")
        assert run(program, number | 0x40000000, AUDIT_ARCH["x86_64"]) == refuse(errno.EPERM)


@pytest.mark.parametrize("arch", ARCHES)
def test_arguments_decide_where_a_call_is_partly_safe(arch: str) -> None:
    program, column, audit = build_filter(allow_exec=False, arch=arch), ARCHES.index(arch), AUDIT_ARCH[arch]

    def answer(pair: tuple[int, int], *args: int) -> int:
        return run(program, pair[column], audit, args)

    refused = refuse(errno.EPERM)
    clone, fcntl, ioctl, sendto, socketpair = (56, 220), (72, 25), (16, 29), SENDTO, (53, 199)
    assert answer(clone, 0x003D0F00) == ALLOW  # a thread
    assert answer(clone, 17) == refused  # a process
    assert answer((435, 435)) == refuse(errno.ENOSYS)  # clone3, whose flags cannot be read
    assert answer(EXECVE) == refused
    assert answer(fcntl, 3, 1) == ALLOW  # F_GETFD
    assert answer(fcntl, 3, 8) == refused  # F_SETOWN
    assert answer(ioctl, 0, 0x5401) == ALLOW  # TCGETS
    assert answer(ioctl, 0, 0x5412) == refused  # TIOCSTI
    assert answer(sendto, 3, 1, 1, 0, 0, 0) == ALLOW
    assert answer(sendto, 3, 1, 1, 0, 1 << 40, 16) == refused
    assert answer(sendto, 3, 1, 1, 0, 1, 16) == refused
    assert answer(socketpair, 1, 1 | 0x80000) == ALLOW  # a stream
    assert answer(socketpair, 1, 2) == refused  # datagrams
    assert answer((302, 261), 0, 7) == ALLOW  # prlimit of itself
    assert answer((302, 261), 1, 7) == refused


def test_a_machine_without_a_filter_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(NotImplementedError, match="riscv64"):
        build_filter(allow_exec=True)
