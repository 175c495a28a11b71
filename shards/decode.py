"""From plan rows to clips: the work of a task, wherever it runs. Loads no pyarrow, no torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from shards.errors import DamagedTrack
from shards.located import FRAMES, OPENED, SAMPLES, Located, Report, Shard, Window
from shards.names import SEEK, seek_name
from shards.source import SOURCES

if TYPE_CHECKING:
    from shards.index import Index
    from shards.plan import Plan, Rows

Result = TypeVar("Result")

COLUMNS = ("position", "row", "start", "frames", "seed")
"""Of a plan, as a batch has them."""

IO_WAITS_S = (0.1, 0.4, 1.6)
"""Before each further try to read what could not be read."""


def locate(index: Index, rows: Rows) -> Rows:
    """Plan rows with where each track's bytes lie, so that whoever decodes needs no index."""
    row = rows["row"]
    where = {name: index.column(name)[row] for name in ("shard", "offset", "size", "seek")}
    how = how_to_read(index.column("codec")[row], packed=not index.manifest.get("foreign"))
    return {**rows, **where, "track_frames": index.column("frames")[row], "how": how}


def how_to_read(codec: np.ndarray, *, packed: bool) -> np.ndarray:
    """FRAMES, SAMPLES or OPENED for each track, int8 [n]."""
    if not packed:  # an archive of tars that were there before has no seek tables
        return np.full(len(codec), OPENED, np.int8)
    return np.select([codec == "flac", codec == "wav"], [FRAMES, SAMPLES], OPENED).astype(np.int8)


def shards_of(index: Index) -> tuple[Shard, ...]:
    """An archive's shards as a decoder wants them."""
    packed, rate_hz = not index.manifest.get("foreign"), index.sample_rate
    return tuple(
        Shard(path, index.path / SEEK / seek_name(number) if packed else None, rate_hz)
        for number, path in enumerate(index.shards)
    )


@dataclass(frozen=True)
class Decoder:
    """Fills clips from plan rows; pure and picklable, so it may run anywhere and twice.

    Args:
        shards: Of all archives of the plan, one after another.
        clip_frames: Samples T of a clip.
    """

    shards: tuple[Shard, ...]
    clip_frames: int

    @classmethod
    def of(cls, plan: Plan) -> Decoder:
        """The decoder of a plan's archive."""
        return cls(shards_of(plan.index), plan.clip_frames)

    def __call__(self, rows: Rows) -> Rows:
        """Clips int16 [n, V, T] and valid [n], beside position, row, start, frames and seed."""
        clips = np.empty((*rows["start"].shape, self.clip_frames), np.int16)
        valid = np.empty(len(clips), bool)
        self.fill(rows, clips, valid)
        return {"clips": clips, "valid": valid, **{name: rows[name] for name in COLUMNS}}

    def fill(
        self, rows: Rows, clips: np.ndarray, valid: np.ndarray, at: np.ndarray | None = None
    ) -> Report:
        """Write the clips of located plan rows into memory of the caller's, every sample of it.

        What is past the end of a track is silent, and so is a track that cannot be decoded, which
        then is not valid. A file that cannot be read is tried again, and then raises `OSError`.

        Args:
            rows: Located plan rows [n]; those with `valid` False are not read.
            clips: int16 [N, V, T].
            valid: bool [N].
            at: Place in clips and valid of each row, [n]; 0 … n - 1 if None.
        """
        report = Report()
        at = np.arange(len(rows["row"])) if at is None else at
        valid[at] = wanted = rows.get("valid", np.ones(len(at), bool))
        clips[at[~wanted]] = 0
        in_order = np.lexsort((rows["offset"], rows["shard"]))  # of the bytes on disk
        tracks = {int(i): self._locate(rows, int(i)) for i in in_order if wanted[i]}
        windows = patiently(lambda: _ask_ahead(tracks))
        for i, track in tracks.items():
            try:
                patiently(lambda i=i, track=track: track.read(windows[i], clips[at[i]], report))  # type: ignore[misc]
            except DamagedTrack as error:
                clips[at[i]] = 0
                valid[at[i]] = False
                report.bad.append((i, "damaged", str(error)))
        return report

    def _locate(self, rows: Rows, i: int) -> Located:
        """The track of row i with what is wanted of it."""
        wanted = zip(rows["start"][i].tolist(), rows["frames"][i].tolist(), strict=True)
        offset, size, frames, seek, how = (
            int(rows[name][i]) for name in ("offset", "size", "track_frames", "seek", "how")
        )
        views = sorted((start, count, v) for v, (start, count) in enumerate(wanted))
        return Located(self.shards[rows["shard"][i]], offset, size, frames, seek, how, views)


def _ask_ahead(tracks: dict[int, Located]) -> dict[int, list[Window]]:
    """The windows of each track, of which every source has been told."""
    windows = {i: track.windows() for i, track in tracks.items()}
    for place, some in groupby(tracks, key=lambda i: tracks[i].shard.place):
        ranges = [(window.offset, window.size) for i in some for window in windows[i]]
        SOURCES.get(place).ahead(ranges)
    return windows


def patiently(read: Callable[[], Result]) -> Result:
    """What `read` returns; an `OSError` is believed when it has come four times."""
    for wait_s in IO_WAITS_S:
        try:
            return read()
        except OSError:
            time.sleep(wait_s)
    return read()
