"""What runs on this machine, as /proc tells it."""

import os
import time
from pathlib import Path

from scripts.bench.measured import family


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


def that_work(pid):
    """Ray's processes below a process; its two agents, asleep, look for it for a minute more."""
    return named(pid, "raylet", "gcs_server", "ray::fill", "ray::IDLE")


def is_running(pid):
    """Whether there is such a process, and it has not ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rsplit(")", 1)[1].split()[0] != "Z"


def until_ended(pids, limit_s=30):
    """Wait until processes have ended."""
    deadline_s = time.monotonic() + limit_s
    while left := [pid for pid in pids if is_running(pid)]:
        assert time.monotonic() < deadline_s, f"{left} outlived the process that had started them"
        time.sleep(0.1)


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
