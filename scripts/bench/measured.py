"""A command run once: seconds, processor seconds, peak memory of its main process and its workers.

Memory is the kernel's own high-water mark of each process (Linux), read while the command runs.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

EVERY_S = 0.1


@dataclass(frozen=True)
class Measured:
    """What one run took; memory in MiB, `worker_mib` of the largest, `sum_mib` of all peaks."""

    seconds: float
    cpu_s: float
    main_mib: float
    worker_mib: float
    sum_mib: float
    code: int
    output: str


def measure(command: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> Measured:
    """Run a command to its end; what other programs do on the machine goes into the seconds."""
    os.sync()  # the pages that the run before left are not this one's to write
    with tempfile.TemporaryFile() as log:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=cwd
        )
        peaks: dict[int, float] = {}
        ended = threading.Event()
        watcher = threading.Thread(target=watch, args=(process.pid, peaks, ended))
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)  # with all descendants it waited for
        seconds = time.perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        watcher.join()
        log.seek(0)
        output = log.read().decode(errors="replace")
    main = peaks.pop(process.pid, 0.0)
    return Measured(
        seconds=seconds,
        cpu_s=usage.ru_utime + usage.ru_stime,
        main_mib=main,
        worker_mib=max(peaks.values(), default=0.0),
        sum_mib=main + sum(peaks.values()),
        code=process.returncode,
        output=output,
    )


def watch(pid: int, peaks: dict[int, float], ended: threading.Event) -> None:
    """Note the peak of a process and its descendants, MiB, until the event.

    The last value counts: a process that has just forked bears its parent's mark until it starts
    its own program.
    """
    while not ended.wait(EVERY_S):
        for one in family(pid):
            if peak := peak_mib(one):
                peaks[one] = peak


def family(pid: int) -> list[int]:
    """A process and its descendants; empty where there is no /proc."""
    members = [pid]
    for member in members:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                members += map(int, children.read_text().split())
            except OSError:  # it has ended
                continue
    return members


def peak_mib(pid: int) -> float:
    """Most memory that a process has held, 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
