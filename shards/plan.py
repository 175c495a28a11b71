"""The plan: which track, from where, with which seed, for every position. Pure numpy, O(1) each.

The order of training is one endless line of positions. Who reads which of them, in how many
processes, after how many restarts, changes nothing about what stands at a position.

    position p ─► step p // G, place in the batch p % G
      └► visit: the same for the c crops of a track, which stand in c steps at one place
           └► archive and its how-manieth visit (mixture)
                └► pass, place in the pass ─► track (order)
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, Protocol

import numpy as np

from shards.draw import draw, integers
from shards.errors import InputError
from shards.files import shown
from shards.index import Index
from shards.mixture import Mixture
from shards.order import ORDERS, Order, RandomOrder, WindowedOrder
from shards.select import select
from shards.selection import Rows as Rows
from shards.selection import Selection
from shards.views.view import View

WINDOW_SHARDS = 16
"""Shards of a window where nothing else is said; see `order.window_shards_for`."""


class Plan(Protocol):
    """Position → row, starts, frames, seeds."""

    selection: Selection
    num_views: int
    clip_frames: int

    @property
    def stop(self) -> int | None:
        """Number of positions, None if endless."""
        ...

    def take(self, position: np.ndarray) -> Rows:
        """Plan rows of positions [n]: row [n], start, frames and seed [n, V]."""
        ...

    def located(self, position: np.ndarray) -> Rows:
        """Plan rows with where each track's bytes lie, so that whoever decodes needs no index."""
        ...

    def substitutes(self, position: np.ndarray, j: int) -> Rows | None:
        """Located rows to read instead of unreadable ones at positions [n]; None: leave them."""
        ...


class TrainPlan:
    """Passes over the tracks a view can use, every track once before any repeats.

    With `crops_per_visit` = c a track that is visited gives c rows: at the same place of c
    successive batches, each with draws of its own, so that it is opened once for c steps. No
    batch holds two crops of a visit. At the edge of a pass a batch holds the end of one and the
    begin of the next, and there alone a track may come twice (about G²/4N times for a batch of G
    and N tracks); losses within a batch mask clips of the same row.

    Args:
        tracks: What to draw from; of an archive, what `select` leaves.
        view: Draws the clips.
        seed: Of the order and of every draw.
        order: "random", or "windowed": a few shards at a time.
        window_shards: Shards of a window.
        crops_per_visit: Rows c that a visit to a track gives.
        batch_size: The global batch G; needed if c > 1.
        weights: Of the archives of the selection, each with passes of its own; by default all
            tracks of all archives are one set and visited equally often.
        passes: Passes after which the plan ends, None for an endless one.
    """

    def __init__(
        self,
        tracks: Index | Selection,
        view: View,
        *,
        seed: int = 0,
        order: str = "random",
        window_shards: int = WINDOW_SHARDS,
        crops_per_visit: int = 1,
        batch_size: int | None = None,
        weights: Sequence[float] = (),
        passes: int | None = None,
    ) -> None:
        self.selection = select([tracks], view) if isinstance(tracks, Index) else tracks
        self.view, self.seed, self.passes = view, seed, passes
        self.order, self.window_shards, self.weights = order, window_shards, tuple(weights)
        self.crops_per_visit, self.batch_size = crops_per_visit, batch_size or 1
        self.num_views = view.num_views
        self.clip_frames = view.clip_frames(self.selection.sample_rate)
        self._check()
        origins = self.selection.origins if weights else ()
        self._mixture = Mixture(self.weights) if weights else None
        self._begins = np.array([origin.begin for origin in origins] or [0], np.int64)
        self._sizes = np.diff(np.append(self._begins, len(self.selection)))
        self._orders = [self._order(number) for number in range(len(self._begins))]

    @property
    def stop(self) -> int | None:
        """Number of positions, None if endless."""
        return None if self.passes is None else self.passes * len(self.selection)

    @property
    def rows(self) -> np.ndarray:
        """Rows of all tracks that the plan visits, [N]."""
        return self.selection.columns["row"]

    @property
    def fingerprint(self) -> str:
        """Equal fingerprints, equal rows and draws at every position."""
        return hashlib.sha256(json.dumps(self.describe(), sort_keys=True).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """What decides the plan, part by part, as JSON has it."""
        settings: dict[str, Any] = asdict(self.view) if is_dataclass(self.view) else {}
        windowed, crops = self.order == "windowed", self.crops_per_visit
        return {
            "archives": [origin.fingerprint for origin in self.selection.origins],
            "tracks": len(self.selection),
            "selection": self.selection.sha256,
            "view": type(self.view).__name__,
            **{f"view.{name}": value for name, value in settings.items()},
            "seed": self.seed,
            "order": self.order,
            "window_shards": self.window_shards if windowed else None,
            "shards": self.selection.layout_sha256 if windowed else None,
            "crops_per_visit": crops,
            "batch_size": self.batch_size if crops > 1 else None,
            "weights": Mixture(self.weights).counts.tolist() if self.weights else None,
            "passes": self.passes,
        }

    def take(self, position: np.ndarray) -> Rows:
        """Plan rows of positions [n]."""
        return self._rows(position, self._place(position))

    def located(self, position: np.ndarray) -> Rows:
        """Plan rows with where each track's bytes lie, so that whoever decodes needs no index."""
        return self._located(position, self._place(position))

    def substitutes(self, position: np.ndarray, j: int) -> Rows:
        """Located rows to read instead of unreadable ones: the j-th choice, from 1 on.

        Of the same archive, so that a mixture keeps its proportions, and by the position alone:
        the same in every process.
        """
        archive, _ = self._visit(position)
        bits = draw(self.seed, "substitute", position, j)
        first = self._begins[archive]
        place = integers(bits, first, first + self._sizes[archive] - 1)
        return self._located(position, place)

    def _place(self, position: np.ndarray) -> np.ndarray:
        """Place in the selection of the track at positions [n]."""
        archive, visit = self._visit(position)
        if len(self._orders) == 1:
            return self._orders[0].place(visit)
        place = np.empty_like(visit)
        for number, order in enumerate(self._orders):
            mine = archive == number
            place[mine] = self._begins[number] + order.place(visit[mine])
        return place

    def _visit(self, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Archive of positions [n], and the how-manieth visit to a track of it, [n]."""
        step, place = np.divmod(position, self.batch_size)
        visit = step // self.crops_per_visit * self.batch_size + place
        if self._mixture is None:
            return np.zeros_like(visit), visit
        return self._mixture.of(visit)

    def _rows(self, position: np.ndarray, place: np.ndarray) -> Rows:
        frames = self.selection.frames[place].astype(np.int64)
        start = self.view.draw(self.seed, position, frames, self.selection.sample_rate)
        return {
            "position": position,
            "row": self.selection.row(place),
            "start": start,
            "frames": np.full_like(start, self.clip_frames),
            "seed": draw(self.seed, "view", position[:, None], np.arange(self.num_views)),
        }

    def _located(self, position: np.ndarray, place: np.ndarray) -> Rows:
        return {**self._rows(position, place), **self.selection.located(place)}

    def _order(self, number: int) -> Order:
        size = int(self._sizes[number])
        if self.order == "random":
            return RandomOrder(size, seed=self.seed, number=number)
        begin = int(self._begins[number])
        shard = self.selection.columns["shard"][begin : begin + size]
        return WindowedOrder(shard, window_shards=self.window_shards, seed=self.seed, number=number)

    def _check(self) -> None:
        """Refuse what no plan can be made of."""
        origins = self.selection.origins
        if self.order not in ORDERS or self.window_shards < 1:
            raise InputError(
                f"Want an order of {ORDERS} and windows of 1 shard or more, got {self.order!r} "
                f"and {self.window_shards}."
            )
        if self.crops_per_visit < 1 or (self.crops_per_visit > 1 and self.batch_size == 1):
            raise InputError(
                f"{self.crops_per_visit} crops a visit want the size of the batch, 2 or more."
            )
        if self.crops_per_visit > 1 and self.passes is not None:
            raise InputError("A plan that ends visits each track for one crop.")
        if self.weights and self.passes is not None:
            raise InputError("A mixture has no end: its archives have passes of their own.")
        if self.weights and len(self.weights) != len(origins):
            raise InputError(f"Want {len(origins)} weights, an archive each, got {self.weights}.")
        empty = [shown(origin.path) for origin in origins if origin.begin == origin.end]
        if self.weights and empty:
            raise InputError(f"No track of {', '.join(empty)} can be used: take it out.")


class WindowPlan:
    """Every window of some tracks once, in order: position → row, window.

    The last window may run past the track's end: it is kept if enough of it is inside, or if it
    is the only one.

    Args:
        index: The archive.
        rows: Index rows [n], in the order wanted.
        clip_frames: Samples of a window.
        hop_frames: Samples from start to start; the window's length if None.
        inside: Share of a window that is enough; 0 leaves no sample out.
    """

    num_views = 1

    def __init__(
        self,
        index: Index,
        rows: np.ndarray,
        *,
        clip_frames: int,
        hop_frames: int | None = None,
        inside: float = 0.5,
    ) -> None:
        self.rows, self.clip_frames = rows, clip_frames
        self.hop_frames = hop_frames or clip_frames
        self.selection = Selection.of(index, rows)
        # The last start with enough of a window inside.
        reach = self.selection.frames - max(1, math.ceil(inside * clip_frames))
        self.num_windows = np.maximum(1, reach // self.hop_frames + 1)
        self._ends = np.cumsum(self.num_windows)

    @property
    def stop(self) -> int:
        """Number of windows of all tracks."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def take(self, position: np.ndarray) -> Rows:
        """Plan rows of positions [n]; V = 1."""
        return self._rows(position, self._place(position))

    def located(self, position: np.ndarray) -> Rows:
        """Plan rows with where each track's bytes lie."""
        place = self._place(position)
        return {**self._rows(position, place), **self.selection.located(place)}

    def substitutes(self, position: np.ndarray, j: int) -> None:
        """None: what is judged, or kept, is this track and no other."""

    def _place(self, position: np.ndarray) -> np.ndarray:
        return np.searchsorted(self._ends, position, side="right")

    def _rows(self, position: np.ndarray, place: np.ndarray) -> Rows:
        window = position - (self._ends[place] - self.num_windows[place])
        start = (window * self.hop_frames)[:, None]
        left = self.selection.frames[place][:, None] - start
        return {
            "position": position,
            "row": self.selection.row(place),
            "start": start,
            "frames": np.clip(left, 0, self.clip_frames),
            "seed": np.zeros_like(start),
        }
