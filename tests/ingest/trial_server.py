"""A process that has loaded everything and forks a trial on request: a build in 0.1 s, not in 2.

Started with the number of a socket. Requests and answers are lines of JSON. A trial's orphans fall
to this process (PR_SET_CHILD_SUBREAPER), so it knows when the last process of a trial has ended.
"""

import ctypes
import json
import os
import pickle
import resource
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import soundfile  # noqa: F401 - all trials share what is loaded here
import tqdm  # noqa: F401
import tyro.extras  # noqa: F401
import webdataset.writer  # noqa: F401

import ingest.build
import ingest.cli
import ingest.summary
from tests.ingest.crash_states import Recorder
from tests.ingest.faults import NOT_POSSIBLE, Fault, Wire, children

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000  # linux/sched.h
MS_REMOUNT, MS_PRIVATE_ALL = 32, 0x44000  # linux/mount.h
libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Serve until the socket closes."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    if sys.platform == "linux":
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    pa.Table.from_pylist([{"warm": "up"}])  # loads what it needs when it is first called
    serve = {"start": start, "kill": kill, "wait": wait, "settle": settle}
    for line in channel.makefile("rb"):
        request = json.loads(line)
        answer = serve[request.pop("do")](**request)
        channel.sendall(json.dumps(answer).encode() + b"\n")


def start(**trial: Any) -> int:
    """Process number of a new trial."""
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = run_trial(**trial)
        except BaseException as error:  # a bug of the build shows as Python would show it
            if isinstance(error, SystemExit):
                code = error.code
            else:
                sys.excepthook(type(error), error, error.__traceback__)
                code = 1
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    ended.pop(pid, None)  # of an orphan that had this number before
    return pid


def kill(*, pid: int, everyone: bool) -> None:
    """End a trial, or it and its decoders."""
    for victim in [pid, *(children(pid) if everyone else [])]:
        os.kill(victim, signal.SIGKILL)


ended: dict[int, int] = {}


def wait(*, pids: list[int], timeout_s: float) -> list[int] | None:
    """Number and exit code (negative: signal) of the first trial that has ended."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        reap()
        for pid in pids:
            if pid in ended:
                return [pid, ended.pop(pid)]
        time.sleep(0.002)
    return None


def settle(*, timeout_s: float) -> float | None:
    """Seconds until the last process of all trials had ended; None if that takes longer."""
    start_s = time.monotonic()
    while reap():
        if time.monotonic() > start_s + timeout_s:
            return None
        time.sleep(0.002)
    return time.monotonic() - start_s


def reap() -> bool:
    """Collect the dead; whether anyone lives."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        ended[pid] = os.waitstatus_to_exitcode(status)


def run_trial(
    *,
    args: list[str],
    folder: str,
    watched: list[str],
    fault: dict[str, Any] | None,
    environment: dict[str, str],
    cwd: str,
    umask: int,
    command: bool,
    unprivileged: bool,
    max_file_bytes: int,
    max_open_files: int,
    tmpfs_kib: int,
    record: str,
    reverse_listings: bool,
) -> int:
    """The exit code of a build under the given circumstances; runs in a process of its own."""
    os.setsid()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # no trial outlives the tests
    redirect(Path(folder))
    tempfile.tempdir = os.path.join(folder, "tmp")
    os.makedirs(tempfile.tempdir, exist_ok=True)
    os.environ.update(environment)
    os.chdir(cwd)
    os.umask(umask)
    if unprivileged and libc.unshare(CLONE_NEWUSER):
        return NOT_POSSIBLE
    if max_file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    if max_open_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max_open_files, max_open_files))
    if command:
        os.execv(sys.executable, [sys.executable, "-m", "ingest", *args])
    if reverse_listings:
        list_backwards()
    if tmpfs_kib:
        return on_small_disk(args, Path(folder), Path(args[args.index("--out") + 1]), tmpfs_kib)
    recorder = Recorder(Path(record)) if record else None
    if fault is not None:
        wire = Wire(
            Fault(**fault),
            folders=[Path(path) for path in [*watched, tempfile.tempdir]],
            journal=Path(folder, "events"),
        )
        wire.witness = recorder
        wire.install()
    code = ingest.cli.main(args)
    if recorder:
        wire.event("end", record)
        Path(folder, "states").write_bytes(pickle.dumps((recorder.during, recorder.after)))
    return code


def redirect(folder: Path) -> None:
    """Output of a trial into files; nothing of the server stays open in it."""
    for number, name in enumerate(["stdin", "stdout", "stderr"]):
        fd = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(fd, number)
    os.closerange(3, 1024)


def list_backwards() -> None:
    """Folders list their entries in another order."""
    scandir = os.scandir

    class Backwards:
        def __init__(self, path):
            self.entries = sorted(scandir(path), key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    os.scandir = Backwards


def on_small_disk(args: list[str], folder: Path, out: Path, size_kib: int) -> int:
    """Code of a build on a disk of its own; `full` and `again` are what lay there before and after.

    The disk grows before the second build, whose exit code is left in the file `again.code`.
    """
    root = os.geteuid() == 0
    if libc.unshare(CLONE_NEWNS | (0 if root else CLONE_NEWUSER)):
        return NOT_POSSIBLE
    out.mkdir(exist_ok=True)
    libc.mount(b"none", b"/", None, MS_PRIVATE_ALL, None)
    target = os.fsencode(out)
    if libc.mount(b"tmpfs", target, b"tmpfs", 0, b"size=%dk,mode=755" % size_kib):
        return NOT_POSSIBLE
    codes = []
    for copy in ("full", "again"):
        pid = os.fork()
        if pid == 0:
            os._exit(ingest.cli.main(args))
        codes.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        os.system(f"cp -a '{out}' '{folder / copy}'")
        libc.mount(b"tmpfs", target, b"tmpfs", MS_REMOUNT, b"size=64m")
    (folder / "again.code").write_text(str(codes[1]))
    return codes[0]


if __name__ == "__main__":
    main()
