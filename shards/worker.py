"""The program of a worker process: tasks in, clips into the shared ring, reports out.

Started as `python -m shards.worker CHANNEL RING BRIEF PARENT` with three open files and the number
of the process that it must not outlive. It loads numpy and soundfile, and little else.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
from multiprocessing.connection import Connection

from shards.ring import Ring

PR_SET_PDEATHSIG = 1


def main(channel_fd: int, ring_fd: int, brief_fd: int, parent: int) -> None:
    """Work until the channel closes."""
    die_with(parent)
    with Connection(channel_fd) as channel:
        decoder, shape = pickle.loads(os.pread(brief_fd, os.fstat(brief_fd).st_size, 0))
        ring = Ring(ring_fd, shape)
        channel.send(None)  # ready
        while True:
            try:
                number, rows, at = channel.recv()
            except EOFError:
                return
            try:
                answer = decoder.fill(rows, ring.clips, ring.valid, at)
            except Exception as error:  # whoever asked decides what it means
                answer = RuntimeError(f"{type(error).__name__}: {error}")
                answer = error if isinstance(error, OSError) else answer
            try:
                channel.send((number, answer))
            except ConnectionError:
                return


def die_with(parent: int) -> None:
    """Be killed when the thread ends that started this process, however it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we had asked
        sys.exit()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:5]))
