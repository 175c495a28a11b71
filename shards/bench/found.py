"""What was measured of an archive on a machine: rates in rows a second, one a stage."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Found:
    """A row is a track in a batch: all of its clips. A rate that was not measured is None.

    Args:
        archive: Where it lies.
        remote: Whether that is an object store.
        codec: Of the payload, the most frequent one.
        packed: Whether `ingest build-shards` decoded it, so that windows are read by themselves.
        archive_bytes: Of all shards.
        memory_bytes: Of the machine.
        cores: That this process may use.
        row_bytes: Read for a row, on average.
        clip_bytes: Of its samples.
        read_cold: All readers at once, the kernel having been asked to forget the shards.
        read_warm: The same once more.
        decode: One process, from memory; infinite where nothing is to be decoded.
        memcpy: One process, copying the samples of a row.
        inline: Workers → rate of the whole stream.
        inline_first_s: Workers → seconds until its first batch.
        ray: The whole stream by Ray, with as many tasks as cores.
        ray_first_s: Seconds until its first batch; Ray runs already.
        to_device: Copy to the accelerator.
        device: Its name.
        model: What training took, from RUN/metrics.jsonl, had it never waited.
    """

    archive: str
    remote: bool
    codec: str
    packed: bool
    archive_bytes: int
    memory_bytes: int
    cores: int
    row_bytes: float
    clip_bytes: int
    read_cold: float
    read_warm: float
    decode: float
    memcpy: float
    inline: dict[int, float] = field(default_factory=dict)
    inline_first_s: dict[int, float] = field(default_factory=dict)
    ray: float | None = None
    ray_first_s: float | None = None
    to_device: float | None = None
    device: str = ""
    model: float | None = None

    @property
    def best(self) -> tuple[int, float]:
        """Workers and rate of the fastest inline stream."""
        return max(self.inline.items(), key=lambda item: item[1])

    @property
    def fits_memory(self) -> bool:
        """Whether the kernel can keep the archive: then a disk is read once and never again."""
        return not self.remote and self.archive_bytes < self.memory_bytes / 2

    @property
    def disk(self) -> float:
        """Rows a second that can be read pass after pass, infinite if memory keeps them."""
        return math.inf if self.fits_memory else self.read_cold
