"""From an index row to samples: only the bytes that a window needs are touched."""

from __future__ import annotations

import io
import mmap
import os
import threading
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

from shards.files import shown
from shards.index import Index
from shards.remote import RemoteFile, Stored
from shards.samples import mix, to_int16
from shards.seek import read_by_range

MAX_OPEN_SHARDS = 256


class DamagedTrack(ValueError):
    """A payload that does not decode to the samples its index row promises."""


class MappedShards:
    """Shards mapped into memory, the least recently used closed first; safe for threads."""

    def __init__(self, limit: int = MAX_OPEN_SHARDS) -> None:
        self.limit = limit
        self._maps: OrderedDict[Path, mmap.mmap] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path) -> mmap.mmap:
        """The shard's bytes; a mapping in use elsewhere stays alive until its user is done."""
        with self._lock:
            if path in self._maps:
                self._maps.move_to_end(path)
                return self._maps[path]
            fd = os.open(path, os.O_RDONLY)
            try:
                self._maps[path] = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
            finally:
                os.close(fd)
            while len(self._maps) > self.limit:
                self._maps.popitem(last=False)  # closed by its last reference
            return self._maps[path]


_SHARDS = MappedShards()


class Member(io.RawIOBase):
    """One member of a mapped tar as a file: libsndfile seeks and reads in it without a copy."""

    def __init__(self, shard: mmap.mmap, offset: int, size: int) -> None:
        super().__init__()
        self._bytes = memoryview(shard)[offset : offset + size]
        self._at = 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Place in the member."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place inside the member."""
        base = (0, self._at, len(self._bytes))[whence]
        self._at = min(max(base + offset, 0), len(self._bytes))
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Copy what is left, at most the buffer's size."""
        part = self._bytes[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)

    def close(self) -> None:
        """Let go of the shard."""
        self._bytes.release()
        super().close()


class TrackFile:
    """An open track of an archive, from which any number of windows is read."""

    def __init__(self, path: Path, offset: int, size: int, frames: int) -> None:
        self._where = f"{shown(path)} at byte {offset}"
        self.frames = frames
        self._member = Member(_SHARDS.get(path), offset, size)
        try:
            self._sound = soundfile.SoundFile(self._member)
        except soundfile.LibsndfileError as error:
            self._member.close()
            raise DamagedTrack(f"{self._where}: {error}") from error
        self._is_plain = self._sound.channels == 1 and self._sound.subtype == "PCM_16"

    def read(self, start: int, frames: int) -> np.ndarray:
        """Samples [frames] int16 from `start` on, fewer past the end, mixed down if need be."""
        frames = max(0, min(frames, self.frames - start))
        try:
            self._sound.seek(start)
            samples = self._samples(frames)
        except soundfile.LibsndfileError as error:
            raise DamagedTrack(f"{self._where}: {error}") from error
        if len(samples) != frames:
            raise DamagedTrack(f"{self._where}: {len(samples)} samples at {start}, want {frames}")
        return samples

    def _samples(self, frames: int) -> np.ndarray:
        """What comes next, int16 [≤ frames], as ingest has measured it."""
        if self._is_plain:
            return np.asarray(self._sound.read(frames, dtype="int16"))
        return to_int16(mix(self._sound.read(frames, dtype="float32", always_2d=True)))

    def __enter__(self) -> TrackFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._sound.close()
        self._member.close()


def open_track(index: Index, row: int) -> TrackFile | RangeFile:
    """The track of an index row, open for reading."""
    shard, offset, size, frames = (
        index.column(name)[row] for name in ("shard", "offset", "size", "frames")
    )
    path = index.shards[shard]
    if isinstance(path, Stored):
        return RangeFile(index, row, path)
    return TrackFile(path, int(offset), int(size), int(frames))


@lru_cache(maxsize=MAX_OPEN_SHARDS)
def _opened(shard: Stored) -> RemoteFile:
    return RemoteFile(shard)


class RangeFile:
    """A track in an object store: every window is one request."""

    def __init__(self, index: Index, row: int, shard: Stored) -> None:
        self._index, self._row, self._shard = index, row, shard
        self.frames = int(index.column("frames")[row])

    def read(self, start: int, frames: int) -> np.ndarray:
        """Samples [frames] int16 from `start` on, fewer past the end."""
        frames = max(0, min(frames, self.frames - start))
        try:
            samples = read_by_range(self._index, self._row, start, frames, self._fetch)
        except (soundfile.LibsndfileError, ValueError) as error:
            raise DamagedTrack(f"{shown(self._shard)}, row {self._row}: {error}") from error
        if len(samples) != frames:
            where = f"{shown(self._shard)}, row {self._row}"
            raise DamagedTrack(f"{where}: {len(samples)} samples at {start}, want {frames}")
        return samples

    def _fetch(self, offset: int, size: int) -> bytes:
        return bytes(_opened(self._shard).range(offset, size))

    def __enter__(self) -> RangeFile:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def read_window(index: Index, row: int, start: int, frames: int) -> np.ndarray:
    """Samples `start` to `start + frames` of a track, int16 [≤ frames]."""
    with open_track(index, row) as track:
        return track.read(start, frames)


def read_track(index: Index, row: int) -> np.ndarray:
    """All samples of a track, int16 [frames]."""
    with open_track(index, row) as track:
        return track.read(0, track.frames)
