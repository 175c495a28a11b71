"""Builds under hard circumstances, by the dozen: the client of `trial_server`."""

import atexit
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from tests.ingest.faults import Fault

ROOT = Path(__file__).resolve().parents[2]
KILLED = -9
ORPHANS_S = 5.0
"""Decoders end at once with their build, but one that is still loading does so when it has."""


@dataclass(frozen=True)
class Ended:
    """How a trial ended."""

    code: int
    stdout: str
    stderr: str
    events: list[str]
    folder: Path
    seconds: float


class Trials:
    """Starts builds in forks of a warm process, or by the real command; tells how they end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = itertools.count()
        self.slowest_settling_s = 0.0
        self._started: dict[int, tuple[Path, float]] = {}
        self._channel, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "tests.ingest.trial_server", str(theirs.fileno())]
            path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
            env = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], cwd=ROOT, env=env, stdin=subprocess.DEVNULL
            )
        self._lines = self._channel.makefile("rb")

    def close(self) -> None:
        """End the server."""
        self._lines.close()
        self._channel.close()
        self._process.wait()

    def fresh(self, name: str) -> Path:
        """A folder that nobody has used."""
        path = self._folder / f"{next(self._number):04d}-{name}"
        path.mkdir()
        return path

    def build(self, audio: Path | str, out: Path | str, *options: str, **how) -> Ended:
        """A whole build and its end."""
        return self.wait(self.start(audio, out, *options, **how))

    def start(
        self,
        audio: Path | str,
        out: Path | str,
        *options: str,
        num_workers: int = 1,
        fault: Fault | None = None,
        environment: dict[str, str] | None = None,
        cwd: Path = ROOT,
        umask: int = 0o022,
        command: bool = False,
        unprivileged: bool = False,
        max_file_bytes: int = 0,
        max_open_files: int = 0,
        tmpfs_kib: int = 0,
        record: Path | None = None,
        reverse_listings: bool = False,
    ) -> int:
        """Process number of a build; `command` runs `python -m ingest` from its first import."""
        folder = self.fresh("trial")
        args = ["build-shards", str(audio), "--out", str(out), "--shard-mib", "0.02"]
        args += ["--num-workers", str(num_workers), *options]
        fault = fault or (Fault() if record else None)
        pid = self._ask(
            do="start",
            args=args,
            folder=str(folder),
            watched=[str(cwd / audio), str(cwd / out)],
            fault=None if fault is None else asdict(fault),
            environment=environment or {},
            cwd=str(cwd),
            umask=umask,
            command=command,
            unprivileged=unprivileged,
            max_file_bytes=max_file_bytes,
            max_open_files=max_open_files,
            tmpfs_kib=tmpfs_kib,
            record=str(record or ""),
            reverse_listings=reverse_listings,
        )
        self._started[pid] = folder, time.monotonic()
        return pid

    def folder(self, pid: int) -> Path:
        """Where a trial's output, its journal of events and its copies lie."""
        return self._started[pid][0]

    def wait(self, *pids: int, timeout_s: float = 60.0) -> Ended:
        """The first of these trials that ends."""
        return self.wait_any(*pids, timeout_s=timeout_s)[1]

    def wait_any(self, *pids: int, timeout_s: float = 60.0) -> tuple[int, Ended]:
        """The same with its number."""
        found = self._ask(do="wait", pids=pids, timeout_s=timeout_s)
        assert found is not None, f"no end of {pids} within {timeout_s} s"
        pid, code = found
        folder, start_s = self._started.pop(pid)
        events = folder / "events"
        return pid, Ended(
            code=code,
            stdout=(folder / "stdout").read_text(),
            stderr=(folder / "stderr").read_text(),
            events=events.read_text().splitlines() if events.exists() else [],
            folder=folder,
            seconds=time.monotonic() - start_s,
        )

    def kill(self, pid: int, *, everyone: bool) -> None:
        """End a build, or it and its decoders."""
        self._ask(do="kill", pid=pid, everyone=everyone)

    def settle(self) -> None:
        """Wait until every process of every trial has ended: a second, more where cores are few."""
        seconds = self._ask(do="settle", timeout_s=ORPHANS_S)
        assert seconds is not None, f"a decoder outlives the build by {ORPHANS_S} s"
        self.slowest_settling_s = max(self.slowest_settling_s, seconds)

    def _ask(self, **request):
        self._channel.sendall(json.dumps(request).encode() + b"\n")
        return json.loads(self._lines.readline())


@cache
def trials() -> Trials:
    """One server for all test files; what its builds leave goes with it."""
    scratch = tempfile.TemporaryDirectory(prefix="wholetone-trials-")
    atexit.register(scratch.cleanup)
    server = Trials(Path(scratch.name))
    atexit.register(server.close)
    return server
