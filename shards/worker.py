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
from collections import deque
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from shards.errors import CommandError
from shards.ring import Ring

if TYPE_CHECKING:
    import numpy as np

    from shards.plan import Rows

PR_SET_PDEATHSIG = 1


def main(channel_fd: int, ring_fd: int, brief_fd: int, parent: int) -> None:
    """Work until the channel closes."""
    die_with(parent)
    with Connection(channel_fd) as channel:
        decoder, shape = pickle.loads(os.pread(brief_fd, os.fstat(brief_fd).st_size, 0))
        ring = Ring(ring_fd, shape)
        channel.send(None)  # ready
        tasks: deque[tuple[int, Rows, np.ndarray]] = deque()
        while True:
            try:
                while not tasks or channel.poll():
                    tasks.append(channel.recv())
                    if len(tasks) > 1:
                        decoder.expect(tasks[-1][1])
            except EOFError:
                return
            number, rows, at = tasks.popleft()
            try:
                answer = decoder.fill(rows, ring.clips, ring.valid, at)
            except Exception as error:  # whoever asked decides what it means
                answer = RuntimeError(f"{type(error).__name__}: {error}")
                answer = error if isinstance(error, (OSError, CommandError)) else answer
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
