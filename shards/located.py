"""A track that is located in a shard → its clips (see `how`)."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from shards import flac
from shards.errors import DamagedTrack
from shards.how import FRAMES, SAMPLES, SANDBOXED
from shards.place import Place
from shards.seek import byte_range, entries_of
from shards.source import SOURCES
from shards.traffic import Traffic
from shards.wav import HEADER_BYTES, header


@dataclass(frozen=True)
class Shard:
    """A shard, its seek tables (None for an archive without) and its sample rate.

    `ahead_bytes` is the size of the aligned pieces that a disk is told to read ahead, 0 for no
    more than is wanted.
    """

    place: Place
    seek: Place | None
    rate_hz: int
    ahead_bytes: int = 0


@dataclass
class Report:
    """What a task has cost, and which of its rows could not be decoded: (i, code, message)."""

    bytes_read: int = 0
    read_s: float = 0.0
    decode_s: float = 0.0
    bad: list[tuple[int, str, str]] = field(default_factory=list)
    traffic: Traffic = field(default_factory=Traffic)  # of shards in a store


class Window(NamedTuple):
    """Samples `start` to `start + frames` are clip `v` and lie in these bytes of the shard."""

    v: int
    start: int
    frames: int
    offset: int
    size: int


@dataclass(frozen=True)
class Located:
    """A track, how it is read, and the windows wanted of it as (start, samples, v), ascending."""

    shard: Shard
    offset: int
    size: int
    frames: int
    seek: int
    how: int
    wanted: list[tuple[int, int, int]]

    def windows(self) -> list[Window]:
        """What to ask of the shard; nothing for a track that has to be opened."""
        if self.how == FRAMES and self.shard.seek is not None:
            return self._frames(self.shard.seek)
        if self.how == SAMPLES and self.size == HEADER_BYTES + 2 * self.frames:
            first = self.offset + HEADER_BYTES
            return [Window(v, s, n, first + 2 * s, 2 * n) for s, n, v in self.wanted]
        return []

    def _frames(self, seek: Place) -> list[Window]:
        rate_hz, seconds = self.shard.rate_hz, -(-self.frames // self.shard.rate_hz)
        table = entries_of(seek, self.seek, seconds)
        if len(table) != seconds:
            return []
        parts = [byte_range(table, self.size, rate_hz, s, max(1, n)) for s, n, _ in self.wanted]
        return [
            Window(v, start, count, self.offset + part.start, part.stop - part.start)
            for (start, count, v), part in zip(self.wanted, parts, strict=True)
        ]

    def ranges(self, windows: list[Window]) -> list[tuple[int, int]]:
        """Offsets and sizes in the shard that `read` will ask for."""
        header = [(self.offset, HEADER_BYTES)] if windows and self.how == SAMPLES else []
        return [*header, *((window.offset, window.size) for window in windows)]

    def read(self, windows: list[Window], out: np.ndarray, report: Report) -> None:
        """Fill `out`, int16 [V, T]; raises `DamagedTrack`, and `OSError` for bytes it cannot get.

        Whatever is odd about the shorter ways is left for libsndfile to judge.
        """
        for _, count, v in self.wanted:
            out[v, count:] = 0
        try:
            if not windows:
                self._open(out, report)
            elif self.how == FRAMES:
                self._decode(windows, out, report)
            else:
                self._copy(windows, out, report)
        except (_Odd, DamagedTrack):
            SOURCES.get(self.shard.place).doubt(self.offset, self.size)
            self._open(out, report)

    def _decode(self, windows: list[Window], out: np.ndarray, report: Report) -> None:
        source = SOURCES.get(self.shard.place)
        for window in windows:
            begin_s = time.perf_counter()
            got = source.into(window.offset, flac.room(window.size))
            read_s = time.perf_counter()
            if got != window.size:
                raise _Odd
            try:
                clip = out[window.v, : window.frames]
                flac.decode_room(clip, got, self.shard.rate_hz, window.start)
            except ValueError as error:
                raise _Odd from error
            report.bytes_read += got
            report.read_s += read_s - begin_s
            report.decode_s += time.perf_counter() - read_s

    def _copy(self, windows: list[Window], out: np.ndarray, report: Report) -> None:
        source = SOURCES.get(self.shard.place)
        begin_s = time.perf_counter()
        if source.range(self.offset, HEADER_BYTES) != header(self.shard.rate_hz, self.frames):
            raise _Odd
        for window in windows:
            samples = out[window.v, : window.frames].data.cast("B")
            if source.into(window.offset, samples) != window.size:
                raise _Odd
            report.bytes_read += window.size
        report.read_s += time.perf_counter() - begin_s

    def _open(self, out: np.ndarray, report: Report) -> None:
        from shards.reader import Original, open_payload  # and pyarrow, which few workers need

        begin_s = time.perf_counter()
        where = self.shard.place, self.offset, self.size, self.frames
        payload = Original(*where, self.shard.rate_hz)
        with open_payload(payload, sandboxed=self.how == SANDBOXED) as track:
            for start, count, v in self.wanted:
                samples = track.read(start, count)
                if len(samples) != count:
                    raise DamagedTrack(f"{len(samples)} samples at {start}, want {count}")
                out[v, :count] = samples
        report.bytes_read += self.size
        report.decode_s += time.perf_counter() - begin_s


class _Odd(Exception):
    """A payload is not what a short way takes it for."""
