"""Confines the calling process where there is no namespace to do it: own uid, Landlock, seccomp, by plain system calls.

See `linux/landlock.h`. Trusted code runs this before it lets anything untrusted in; nothing here can be undone.
"""

import ctypes
import os
import signal
from _struct import pack

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # the same on every architecture
RULE_PATH_BENEATH = 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
# rights known to each version of the interface: on files (13 at first, then refer, truncate, ioctl), on TCP, and scopes
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 1, 22, 38, 2

_libc = ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """The kernel's version of the Landlock interface; 0 if it has none or has it switched off."""
    return max(0, int(_libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))))


def confine(spec: str) -> None:
    """Do it, or raise OSError.

    `spec`: `UID:PARENT:DIRECTORY[:DIRECTORY...]`: the uid to take (`-` to keep the present one), the pid with whose
    end to die, and what may be read; the seccomp filter is in the last directory.
    """
    uid, parent, *directories = spec.split(":")
    with open(f"{directories[-1]}/filter.bpf", "rb") as file:
        program = file.read()
    if uid != "-":
        os.setgroups([])
        os.setresgid(int(uid), int(uid), int(uid))
        os.setresuid(int(uid), int(uid), int(uid))
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != int(parent):
        os._exit(1)
    _check(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl(PR_SET_NO_NEW_PRIVS)")
    _landlock(directories)
    _seccomp(program)


def _landlock(directories: list[str]) -> None:
    version = landlock_version()
    if version == 0:
        raise OSError("the kernel has no Landlock")
    attributes = pack("=Q", (1 << FILE_RIGHTS.get(version, 16)) - 1)
    if version >= 4:
        attributes += pack("=Q", 3)  # bind and connect
    if version >= 6:
        attributes += pack("=Q", 3)  # abstract sockets and signals
    ruleset = _check(
        _libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0), "landlock_create_ruleset"
    )
    rules = [(directory, EXECUTE | READ_FILE | READ_DIR) for directory in directories]
    for path, rights in [*rules, ("/dev/null", READ_FILE | WRITE_FILE)]:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = pack("=Qi", rights, fd)
        _check(_libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, rule, 0), f"landlock_add_rule({path})")
        os.close(fd)
    _check(_libc.syscall(RESTRICT_SELF, ruleset, 0), "landlock_restrict_self")
    os.close(ruleset)


def _seccomp(program: bytes) -> None:
    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    filled = Program(len(program) // 8, program)
    _check(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(filled), 0, 0), "prctl(PR_SET_SECCOMP)")


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
