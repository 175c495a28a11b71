"""From plan rows to clips: the work of a task, wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shards.errors import DamagedTrack
from shards.index import Index
from shards.place import Place
from shards.plan import Plan, Rows
from shards.reader import open_payload
from shards.sandboxed import Original


def locate(index: Index, rows: Rows) -> Rows:
    """Plan rows with where each track's bytes lie, so that whoever decodes needs no index."""
    row = rows["row"]
    where = {name: index.column(name)[row] for name in ("shard", "offset", "size")}
    what = {"track_frames": index.column("frames")[row], "sandboxed": index.sandboxed[row]}
    return {**rows, **where, **what}


@dataclass(frozen=True)
class Decoder:
    """Plan rows in, batch columns out; a pure function, so it may run anywhere and twice.

    Args:
        shards: Paths of the archive's shards.
        clip_frames: Samples T of a clip.
        rate_hz: Of the archive.
    """

    shards: tuple[Place, ...]
    clip_frames: int
    rate_hz: int

    @classmethod
    def of(cls, plan: Plan) -> Decoder:
        """The decoder of a plan's archive."""
        return cls(tuple(plan.index.shards), plan.clip_frames, plan.index.sample_rate)

    def __call__(self, rows: Rows) -> Rows:
        """Clips int16 [n, V, T] and valid [n], beside position, row, start, frames and seed."""
        num_rows, num_views = rows["start"].shape
        clips = np.zeros((num_rows, num_views, self.clip_frames), np.int16)
        valid = rows.get("valid", np.ones(num_rows, bool)).copy()
        for i in np.lexsort((rows["offset"], rows["shard"])):  # the order of the bytes on disk
            if valid[i]:
                valid[i] = self._read(rows, int(i), clips[i])
        kept = ("position", "row", "start", "frames", "seed")
        return {"clips": clips, "valid": valid, **{name: rows[name] for name in kept}}

    def _read(self, rows: Rows, i: int, out: np.ndarray) -> bool:
        """Fill the clips [V, T] of one track; False, and silence, if it is damaged."""
        offset, size, frames = (int(rows[c][i]) for c in ("offset", "size", "track_frames"))
        where = Original(self.shards[rows["shard"][i]], offset, size, frames, self.rate_hz)
        try:
            with open_payload(where, sandboxed=bool(rows["sandboxed"][i])) as track:
                for v in np.argsort(rows["start"][i]):  # forward seeks cost half
                    count = int(rows["frames"][i, v])
                    out[v, :count] = track.read(int(rows["start"][i, v]), count)
        except DamagedTrack:
            out[:] = 0
            return False
        return True
