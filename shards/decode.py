"""From plan rows to clips: the work of a task, wherever it runs. Loads no pyarrow, no torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from shards.cache import WINDOWED_BYTES
from shards.errors import DamagedTrack
from shards.how import FRAMES
from shards.located import Located, Report, Shard, Window
from shards.place import Remote
from shards.seek import load_tables
from shards.source import SOURCES
from shards.traffic import TRAFFIC

if TYPE_CHECKING:
    from shards.plan import Plan, Rows

Result = TypeVar("Result")

COLUMNS = ("position", "row", "start", "frames", "seed")
"""Of a plan, as a batch has them."""

SEEK_BYTES = 1 << 20
"""What a disk with moving heads reads while it would seek: 8 ms at 130 MB/s."""

IO_WAITS_S = (0.1, 0.4, 1.6)
"""Before each further try to read what could not be read."""


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
        chosen, rate_hz = plan.selection, plan.selection.sample_rate
        files = zip(chosen.shards, chosen.seek_tables, strict=True)
        ahead = _ahead_bytes(plan)
        shards = (
            Shard(place, seek, rate_hz, ahead if isinstance(place, Path) else 0)
            for place, seek in files
        )
        return cls(tuple(shards), plan.clip_frames)

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
        report, before = Report(), replace(TRAFFIC)
        at = np.arange(len(rows["row"])) if at is None else at
        valid[at] = wanted = rows.get("valid", np.ones(len(at), bool))
        clips[at[~wanted]] = 0
        tracks = self._tracks(rows, wanted)
        windows = patiently(lambda: _ask_ahead(tracks))
        for i, track in tracks.items():
            try:
                patiently(lambda i=i, track=track: track.read(windows[i], clips[at[i]], report))  # type: ignore[misc]
            except DamagedTrack as error:
                clips[at[i]] = 0
                valid[at[i]] = False
                report.bad.append((i, "damaged", str(error)))
        report.traffic = TRAFFIC.since(before)
        return report

    def expect(self, rows: Rows) -> None:
        """Have a store send what the next task will want while this one is decoded."""
        if any(isinstance(shard.place, Remote) for shard in self.shards):
            from shards.remote import meanwhile

            wanted = rows.get("valid", np.ones(len(rows["row"]), bool))
            meanwhile(lambda: _ask_ahead(self._tracks(rows, wanted)))

    def _tracks(self, rows: Rows, wanted: np.ndarray) -> dict[int, Located]:
        """The tracks of the rows that are wanted, in the order of the bytes on disk."""
        in_order = np.lexsort((rows["offset"], rows["shard"]))
        return {int(i): self._locate(rows, int(i)) for i in in_order if wanted[i]}

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
    load_tables({t.shard.seek for t in tracks.values() if t.how == FRAMES and t.shard.seek})
    windows = {i: track.windows() for i, track in tracks.items()}
    for shard, some in groupby(tracks, key=lambda i: tracks[i].shard):
        ranges = [part for i in some for part in tracks[i].ranges(windows[i])]
        SOURCES.get(shard.place).ahead(pieces(ranges, shard.ahead_bytes))
    return windows


def _ahead_bytes(plan: Plan) -> int:
    """How much of the neighbourhood a disk is to read with each window, 0 for nothing.

    A windowed order comes to all of it soon. Tracks that take less than a seek are cheaper read
    together; of longer ones most would be read in vain, and again in the next pass.
    """
    if getattr(plan, "order", "") != "windowed":
        return 0
    mean = plan.selection.columns["size"].mean(dtype=np.float64)
    return WINDOWED_BYTES if mean <= SEEK_BYTES else 0


def pieces(ranges: list[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    """The aligned pieces of a shard that ranges lie in; the ranges themselves for a size of 0."""
    if not size:
        return ranges
    numbers = {n for at, length in ranges for n in range(at // size, -(-(at + length) // size))}
    return [(number * size, size) for number in sorted(numbers)]


def patiently(read: Callable[[], Result]) -> Result:
    """What `read` returns; an `OSError` is believed when it has come four times."""
    for wait_s in IO_WAITS_S:
        try:
            return read()
        except OSError:
            time.sleep(wait_s)
    return read()
