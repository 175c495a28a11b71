"""What runs in a process of Ray: fills the trainer's ring, or, on another node, sends a block."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from shards.decode import Decoder
from shards.filler import Task
from shards.located import Report
from shards.ring import Address, Ring

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class SharedRing:
    """A ring, and how to be sure that it is this one: its path means another file elsewhere.

    Args:
        address: Where processes of this machine find it.
        machine: Its running kernel.
        file: Device and inode of its memory.
    """

    address: Address
    machine: str
    file: tuple[int, int]

    @classmethod
    def of(cls, ring: Ring) -> SharedRing:
        """What another process needs to find a ring of ours."""
        return cls(ring.address, machine(), identity(ring.fd))


@dataclass(frozen=True)
class Block:
    """Clips int16 [n, V, T] and valid [n] of a task that ran where the ring is not."""

    report: Report
    clips: np.ndarray
    valid: np.ndarray


def fill(job: list[Any], task: Task) -> Report | Block:
    """Do a task, a pure function of its rows: it may run anywhere, and twice.

    Args:
        job: A reference to the decoder and the shared ring, in a list so that Ray leaves it alone.
        task: Rows, and their places in the ring.
    """
    decoder, shared = known(job[0])
    ring = opened(shared)
    if ring is not None:
        return decoder.fill(task.rows, ring.clips, ring.valid, task.at)
    clips = np.empty((*task.rows["start"].shape, decoder.clip_frames), np.int16)
    valid = np.empty(len(clips), bool)
    return Block(decoder.fill(task.rows, clips, valid), clips, valid)


@lru_cache(maxsize=1)
def known(job: Any) -> tuple[Decoder, SharedRing]:
    """What a job's tasks have in common, fetched once a process: an archive has many shards."""
    import ray

    decoder, shared = ray.get(job)
    return decoder, shared


@lru_cache(maxsize=1)
def opened(shared: SharedRing) -> Ring | None:
    """The ring, mapped into this process; None where it cannot be reached."""
    if shared.machine != machine():
        return None
    try:
        fd = os.open(shared.address.path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # another container, another user, or a trainer that has ended
        return None
    if identity(fd) != shared.file:
        os.close(fd)
        return None
    return Ring(fd, shared.address.shape)


def machine() -> str:
    """A name that no two running kernels share, "" where there is none."""
    return BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""


def identity(fd: int) -> tuple[int, int]:
    """Device and inode of an open file."""
    stat = os.fstat(fd)
    return stat.st_dev, stat.st_ino
