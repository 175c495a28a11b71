"""The ring: slots in memory that processes share, each for one rank batch.

Workers write decoded clips where the trainer reads them, so a clip is never copied on its way. The
memory has no name anywhere: when the last process that has it mapped ends, however it ends, it is
gone.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shards.errors import InputError

SPARE_SHARE = 0.1
"""Of the free memory that a ring leaves alone."""


@dataclass(frozen=True)
class Shape:
    """Slots S of a rank batch: B tracks, V clips a track, T samples a clip."""

    num_slots: int
    rank_size: int
    num_views: int
    clip_frames: int

    @property
    def clips(self) -> tuple[int, int, int]:
        """Of all slots' clips end to end."""
        return self.num_slots * self.rank_size, self.num_views, self.clip_frames

    @property
    def clip_bytes(self) -> int:
        """Of the clips of all slots."""
        return 2 * int(np.prod(self.clips))

    @property
    def num_bytes(self) -> int:
        """Of the clips, and a flag for each row."""
        return self.clip_bytes + self.num_slots * self.rank_size


@dataclass(frozen=True)
class Address:
    """Where another process of this machine and user finds a ring."""

    path: str
    shape: Shape


class Ring:
    """Slots as two arrays: clips int16 [S·B, V, T] and valid bool [S·B].

    Args:
        fd: Of the memory.
        shape: Of the slots.
    """

    def __init__(self, fd: int, shape: Shape) -> None:
        self.fd, self.shape = fd, shape
        self.before_close: list[Callable[[], object]] = []
        self.memory = mmap.mmap(fd, shape.num_bytes)
        count = int(np.prod(shape.clips))
        self.clips = np.frombuffer(self.memory, np.int16, count).reshape(shape.clips)
        self.valid = np.frombuffer(self.memory, np.bool_, offset=shape.clip_bytes)

    @classmethod
    def new(cls, shape: Shape) -> Ring:
        """A ring in memory of its own, or `InputError` where there is not enough."""
        check_memory(shape)
        fd = _memory()
        try:
            os.ftruncate(fd, shape.num_bytes)
            return cls(fd, shape)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def at(cls, address: Address) -> Ring:
        """The ring of another process of this machine; `OSError` if that has ended."""
        return cls(os.open(address.path, os.O_RDWR | os.O_CLOEXEC), address.shape)

    @property
    def address(self) -> Address:
        """For `Ring.at` in processes that do not inherit our files."""
        return Address(f"/proc/{os.getpid()}/fd/{self.fd}", self.shape)

    def slot(self, number: int) -> slice:
        """The rows of a slot in `clips` and `valid`."""
        return slice(number * self.shape.rank_size, (number + 1) * self.shape.rank_size)

    def close(self) -> None:
        """Let go: the memory is given back when nobody holds an array of it any more."""
        if self.fd < 0:
            return
        for act in self.before_close:
            act()
        os.close(self.fd)
        self.fd = -1
        del self.clips, self.valid, self.memory


def _memory() -> int:
    """A file of memory without a name; no limit of /dev/shm holds for it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("wholetone-ring")
    with tempfile.TemporaryFile(buffering=0) as file:
        return os.dup(file.fileno())


def check_memory(shape: Shape) -> None:
    """Refuse a ring that would leave the machine, or the container, without memory."""
    free = free_bytes()
    if free is None or shape.num_bytes <= (1 - SPARE_SHARE) * free:
        return
    raise InputError(
        f"The stream wants {shape.num_bytes >> 20} MiB of shared memory for {shape.num_slots} "
        f"batches of {shape.rank_size} tracks, {free >> 20} MiB are free. Take a smaller "
        "--batch-size, shorter clips, or a machine or container with more memory."
    )


def free_bytes() -> int | None:
    """Memory that may still be taken, by the machine and by its container; None if unknown."""
    known = [free for free in (_of_machine(), _of_container()) if free is not None]
    return min(known, default=None)


def _of_machine() -> int | None:
    try:
        with open("/proc/meminfo") as lines:
            facts = dict(line.split(":") for line in lines)
        return int(facts["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return None


def _of_container() -> int | None:
    """Of the control group (version 2) of a container; what is cached counts as free."""
    group = "/sys/fs/cgroup/memory"
    try:
        with open(f"{group}.max") as most, open(f"{group}.current") as now:
            free = int(most.read()) - int(now.read())
        with open(f"{group}.stat") as lines:
            facts = dict(line.split() for line in lines)
        return free + int(facts["active_file"]) + int(facts["inactive_file"])
    except (OSError, KeyError, ValueError):  # no such group, or "max"
        return None
