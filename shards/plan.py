"""The plan: which track, from where, with which seed, for every position. Pure numpy, O(1) each.

The order of training is one endless line of positions. Who reads which of them, in how many
processes, after how many restarts, changes nothing about what stands at a position.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, is_dataclass
from typing import Any, Protocol

import numpy as np

from shards.draw import draw, integers, permute
from shards.errors import InputError
from shards.files import shown
from shards.index import Index
from shards.views.view import View

Rows = dict[str, Any]  # name → array [n, …]


class Plan(Protocol):
    """Position → row, starts, frames, seeds."""

    index: Index
    num_views: int
    clip_frames: int

    @property
    def stop(self) -> int | None:
        """Number of positions, None if endless."""
        ...

    def take(self, position: np.ndarray) -> Rows:
        """Plan rows of positions [n]: row [n], start, frames and seed [n, V]."""
        ...


class TrainPlan:
    """Endless passes over the tracks a view can use, every track once before any repeats.

    Args:
        index: The archive.
        view: Draws the clips.
        seed: Of the order and of every draw.
    """

    stop = None

    def __init__(self, index: Index, view: View, *, seed: int = 0) -> None:
        self.index, self.view, self.seed = index, view, seed
        self.num_views = view.num_views
        self.clip_frames = view.clip_frames(index.sample_rate)
        self.excluded = excluded(index, view)
        self.rows = np.flatnonzero(self.excluded == "")
        if not len(self.rows):
            longest_s = index.column("duration_s").max(initial=0.0)
            raise InputError(
                f"No track of {shown(index.path)} can be used: this view needs "
                f"{view.min_frames(index.sample_rate) / index.sample_rate:.1f} s, the longest has "
                f"{longest_s:.1f} s. Take longer tracks, or a shorter view (--view.clip-s, "
                "--view.min-gap-s)."
            )
        self._frames = index.column("frames")

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints, equal rows and draws at every position."""
        view = asdict(self.view) if is_dataclass(self.view) else None
        facts = {
            "index": self.index.fingerprint,
            "tracks": len(self.rows),
            "view": [type(self.view).__name__, view],
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def take(self, position: np.ndarray) -> Rows:
        """Plan rows of positions [n]."""
        num_tracks = len(self.rows)
        which_pass, place = np.divmod(position, num_tracks)
        order = draw(self.seed, "track", which_pass)
        row = self.rows[permute(place, num_tracks, order)]
        start = self.view.draw(self.seed, position, self._frames[row], self.index.sample_rate)
        return {
            "position": position,
            "row": row,
            "start": start,
            "frames": np.full_like(start, self.clip_frames),
            "seed": draw(self.seed, "view", position[:, None], np.arange(self.num_views)),
        }

    def substitutes(self, position: np.ndarray, j: int) -> Rows:
        """The `j`-th substitutes, j = 1, 2, 3, for what cannot be read at positions [n]."""
        bits = draw(self.seed, "substitute", position, j)
        row = self.rows[integers(bits, 0, len(self.rows) - 1)]
        start = self.view.draw(self.seed, position, self._frames[row], self.index.sample_rate)
        return {**self.take(position), "row": row, "start": start}


def excluded(index: Index, view: View) -> np.ndarray:
    """For each track why a view cannot use it, "" where it can; array of str [N]."""
    need = view.min_frames(index.sample_rate)
    reason = np.where(index.column("frames") < need, f"shorter than {need} samples", "")
    return np.where(index.column("duplicate_of") != "", "duplicate", reason)


class WindowPlan:
    """Every window of some tracks once, in order: position → row, window.

    The last window may run past the track's end: it is kept if at least half of it is inside, or
    if it is the only one.

    Args:
        index: The archive.
        rows: Index rows [n], in the order wanted.
        clip_frames: Samples of a window.
        hop_frames: Samples from start to start; the window's length if None.
    """

    num_views = 1

    def __init__(
        self, index: Index, rows: np.ndarray, *, clip_frames: int, hop_frames: int | None = None
    ) -> None:
        self.index, self.rows, self.clip_frames = index, rows, clip_frames
        self.hop_frames = hop_frames or clip_frames
        self._frames = index.column("frames")
        reach = self._frames[rows] - (clip_frames + 1) // 2  # last start with half a window inside
        self.num_windows = np.maximum(1, reach // self.hop_frames + 1)
        self._ends = np.cumsum(self.num_windows)

    @property
    def stop(self) -> int:
        """Number of windows of all tracks."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def take(self, position: np.ndarray) -> Rows:
        """Plan rows of positions [n]; V = 1."""
        place = np.searchsorted(self._ends, position, side="right")
        window = position - (self._ends[place] - self.num_windows[place])
        row = self.rows[place]
        start = (window * self.hop_frames)[:, None]
        left = self._frames[row][:, None] - start
        return {
            "position": position,
            "row": row,
            "start": start,
            "frames": np.clip(left, 0, self.clip_frames),
            "seed": np.zeros_like(start),
        }
