"""System calls that Landlock lets pass and no decoder needs: sockets, and changes of a file's mode.

A filter of classic BPF (linux/seccomp.h) answers them with EACCES. The numbers are those of the
kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h).
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
from collections.abc import Iterable

PR_SET_SECCOMP, MODE_FILTER = 22, 2  # linux/prctl.h, linux/seccomp.h
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD, EQUAL, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of a word, with a constant
NUMBER_AT, ARCH_AT = 0, 4  # in struct seccomp_data
X32 = 0x40000000  # a second table of the same calls

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
DENIED = {
    # socket, ptrace, io_uring_setup; chmod, chown, utime, setxattr, removexattr and their kin
    "x86_64": (
        *(41, 101, 425),
        *(90, 91, 268, 452, 92, 93, 94, 260, 132, 235, 261, 280, 188, 189, 190, 197, 198, 199),
    ),
    "aarch64": (*(198, 117, 425), *(52, 53, 452, 54, 55, 88, 5, 6, 7, 14, 15, 16)),
}


def deny_calls(libc: ctypes.CDLL) -> None:
    """Filter this process; PR_SET_NO_NEW_PRIVS must be set. Other machines are left as they are."""
    machine = platform.machine()
    if machine not in DENIED:
        return
    program = filter_program(AUDIT_ARCH[machine], DENIED[machine])
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HL", len(program) // 8, ctypes.addressof(code))  # struct sock_fprog
    libc.prctl(PR_SET_SECCOMP, MODE_FILTER, head, 0, 0)


def filter_program(arch: int, denied: Iterable[int]) -> bytes:
    """Instructions of 8 bytes: allow all but these calls; of a foreign table, none."""
    tests = [(AT_LEAST, X32), *((EQUAL, number) for number in denied)]
    steps = [(LOAD, 0, 0, ARCH_AT), (EQUAL, 1, 0, arch), (RETURN, 0, 0, ERRNO | errno.EACCES)]
    steps += [(LOAD, 0, 0, NUMBER_AT)]
    steps += [(code, len(tests) - at, 0, value) for at, (code, value) in enumerate(tests)]
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO | errno.EACCES)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
