"""One decoder process: a crash or a hang of it costs the file it has and nothing else.

The program is not ours to import: it is told by a command line. Two use it, the build that measures
raw files and the reader of archives that keep them as they came.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from shards.answers import FORMATS, NEEDS, Nonsense
from shards.text import shown

log = logging.getLogger(__name__)

STALL_S = 30.0
"""A worker that has neither decoded a block nor ended for so long is killed."""

SLOWEST_SPEED = 10.0
"""Decoded seconds a second that the slowest file on the slowest machine surely reaches."""

START_S = 120.0
MAX_ANSWER_BYTES = 1 << 23
"""The seek table of a day takes one; a decoder that was taken over could send without end."""

ATTEMPTS = 2
"""A worker can be killed from outside, so a crash is believed when it happens twice."""

DECODER = (sys.executable, "-P", "-m", "ingest.worker")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Worker:
    """One process, started when first needed and again after each death."""

    def __init__(
        self,
        parse: Callable[[bytes], dict[str, Any]],
        command: tuple[str, ...] = DECODER,
        *,
        stall_s: float = STALL_S,
    ) -> None:
        self._parse = parse
        self._command, self._extra = command, ""
        self._stall_s = stall_s
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - lives as long as we do
        self._is_ready = self._stopped = False

    def ask(
        self, request: dict[str, Any], source: int, sink: int, *, deadline_s: float
    ) -> dict[str, Any]:
        """The answer for two open files; a death in between is a rejection."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._try(request, source, sink, deadline_s)
            except TimeoutError as error:
                self.kill()
                return _rejected("timeout", str(error))
            except EOFError:
                ending = self._ending()
                if self._stopped or attempt == ATTEMPTS:
                    break
        return _rejected("crashed", f"made the decoder die ({ending})")

    def _try(
        self, request: dict[str, Any], source: int, sink: int, deadline_s: float
    ) -> dict[str, Any]:
        self.launch()
        if not self._is_ready:
            self._await()
        self._log.truncate(0)
        os.ftruncate(sink, 0)
        for fd in (source, sink):
            os.lseek(fd, 0, os.SEEK_SET)
        try:
            socket.send_fds(self._channel, [json.dumps(request).encode() + b"\n"], [source, sink])
        except OSError:
            raise EOFError from None
        deadline = time.monotonic() + deadline_s
        while time.monotonic() < deadline:
            answer = self._hear()
            if "ready" in answer:  # it was, long ago: it is no longer itself
                raise EOFError
            if answer == NEEDS and self._extra != FORMATS:
                self.kill()
                self._extra = FORMATS
                return self._try(request, source, sink, deadline_s)
            if not answer.keys() & {"beat", "needs"}:
                return answer
        raise TimeoutError(f"kept the decoder busy for more than {deadline_s:g} s")

    def _hear(self) -> dict[str, Any]:
        """The next line, which may come from a decoder that is no longer itself."""
        try:
            line = self._lines.readline(MAX_ANSWER_BYTES)
        except TimeoutError:
            message = f"made the decoder stand still for {self._stall_s:g} s"
            raise TimeoutError(message) from None
        except ConnectionError:
            line = b""
        try:
            return self._parse(line)
        except Nonsense:  # nothing, half a line or nonsense
            raise EOFError from None

    def launch(self) -> None:
        """Start the process unless it runs, without waiting for it."""
        if self._process:
            return
        if self._stopped:
            raise EOFError
        self._channel, theirs = socket.socketpair()
        root = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        with theirs:
            self._process = subprocess.Popen(
                [*self._command, str(theirs.fileno()), str(os.getpid()), self._extra],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for us; we end the workers
            )
        self._lines = self._channel.makefile("rb")
        self._is_ready = False

    def _await(self) -> None:
        """Wait until the process listens; one that cannot start is our fault."""
        self._channel.settimeout(START_S)
        try:
            ready = self._hear()["ready"]
        except (EOFError, TimeoutError, KeyError):
            ending = self._ending()
            if not self._stopped:
                raise RuntimeError(f"A decoder process did not start ({ending}).") from None
            raise EOFError from None
        _log_once(shown(ready))
        self._channel.settimeout(self._stall_s)
        self._is_ready = True

    def _ending(self) -> str:
        """How the process ended, with the last line it printed."""
        return ending(self.kill(), self._log)

    def kill(self) -> int:
        """End the process if it has not ended; its exit code."""
        if self._process is None:
            return 0
        self._lines.close()
        self._channel.close()
        try:
            code = self._process.wait(timeout=0 if self._stopped else 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process = None
        return code

    def stop(self) -> None:
        """End the process from another thread: whoever waits for its answer wakes up."""
        self._stopped = True
        if process := self._process:
            process.kill()

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self._log.close()


def deadline_of(seconds: float, *, stall_s: float = STALL_S) -> float:
    """Seconds after which a track of `seconds` has taken too long."""
    return stall_s + seconds / SLOWEST_SPEED


def ending(code: int, log: IO[bytes]) -> str:
    """How a process ended, with the last line that it printed into its log."""
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    log.seek(max(0, log.seek(0, os.SEEK_END) - 400))
    lines = log.read().decode("utf-8", "replace").split("\n")
    said = next((line for line in reversed(lines) if line.strip()), "")
    return f"{how}: {shown(said.strip()[:200])}" if said else how


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_logged: set[str] = set()
_logging = threading.Lock()


def _log_once(line: str) -> None:
    """Decoders that start together all have the same to say."""
    with _logging:
        if line not in _logged:
            _logged.add(line)
            log.info("%s", line)


def _rejected(code: str, message: str) -> dict[str, Any]:
    return {"rejected": {"stage": "decode", "code": code, "message": message}}
