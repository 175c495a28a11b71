"""Builds under hard circumstances, by the dozen: the client of `trial_server`."""

import atexit
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import soundfile

from shards.files import sha256_file
from tests.ingest.faults import Fault

ROOT = Path(__file__).resolve().parents[2]
KILLED = -9
REJECTS = 3
"""Exit code of every whole build here: the corpus holds two bad files."""

Tree = dict[str, tuple[str, str]]
"""Relative path → mode and hash."""


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
    """Starts builds in forks of a warm process, or with the real command, and tells how they end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = itertools.count()
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
        pid, ended = self.wait_any(*pids, timeout_s=timeout_s)
        return ended

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

    def settle(self, timeout_s: float) -> bool:
        """Whether every process of every trial ends within the time."""
        return self._ask(do="settle", timeout_s=timeout_s)

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


@cache
def music() -> Path:
    """Ten short tracks in four formats, a damaged one and a text that is named like one."""
    folder = trials().fresh("music")
    write_tracks(folder, 10)
    damaged = bytearray((folder / "1.flac").read_bytes())
    damaged[len(damaged) // 2 :] = bytes(len(damaged) // 2)
    (folder / "damaged.flac").write_bytes(damaged)
    (folder / "text.mp3").write_text("no music\n" * 40)
    return folder


FORMS = ("wav", "flac", "ogg", "mp3")


def write_tracks(folder: Path, count: int, forms: tuple[str, ...] = FORMS) -> None:
    """Noisy tones of 0.3 s and more, whose forms take turns."""
    rng = np.random.default_rng(0)
    for number in range(count):
        rate_hz = (16_000, 44_100)[number % 2]
        t = np.arange(int(rate_hz * (0.3 + number / 100))) / rate_hz
        tone = 0.3 * np.sin(2 * np.pi * 220 * (1 + number / 12) * t)
        soundfile.write(
            folder / f"{number}.{forms[number % len(forms)]}",
            tone + 0.05 * rng.standard_normal(len(t)),
            rate_hz,
        )


@cache
def undisturbed() -> Path:
    """The archive that every other build must equal."""
    out = trials().fresh("undisturbed") / "out"
    ended = trials().build(music(), out)
    assert ended.code == REJECTS, ended.stderr
    return out


def tree(folder: Path) -> Tree:
    """Mode and hash of every file but the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {
        str(path.relative_to(folder)): (oct(path.stat().st_mode & 0o777), sha256_file(path))
        for path in files
    }


@dataclass(frozen=True)
class Case:
    """A build: what lies in the output folder before it, and what must lie there when it ended."""

    audio: Path
    before: Path | None
    whole: Path

    @cached_property
    def after(self) -> Tree:
        """What lies in the folder when all is done."""
        return tree(self.whole)

    @cached_property
    def events(self) -> list[str]:
        """File operations of an undisturbed build, in order."""
        return self.build(self.begin(), fault=Fault()).events

    def number_of(self, event: str, *, after: int = 0) -> int:
        """Of the first event that begins so, counted from 1."""
        numbered = enumerate(self.events, start=1)
        return next(n for n, e in numbered if n > after and e.startswith(event))

    def begin(self) -> Path:
        """An output folder as the build finds it."""
        out = trials().fresh("case") / "out"
        if self.before:
            shutil.copytree(self.before, out)
        return out

    def build(self, out: Path, **how) -> Ended:
        """The build, under whatever circumstances."""
        return trials().build(self.audio, out, **how)

    def check_interrupted(self, out: Path) -> None:
        """What an interrupted build left is right or temporary; a manifest stands for all of it."""
        there = final(tree(out))
        before = tree(self.before) if self.before else {}
        wrong = there.items() - self.after.items() - before.items()
        assert not wrong, f"wrong bytes under a final name: {sorted(wrong)}"
        assert there.keys() >= before.keys(), "what was packed before is gone"
        if there.get("manifest.json") == self.after["manifest.json"]:
            assert there == self.after

    def check_goes_on(self, out: Path) -> Ended:
        """Run again without a fault, the build ends with the bytes of an undisturbed one."""
        ended = self.build(out)
        assert ended.code == REJECTS, ended.stderr
        assert_same(tree(out), self.after)
        return ended


def final(files: Tree) -> Tree:
    """Without what is temporary."""
    return {name: file for name, file in files.items() if not Path(name).name.startswith(".tmp-")}


def differences(found: Tree, wanted: Tree) -> list[str]:
    """Names of files that only one has or that differ, with what is wrong."""
    names = sorted(found.keys() | wanted.keys())
    return [
        f"{name}: {found.get(name)}, want {wanted.get(name)}"
        for name in names
        if found.get(name) != wanted.get(name)
    ]


def assert_same(found: Tree, wanted: Tree) -> None:
    """Two trees are equal, or what differs is said."""
    wrong = differences(found, wanted)
    assert not wrong, "\n".join(wrong)


@cache
def first_build() -> Case:
    """The corpus into a new folder."""
    return Case(music(), None, undisturbed())


@cache
def growth() -> Case:
    """Half of the corpus is packed, then all of it is there."""
    half = trials().fresh("half")
    for path in sorted(music().iterdir())[::2]:
        shutil.copy2(path, half)
    before = trials().fresh("grown") / "out"
    assert trials().build(half, before).code in (0, REJECTS)
    after = trials().fresh("grown") / "out"
    shutil.copytree(before, after)
    assert trials().build(music(), after).code == REJECTS
    return Case(music(), before, after)


def spread(count: int, total: int) -> list[int]:
    """`count` numbers of 1 to `total`, evenly, the first and the last among them."""
    return sorted({1 + round(i * (total - 1) / max(1, count - 1)) for i in range(count)})
