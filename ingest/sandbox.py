"""Landlock and seccomp: from here on a process has the files it holds open, nothing else by name.

Of the kernel's offer (linux/landlock.h) all is taken, by ABI: every access to files, so neither
reading, writing nor exec (1, Linux 5.13; 2, 3 and 5 add to it); TCP (4, Linux 6.7); signals and
abstract sockets (6, Linux 6.12). Other sockets are left to `seccomp`. What was reached is tried
out, not believed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Callable

from ingest.seccomp import deny_calls

CREATE_RULESET, RESTRICT_SELF = 444, 446  # system calls, the same on every architecture
VERSION = 1  # flag: answer with the ABI
PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h

FILES_BY_ABI = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
TCP_BY_ABI = {4: 0b11}
SCOPES_BY_ABI = {6: 0b11}

ALL = ("files", "network", "signals")


def lock_down(parent: int) -> list[str]:
    """Give up all that can be given up; which of `ALL` turned out to be out of reach."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            _restrict(libc)
            deny_calls(libc)
    proofs: dict[str, Callable[[], object]] = {
        "files": lambda: os.close(os.open(__file__, os.O_RDONLY)),
        "network": _open_socket,
        "signals": lambda: os.kill(parent, 0),
    }
    return [name for name in ALL if _is_denied(proofs[name])]


def level(denied: list[str]) -> str:
    """on, partial or off."""
    if "files" not in denied:
        return "off"
    return "on" if set(denied) == set(ALL) else "partial"


def _restrict(libc: ctypes.CDLL) -> None:
    """Handle every access there is and grant none; a kernel without Landlock changes nothing."""
    abi = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION)
    if abi < 1:
        return
    rights = [_rights(table, abi) for table in (FILES_BY_ABI, TCP_BY_ABI, SCOPES_BY_ABI)]
    attr = struct.pack(f"{1 + (abi >= 4) + (abi >= 6)}Q", *rights[: 1 + (abi >= 4) + (abi >= 6)])
    ruleset = libc.syscall(CREATE_RULESET, attr, ctypes.c_size_t(len(attr)), 0)
    if ruleset >= 0:
        libc.syscall(RESTRICT_SELF, ruleset, 0)
        os.close(ruleset)


def _rights(table: dict[int, int], abi: int) -> int:
    """All bits that a kernel of this ABI knows."""
    return sum(bits for since, bits in table.items() if since <= abi)


def _open_socket() -> None:
    """Of UDP; nothing is sent."""
    socket.socket(type=socket.SOCK_DGRAM).close()


def _is_denied(attempt: Callable[[], object]) -> bool:
    """Whether the kernel forbids it, which is not the same as that it fails."""
    try:
        attempt()
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EPERM)
    return False


def described(denied: list[str]) -> str:
    """One line for the log: how far the sandbox goes."""
    missing = [name for name in ALL if name not in denied]
    if level(denied) == "on":
        return f"Decoders are sandboxed: out of their reach are {', '.join(denied)}."
    if level(denied) == "partial":
        return (
            f"Decoders are sandboxed in part: out of their reach are {', '.join(denied)}, "
            f"but this kernel leaves them {', '.join(missing)}."
        )
    return (
        "Decoders are not sandboxed: that takes Landlock, in Linux 5.13 and later. Their memory "
        "and time are limited, but they can open what you can open."
    )
