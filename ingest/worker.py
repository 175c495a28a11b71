"""The process that meets untrusted audio: it takes one file at a time and may die of it.

It starts with a socket and its parent's process number. A request is a line of JSON that brings two
open files, the source and the payload's; answers are lines of JSON. It opens nothing by name, its
standard output and error go where the parent looks only after a crash, and it ends with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import socket
import sys
from dataclasses import asdict
from typing import Any

from ingest.decode import pack
from ingest.payload import Sink
from ingest.rejection import Rejection
from ingest.settings import Settings

MEMORY_BYTES = 4 << 30
PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main() -> None:
    """Serve the socket whose number is the first argument until it closes."""
    limit_process(parent=int(sys.argv[2]))
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        _say(channel, {"ready": True})
        while request := _listen(channel):
            line, (source, sink) = request
            try:
                _say(channel, answer(json.loads(line), source, sink, channel))
            finally:
                os.close(source)
                os.close(sink)


def limit_process(*, parent: int) -> None:
    """Bound memory, dump no core, and die with the parent."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(ValueError, OSError):  # macOS refuses to bound memory
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            sys.exit(1)


def answer(request: dict[str, Any], source: int, sink: int, channel: socket.socket) -> Any:
    """Facts of one file, or why it has none."""
    settings = Settings(**request["settings"])
    payload = Sink(sink)
    try:
        with open(source, "rb", closefd=False) as file:
            packed = pack(
                file,
                payload,
                name=request["name"],
                settings=settings,
                beat=lambda: _say(channel, {"beat": True}),
            )
    except Rejection as rejection:
        return {"rejected": vars(rejection)}
    except MemoryError:
        message = f"needs more than {MEMORY_BYTES >> 30} GiB to decode"
        return {"rejected": {"stage": "decode", "code": "memory", "message": message}}
    except OSError as error:
        where = "sink" if payload.error else "source"
        return {"failed": {"where": where, "errno": error.errno, "message": error.strerror}}
    return asdict(packed)


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
