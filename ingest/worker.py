"""The process that meets untrusted audio: it takes one file at a time and may die of it.

It starts with a socket, its parent's process number and, if it is to read all formats, a word. A
request is a line of JSON that brings two
open files, the source and one for what is made of it: payload, or samples for a reader of archives
that keep their sources' bytes. Answers are lines of JSON. It opens nothing by name and, where the
kernel lets it, cannot (see `sandbox`). Its standard output and error go where the parent looks only
after a crash, and it ends with its parent.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import io
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any

import numpy as np
import soundfile

from ingest.decode import pack, read
from ingest.formats import AvSound, NotLoadedError
from ingest.payload import MAX_BYTES, Sink
from ingest.rejection import Rejection
from ingest.sandbox import described, lock_down
from ingest.settings import Settings
from shards.answers import FORMATS, NEEDS

MEMORY_BYTES = 2 << 30
"""Of addresses; 0.2 GiB are taken before the first file."""

BEAT_S = 0.2
"""Between two signs of life: each wakes up the parent."""

MAX_FILES = 64
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Serve the socket whose number is the first argument until it closes."""
    parent = int(sys.argv[2])
    limit_process(parent=parent)
    AvSound.may_load = FORMATS in sys.argv[3:]
    warm_up()
    AvSound.may_load = False
    denied = lock_down(parent)
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        _say(channel, {"ready": described(denied)})
        while request := _listen(channel):
            line, (source, sink) = request
            try:
                _say(channel, answer(json.loads(line), source, sink, channel))
            finally:
                os.close(source)
                os.close(sink)


def limit_process(*, parent: int) -> None:
    """Bound memory, files and what is written, dump no core, and die with the parent."""
    limits = {"CORE": 0, "NOFILE": MAX_FILES, "FSIZE": MAX_BYTES + 1, "AS": MEMORY_BYTES}
    for name, value in limits.items():
        with contextlib.suppress(ValueError, OSError):  # macOS refuses to bound memory
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)


def warm_up() -> None:
    """Use once what loads files when it is first used: later nothing can be loaded."""
    for encoding in ("latin-1", "utf-8", "utf-16-le", "utf-16-be"):
        codecs.lookup(encoding)
    if sys.platform != "linux":  # no sandbox there
        return
    for form in ("WAV", "FLAC", "OGG", "MP3", "AIFF"):
        with contextlib.suppress(soundfile.LibsndfileError, Rejection):  # built without it
            _pack_a_second(form)


def _pack_a_second(form: str) -> None:
    """A second of silence through all that a file goes through, in files without a name."""
    encoded = io.BytesIO()
    soundfile.write(encoded, np.zeros((8_000, 2), np.float32), 8_000, format=form)
    with ExitStack() as stack:
        fds = [os.memfd_create("warm-up"), os.memfd_create("warm-up")]
        source, payload = (stack.enter_context(open(fd, "w+b")) for fd in fds)
        source.write(encoded.getvalue())
        source.seek(0)
        sink = Sink(payload.fileno())
        pack(source, sink, name="", settings=Settings(), beat=lambda: None)
        if AvSound.may_load:
            source.seek(0)
            stack.enter_context(AvSound(source.fileno())).next_block(8_000)


def answer(request: dict[str, Any], source: int, sink: int, channel: socket.socket) -> Any:
    """What was asked of one file, or why there is none: its facts, or the number of its samples."""
    payload = Sink(sink)
    try:
        with open(source, "rb", closefd=False) as file:
            return _asked(request)(file, payload, beat=_Beat(channel))
    except NotLoadedError:
        return NEEDS
    except Rejection as rejection:
        return {"rejected": vars(rejection)}
    except MemoryError:
        message = f"needs more than {MEMORY_BYTES >> 30} GiB to decode"
        return {"rejected": {"stage": "decode", "code": "memory", "message": message}}
    except OSError as error:
        where = "sink" if payload.error else "source"
        return {"failed": {"where": where, "errno": error.errno, "message": error.strerror}}


class _Beat:
    """Says now and then that a file is still worked at."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._last = time.monotonic()

    def __call__(self) -> None:
        if time.monotonic() - self._last > BEAT_S:
            _say(self._channel, {"beat": True})
            self._last = time.monotonic()


def _asked(request: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """What a request wants done with its two files."""
    if "read" in request:
        return lambda *files, beat: {"read": read(*files, **request["read"], beat=beat)}
    settings = Settings(**request["settings"])
    return lambda *files, beat: asdict(
        pack(*files, name=request["name"], settings=settings, beat=beat)
    )


def _say(channel: socket.socket, message: Any) -> None:
    channel.sendall(json.dumps(message).encode() + b"\n")


def _listen(channel: socket.socket) -> tuple[bytes, list[int]] | None:
    """The next request and its two files, None when the parent has gone."""
    line, files = b"", []
    while not line.endswith(b"\n"):
        part, fds, _, _ = socket.recv_fds(channel, 1 << 16, 2)
        if not part:
            return None
        line += part
        files += fds
    return line, files


if __name__ == "__main__":
    main()
