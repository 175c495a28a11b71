"""What runs on this machine, as /proc tells it."""

import os
from pathlib import Path


def family(pid):
    """A process and its descendants."""
    members = [pid]
    for member in members:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                members += map(int, children.read_text().split())
            except OSError:  # it has ended
                continue
    return members


def named(pid, *names):
    """Descendants of a process whose command line begins with one of the names."""
    found = []
    for member in family(pid):
        try:
            first = Path(f"/proc/{member}/cmdline").read_bytes().split(b"\0")[0].decode()
        except OSError:
            continue
        found += [member] * os.path.basename(first).startswith(names)
    return found


def listens_at(pid):
    """Addresses, hexadecimal, at which a process takes TCP connections."""
    sockets = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(os.readlink(fd))
        except OSError:
            continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].split(":")[0])
    return found


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
