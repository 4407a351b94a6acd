"""The system calls that a box may make, as a BPF program for the kernel's seccomp filter.

An allow-list: what is not named fails with EPERM. Processes cannot be made (threads can), signals cannot be sent,
sockets cannot be opened, and nothing can be created, renamed, linked or have its metadata changed. Numbers are
those of `asm/unistd_64.h` (x86_64) and `asm-generic/unistd.h` (aarch64); the filter's layout is that of
`linux/filter.h`.
"""

from __future__ import annotations

import errno
import platform
from struct import pack

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# name: (x86_64, aarch64)
ALLOWED: dict[str, tuple[int | None, int | None]] = {
    # files that the mounts or Landlock let it see
    "read": (0, 63), "write": (1, 64), "pread64": (17, 67), "readv": (19, 65), "writev": (20, 66),
    "close": (3, 57), "close_range": (436, 436), "fstat": (5, 80), "newfstatat": (262, 79), "statx": (332, 291),
    "stat": (4, None), "lstat": (6, None), "lseek": (8, 62), "access": (21, None), "faccessat": (269, 48),
    "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78), "getcwd": (79, 17),
    "chdir": (80, 49), "getdents64": (217, 61), "open": (2, None), "openat": (257, 56), "dup": (32, 23),
    "dup2": (33, None), "dup3": (292, 24), "fadvise64": (221, 223), "statfs": (137, 43), "fstatfs": (138, 44),
    "umask": (95, 166),
    # pipes, polling, and the socket pairs of asyncio's event loop
    "pipe": (22, None), "pipe2": (293, 59), "poll": (7, None), "ppoll": (271, 73), "select": (23, None),
    "pselect6": (270, 72), "epoll_create1": (291, 20), "epoll_ctl": (233, 21), "epoll_wait": (232, None),
    "epoll_pwait": (281, 22), "recvfrom": (45, 207),
    "getsockopt": (55, 209), "getsockname": (51, 204), "shutdown": (48, 210),
    # memory and threads
    "brk": (12, 214), "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226),
    "madvise": (28, 233), "futex": (202, 98), "rseq": (334, 293), "set_robust_list": (273, 99),
    "set_tid_address": (218, 96), "arch_prctl": (158, None), "membarrier": (324, 283), "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123), "getcpu": (309, 168), "exit": (60, 93), "exit_group": (231, 94),
    # its own signals and time
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "rt_sigpending": (127, 136),
    "rt_sigtimedwait": (128, 137), "rt_sigsuspend": (130, 133), "sigaltstack": (131, 132), "pause": (34, None),
    "restart_syscall": (219, 128), "nanosleep": (35, 101), "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, None),
    "times": (100, 153), "getitimer": (36, 102), "setitimer": (38, 103), "alarm": (37, None),
    # questions about itself
    "uname": (63, 160), "sysinfo": (99, 179), "getrandom": (318, 278), "getpid": (39, 172), "gettid": (186, 178),
    "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177), "getresuid": (118, 148), "getresgid": (120, 150), "getgroups": (115, 158),
    "getpgrp": (111, None), "getpgid": (121, 155), "getsid": (124, 156), "capget": (125, 90),
    "getrlimit": (97, 163), "setrlimit": (160, 164), "getrusage": (98, 165), "getpriority": (140, 141),
    "wait4": (61, 260), "waitid": (247, 95),
}  # fmt: skip

# needed once, to start the interpreter; the file system holds nothing else to execute
EXECVE = (59, 221)
# glibc falls back to clone, whose flags a filter can read
CLONE3 = (435, 435)

# name: (numbers, which argument, values it may have)
RESTRICTED: dict[str, tuple[tuple[int, int], int, tuple[int, ...]]] = {
    # duplicate, flags, locks, size of a pipe; not the ones that make the kernel send signals to another process
    "fcntl": ((72, 25), 1, (0, 1, 2, 3, 4, 5, 6, 7, 1030, 1032)),
    # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
    "ioctl": ((16, 29), 1, (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)),
    "prctl": ((157, 167), 0, (15, 16)),  # PR_SET_NAME, PR_GET_NAME
    "prlimit64": ((302, 261), 0, (0,)),  # of itself
    # streams (with or without SOCK_NONBLOCK, SOCK_CLOEXEC): a pair of datagram sockets could write to others
    "socketpair": ((53, 199), 1, (1, 0x801, 0x80001, 0x80801)),
}
# allowed without an address only
SENDTO = (44, 206)
CLONE = (56, 220)
CLONE_THREAD = 0x00010000

_LOAD, _JEQ, _JSET, _RET = 0x20, 0x15, 0x45, 0x06
_ALLOW, _KILL_PROCESS = 0x7FFF0000, 0x80000000
_NR_AT, _ARCH_AT, _ARGS_AT = 0, 4, 16


def refuse(number: int) -> int:
    """The filter's return value for failing a call with this errno."""
    return 0x00050000 | number


def machine() -> str:
    """This machine's architecture. Raises NotImplementedError if there is no filter for it."""
    name = platform.machine()
    if name not in AUDIT_ARCH:
        raise NotImplementedError(f"there is no seccomp filter for {name}; x86_64 and aarch64 have one")
    return name


def build_filter(allow_exec: bool, arch: str | None = None) -> bytes:
    """The filter as an array of `struct sock_filter`, eight bytes each."""
    arch = arch or machine()
    column = ("x86_64", "aarch64").index(arch)
    program = [
        _op(_LOAD, _ARCH_AT),
        _op(_JEQ, AUDIT_ARCH[arch], 1, 0),
        _op(_RET, _KILL_PROCESS),
        _op(_LOAD, _NR_AT),
    ]
    numbers = [pair[column] for pair in ALLOWED.values()] + ([EXECVE[column]] if allow_exec else [])
    for number in sorted(number for number in numbers if number is not None):
        program += [_op(_JEQ, number, 0, 1), _op(_RET, _ALLOW)]
    program += [_op(_JEQ, CLONE3[column], 0, 1), _op(_RET, refuse(errno.ENOSYS))]
    program += [
        _op(_JEQ, CLONE[column], 0, 4),
        _op(_LOAD, _ARGS_AT),
        _op(_JSET, CLONE_THREAD, 0, 1),
        _op(_RET, _ALLOW),
        _op(_RET, refuse(errno.EPERM)),
    ]
    address = _ARGS_AT + 8 * 4
    program += [
        _op(_JEQ, SENDTO[column], 0, 6),
        _op(_LOAD, address),
        _op(_JEQ, 0, 0, 3),
        _op(_LOAD, address + 4),
        _op(_JEQ, 0, 0, 1),
        _op(_RET, _ALLOW),
        _op(_RET, refuse(errno.EPERM)),
    ]
    for pair, argument, values in RESTRICTED.values():
        tests = [_op(_LOAD, _ARGS_AT + 8 * argument)]
        for value in values:
            tests += [_op(_JEQ, value, 0, 1), _op(_RET, _ALLOW)]
        tests.append(_op(_RET, refuse(errno.EPERM)))
        program += [_op(_JEQ, pair[column], 0, len(tests)), *tests]
    program.append(_op(_RET, refuse(errno.EPERM)))
    return b"".join(program)


def _op(code: int, k: int, jump_true: int = 0, jump_false: int = 0) -> bytes:
    return pack("=HBBI", code, jump_true, jump_false, k)
