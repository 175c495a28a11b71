"""In which order a pass visits the tracks of an archive: random everywhere, or a window at a time.

An order is a function of (seed, pass): it takes the how-manieth visit, counted over all passes,
and gives the track's place in the selection. Nothing is shuffled and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np

from shards.draw import draw, permute

ORDERS = ("random", "windowed")
MAX_PASSES = 4
BLOCK = 1 << 20


class Order(Protocol):
    """Visit → place; every place of range(size) once a pass."""

    size: int

    def place(self, visit: np.ndarray) -> np.ndarray:
        """Places int64 [n] of visits [n]."""
        ...


class RandomOrder:
    """Any track after any other: right for memory, for SSDs, and for requests of a window each.

    Args:
        size: Number of tracks.
        seed: Of the run.
        number: Which archive of a mixture; each has an order of its own.
    """

    def __init__(self, size: int, *, seed: int, number: int = 0) -> None:
        self.size, self._seed, self._number = size, seed, number

    def place(self, visit: np.ndarray) -> np.ndarray:
        """Places int64 [n] of visits [n]; O(1) each."""
        which_pass, i = np.divmod(visit, self.size)
        return permute(i, self.size, draw(self._seed, "track", which_pass, self._number))


class WindowedOrder:
    """Shards in random order, `window_shards` at a time, and any track of those after any other.

    Only so many shards are in use at a time (twice as many while a batch lies across two
    windows), so disks and stores that hate random reads are read shard by shard. Shards hold
    tracks in the order of a hash, so a window is a fair sample of the archive.

    Args:
        shard: Of each track, [N].
        window_shards: Shards W of a window.
        seed: Of the run.
        number: Which archive of a mixture.
    """

    def __init__(
        self, shard: np.ndarray, *, window_shards: int, seed: int, number: int = 0
    ) -> None:
        self.size, self._seed, self._number = len(shard), seed, number
        self._window_shards = window_shards
        self._tracks = _by_shard(shard)
        sizes = _tracks_of_shards(shard)
        self._sizes = sizes[sizes > 0]
        self._first = np.cumsum(self._sizes) - self._sizes
        self._pass = lru_cache(maxsize=MAX_PASSES)(self._shards_of_pass)

    def place(self, visit: np.ndarray) -> np.ndarray:
        """Places int64 [n] of visits [n]; O(log shards) each."""
        which_pass, i = np.divmod(visit, self.size)
        place = np.empty_like(i)
        for one in np.unique(which_pass):  # one, or two at the edge of a pass
            mine = which_pass == one
            place[mine] = self._place(int(one), i[mine])
        return place if self._tracks is None else self._tracks[place].astype(np.int64)

    def _place(self, which_pass: int, i: np.ndarray) -> np.ndarray:
        shards, begins, edges = self._pass(which_pass)
        window = np.searchsorted(edges, i, side="right") - 1
        begin, end = edges[window], edges[window + 1]
        key = draw(self._seed, "window", self._key(which_pass), window)
        i = begin + permute(i - begin, end - begin, key)
        nth = np.searchsorted(begins, i, side="right") - 1
        return np.asarray(self._first[shards[nth]] + i - begins[nth])

    def _shards_of_pass(self, which_pass: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The shards in the order of a pass, how many tracks come before each, windows' edges."""
        count = len(self._sizes)
        key = np.broadcast_to(self._key(which_pass), count)
        shards = permute(np.arange(count), count, key)
        ends = np.cumsum(self._sizes[shards])
        begins = ends - self._sizes[shards]
        return shards, begins, np.append(begins[:: self._window_shards], self.size)

    def _key(self, which_pass: int) -> np.ndarray:
        return np.asarray(draw(self._seed, "shards", np.array(which_pass), self._number))


def _tracks_of_shards(shard: np.ndarray) -> np.ndarray:
    """Tracks of each shard, a block at a time: numpy would widen the whole column."""
    counts = np.zeros(int(shard.max(initial=0)) + 1, np.int64)
    for at in range(0, len(shard), BLOCK):
        counts += np.bincount(shard[at : at + BLOCK], minlength=len(counts))
    return counts


def _by_shard(shard: np.ndarray) -> np.ndarray | None:
    """Tracks shard by shard; None if they lie so already, as those of a single build do."""
    blocks = (shard[at : at + BLOCK + 1] for at in range(0, len(shard), BLOCK))
    if all((block[1:] >= block[:-1]).all() for block in blocks):
        return None
    return np.argsort(shard, kind="stable").astype(np.uint32 if len(shard) < 2**32 else np.int64)


def window_shards_for(shard_bytes: Sequence[int], cache_bytes: float) -> int:
    """Shards W of a window such that two windows lie in a cache of so many bytes, at least 1.

    Two, for a batch may lie across an edge. A function of the archive and of a flag, not of the
    machine: the order must not change when the run moves.
    """
    mean = sum(shard_bytes) / max(1, len(shard_bytes))
    return max(1, int(cache_bytes / 2 / max(mean, 1.0)))
