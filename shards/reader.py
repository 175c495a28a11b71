"""From an index row to samples: only the bytes that a window needs are touched, where that can be.

flac, wav     read where they lie, a window at a time
the same in an object store: one request a window, by the seek table of a packed FLAC
all others    originals, decoded as a whole in a sandbox (see `sandboxed`)
"""

from __future__ import annotations

import numpy as np
import soundfile

from shards.errors import DamagedTrack
from shards.files import shown
from shards.index import Index
from shards.member import Member, payload_of
from shards.place import Place, Remote
from shards.samples import mix, to_int16
from shards.sandboxed import Original as Original
from shards.sandboxed import WholeTrack
from shards.seek import has_seek_tables, read_by_range


class TrackFile:
    """An open track of an archive, from which any number of windows is read."""

    def __init__(self, path: Place, offset: int, size: int, frames: int) -> None:
        self._where = f"{shown(path)} at byte {offset}"
        self.frames = frames
        self._member = Member(payload_of(path, offset, size))
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


class RangeFile:
    """A packed FLAC track in an object store: every window is one request."""

    def __init__(self, index: Index, row: int, shard: Remote) -> None:
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
        return bytes(payload_of(self._shard, offset, size))

    def __enter__(self) -> RangeFile:
        return self

    def __exit__(self, *_: object) -> None:
        return None


OpenTrack = TrackFile | RangeFile | WholeTrack


def open_track(index: Index, row: int) -> OpenTrack:
    """The track of an index row, open for reading."""
    shard, offset, size, frames, rate_hz = (
        int(index.column(name)[row])
        for name in ("shard", "offset", "size", "frames", "sample_rate")
    )
    path, sandboxed = index.shards[shard], bool(index.sandboxed[row])
    if isinstance(path, Remote) and not sandboxed and has_seek_tables(index, shard):
        return RangeFile(index, row, path)
    return open_payload(Original(path, offset, size, frames, rate_hz), sandboxed=sandboxed)


def open_payload(payload: Original, *, sandboxed: bool) -> TrackFile | WholeTrack:
    """A track by where its payload lies, open for reading."""
    if sandboxed:
        return WholeTrack(payload)
    return TrackFile(payload.shard, payload.offset, payload.size, payload.frames)


def read_window(index: Index, row: int, start: int, frames: int) -> np.ndarray:
    """Samples `start` to `start + frames` of a track, int16 [≤ frames]."""
    with open_track(index, row) as track:
        return track.read(start, frames)


def read_track(index: Index, row: int) -> np.ndarray:
    """All samples of a track, int16 [frames]."""
    with open_track(index, row) as track:
        return track.read(0, track.frames)
