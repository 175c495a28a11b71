"""Near duplicates by fingerprint: an inverted index of landmarks, then a check of every pair.

Sorting all landmarks by hash makes the index. A track is compared with those that share its hashes,
at most 2 · REACH tracks a hash, however common that is: work and memory grow with the number of
tracks, not its square. Each of these pairs must then share enough landmarks at one and the same
offset in time (Wang, ISMIR 2003), all along the track and not just where both play one sample, so
that no cluster hangs together by chance. What is not found are tracks with fewer than MIN_SHARED
landmarks left in common, such as pure tones, and excerpts of less than about a fifth of a track.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from ingest.forest import Forest
from ingest.sketch import SIZE, VERSION
from shards.errors import InputError

MIN_SHARED = 12
"""Landmarks at one offset: second encodes of real music have 25 and more, other pairs 9 at most."""

MIN_SHARE = 0.1
"""Of the landmarks that could be shared: second encodes have 0.16 and more."""

MIN_SPREAD = 0.5
"""Of the places that so many landmarks should fall on; a sample that two pieces share is one."""

PLACE = 8  # frames: a quarter of a second
TOLERANCE = 2  # frames of 32 ms between offsets that count as one
MIN_COMMON = 6  # hashes that make a pair worth a check
REACH = 8  # tracks of a hash that are tried from the first on, and again from the last back

INDEX_TRACKS = 2_048  # looked up at once
CHECK_PAIRS = 4_096  # checked at once

Fingerprints: TypeAlias = Sequence[bytes] | pa.Array | pa.ChunkedArray


class Sketches:
    """Fingerprints side by side, padded: hashes [tracks, SIZE], times [tracks, SIZE], counts."""

    def __init__(self, fingerprints: Fingerprints) -> None:
        size = len(fingerprints)
        self.hashes = np.full((size, SIZE), 0xFFFFFFFF, np.uint32)
        self.times = np.zeros((size, SIZE), np.uint16)
        self.counts = np.zeros(size, np.int64)
        for row, data in enumerate(_each(fingerprints)):
            count = _count(data)
            self.counts[row] = count
            self.hashes[row, :count] = np.frombuffer(data, "<u4", count, 4)
            self.times[row, :count] = np.frombuffer(data, "<u2", count, 4 + 4 * count)

    def __len__(self) -> int:
        return len(self.counts)

    def entries(self, start: int, stop: int) -> np.ndarray:
        """Landmarks of a range of tracks as hash << 32 | track, ascending, uint64."""
        hashes = self.hashes[start:stop].astype(np.uint64) << 32
        real = np.arange(SIZE) < self.counts[start:stop, None]
        found = (hashes | np.arange(start, min(stop, len(self)), dtype=np.uint64)[:, None])[real]
        found.sort()
        return found

    def index(self) -> np.ndarray:
        """`entries` of all tracks."""
        found = np.empty(self.counts.sum(), np.uint64)
        filled = 0
        for start in range(0, len(self), INDEX_TRACKS):
            part = self.entries(start, start + INDEX_TRACKS)
            found[filled : filled + len(part)] = part
            filled += len(part)
        found.sort()
        return found


def near_duplicates(fingerprints: Fingerprints, *, pcm_sha256: Sequence[str] = ()) -> np.ndarray:
    """For each track the first track of its cluster, itself if alone, int64 [tracks].

    A cluster is what accepted pairs connect; with `pcm_sha256`, so do equal samples, which joins
    tracks too short or too quiet for a fingerprint.
    """
    sketches = Sketches(fingerprints)
    pairs, _ = _accepted(sketches, sketches, same=True)
    if len(pcm_sha256):
        _, first, inverse = np.unique(
            np.asarray(pcm_sha256, "S64"), return_index=True, return_inverse=True
        )
        equal = np.stack([np.arange(len(sketches)), first[inverse]], axis=1)
        pairs = np.concatenate([pairs, equal])
    forest = Forest(len(sketches))
    for a, b in pairs[pairs[:, 0] != pairs[:, 1]].tolist():
        forest.unite(a, b)
    return np.array([forest.root(track) for track in range(len(sketches))], np.int64)


def matches(tracks: Fingerprints, others: Fingerprints) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a track and another archive's, int64 [pairs, 2], and their shares of landmarks.

    A track with a near duplicate among the others is in at least one pair, not in a pair with each.
    """
    return _accepted(Sketches(tracks), Sketches(others), same=False)


def _accepted(queries: Sketches, others: Sketches, *, same: bool) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that share enough, and their shares; with `same`, of a track and an earlier one."""
    index = others.index()
    pairs, shares = [np.zeros((0, 2), np.int64)], [np.zeros(0)]
    for start in range(0, len(queries), INDEX_TRACKS):
        entries = queries.entries(start, start + INDEX_TRACKS)
        found = candidates(entries, index, same=same)
        for chunk in range(0, len(found), CHECK_PAIRS):
            some = found[chunk : chunk + CHECK_PAIRS]
            shared, share = compare(queries, some[:, 0], others, some[:, 1])
            good = np.flatnonzero((shared >= MIN_SHARED) & (share >= MIN_SHARE))
            wide = spread(queries, some[good, 0], others, some[good, 1]) >= MIN_SPREAD
            pairs.append(some[good[wide]])
            shares.append(share[good[wide]])
    return np.concatenate(pairs), np.concatenate(shares)


def candidates(entries: np.ndarray, index: np.ndarray, *, same: bool) -> np.ndarray:
    """Pairs of a track in `entries` and one in the index with common hashes, int64 [pairs, 2]."""
    low = np.searchsorted(index, entries >> 32 << 32)
    high = np.searchsorted(index, entries if same else entries | 0xFFFFFFFF, side="left")
    tracks = entries << 32
    keys = []
    for step in range(2 * REACH):
        live = high - low > step
        entries, low, high, tracks = entries[live], low[live], high[live], tracks[live]
        place = low + step if step < REACH else high - 1 - (step - REACH)
        keys.append(tracks | (index[place] & 0xFFFFFFFF))
    pairs, common = np.unique(np.concatenate(keys), return_counts=True)
    pairs = pairs[common >= MIN_COMMON]
    return np.stack([pairs >> 32, pairs & 0xFFFFFFFF], axis=1).astype(np.int64)


def compare(
    a: Sketches, rows_a: np.ndarray, b: Sketches, rows_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks that each pair shares at one offset, and their share of those it could, [pairs]."""
    pair, offset, *_ = _common(a, rows_a, b, rows_b)
    keys, at_once = _at_once(pair, offset)
    shared = np.zeros(len(rows_a), np.int64)
    np.maximum.at(shared, keys >> 20, at_once)
    # Above the larger hash of a full sketch, the other's landmarks have nothing to meet.
    limit = np.minimum(_last(a, rows_a), _last(b, rows_b))[:, None]
    could = np.minimum(
        np.count_nonzero(a.hashes[rows_a] <= limit, axis=1),
        np.count_nonzero(b.hashes[rows_b] <= limit, axis=1),
    )
    could = np.minimum(could, np.minimum(a.counts[rows_a], b.counts[rows_b]))
    return shared, shared / np.maximum(1, could)


def spread(a: Sketches, rows_a: np.ndarray, b: Sketches, rows_b: np.ndarray) -> np.ndarray:
    """How far the landmarks at one offset lie apart: their places over those expected, [pairs].

    Draws from p places fall on p (1 - (1 - 1 / p)^draws) of them; the side that has less counts.
    """
    pair, offset, *times = _common(a, rows_a, b, rows_b)
    keys, at_once = _at_once(pair, offset)
    order = np.lexsort((-at_once, keys >> 20))
    found, best = np.unique(keys[order] >> 20, return_index=True)
    low = np.zeros(len(rows_a), np.int64)
    low[found] = keys[order[best]] & 0xFFFFF
    inside = (offset >= low[pair]) & (offset <= low[pair] + TOLERANCE)
    pair, draws = pair[inside], np.bincount(pair[inside], minlength=len(rows_a))
    ratios = []
    for sketches, rows, time in ((a, rows_a, times[0]), (b, rows_b, times[1])):
        places = np.unique((pair << 16) | (time[inside] // PLACE))
        hit = np.bincount(places >> 16, minlength=len(rows_a))
        there = np.maximum(1, _places(sketches, rows))
        ratios.append(hit / np.maximum(1e-9, there * (1 - (1 - 1 / there) ** draws)))
    return np.asarray(np.minimum(*ratios))


def _places(sketches: Sketches, rows: np.ndarray) -> np.ndarray:
    """Places that a track's landmarks fall on, [rows]."""
    places = sketches.times[rows].astype(np.int64) // PLACE
    places[np.arange(SIZE) >= sketches.counts[rows, None]] = -1
    places.sort(axis=1)
    return np.asarray(np.count_nonzero(np.diff(places, axis=1, prepend=-1) > 0, axis=1))


def _at_once(pair: np.ndarray, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair << 20 | offset, ascending; how many of its pair's offsets are as large or a bit more."""
    keys = np.sort((pair << 20) | offset)
    return keys, np.searchsorted(keys, keys + TOLERANCE, side="right") - np.arange(len(keys))


def _common(
    a: Sketches, rows_a: np.ndarray, b: Sketches, rows_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each hash of a pair in common: the pair's number, offset (0 to 65535) and both times."""
    sides = []
    for side, (sketches, rows) in enumerate(((a, rows_a), (b, rows_b))):
        keys = (sketches.hashes[rows].astype(np.int64) << 17) | (side << 16) | sketches.times[rows]
        padding = np.arange(SIZE) >= sketches.counts[rows, None]
        keys[padding] = (1 + side) << 50  # equal to nothing of the other side
        sides.append(keys)
    keys = np.sort(np.concatenate(sides, axis=1), axis=1)
    # A hash occurs once a side: equal neighbours are one of each.
    pair, place = np.nonzero((keys[:, :-1] >> 17 == keys[:, 1:] >> 17) & (keys[:, 1:] < 1 << 50))
    time_a, time_b = keys[pair, place] & 0xFFFF, keys[pair, place + 1] & 0xFFFF
    offset = (time_a - time_b + (1 << 15)) & 0xFFFF  # no offset lies in the middle
    return pair, offset, time_a, time_b


def _last(sketches: Sketches, rows: np.ndarray) -> np.ndarray:
    """The largest hash of full sketches; all hashes of the others are known."""
    full = sketches.counts[rows] == SIZE
    return np.where(full, sketches.hashes[rows, -1], 0xFFFFFFFF)


def _each(fingerprints: Fingerprints) -> Iterator[bytes]:
    """The fingerprints as bytes; of an Arrow array only some at once."""
    if not isinstance(fingerprints, pa.Array | pa.ChunkedArray):
        yield from fingerprints
        return
    for start in range(0, len(fingerprints), INDEX_TRACKS):
        yield from fingerprints.slice(start, INDEX_TRACKS).to_pylist()


def _count(data: bytes) -> int:
    """Landmarks of a fingerprint; one of another version or length is refused."""
    version, count = np.frombuffer(data[:4], "<u2") if len(data) >= 4 else (0, 0)
    if version != VERSION:
        raise InputError(
            f"A fingerprint has version {version}, this wholetone compares version {VERSION}: "
            "pack the audio again with `ingest build-shards`."
        )
    if count > SIZE or len(data) != 4 + 6 * int(count):
        raise InputError(
            f"A fingerprint of {count} landmarks has {len(data)} bytes, want {4 + 6 * int(count)} "
            f"and at most {SIZE} landmarks: it is damaged, pack the audio again."
        )
    return int(count)
