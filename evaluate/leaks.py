"""Tracks of test that are also in train or valid: the same samples, or the same sound."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from shards.files import shown
from shards.index import Index
from shards.labels import Labels

EXACT = ("duplicate_of",)
NEAR = ("duplicate_of", "near_duplicate_of")
"""Columns of the index, each the key of the first such track; a twin of a twin is a twin."""


@dataclass(frozen=True)
class Leak:
    """A test track that the probe has met.

    Args:
        test: Source of the test track.
        twin: Source of the track it met.
        split: Where that stands, train or valid.
        exact: Whether the samples are equal; else they sound the same.
    """

    test: str
    twin: str
    split: str
    exact: bool


def leaks(index: Index, labels: Labels) -> list[Leak]:
    """Test tracks with a twin in train or valid, in the order of the index; a line a track."""
    found: dict[int, Leak] = {}
    source = index.column("source")
    for columns in (EXACT, NEAR):
        kin = clusters(index, columns)
        for split in ("train", "valid"):
            first = {int(kin[row]): row for row in labels.rows(split)[::-1]}
            for row in labels.rows("test"):
                twin = first.get(int(kin[row]))
                if twin is not None and int(row) not in found:
                    names = shown(source[row]), shown(source[twin])
                    found[int(row)] = Leak(*names, split, exact=columns is EXACT)
    return [found[row] for row in sorted(found)]


def clusters(index: Index, columns: tuple[str, ...]) -> np.ndarray:
    """Number of the cluster [N] that links of these columns put each track in."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    keys = index.arrow("key")
    heads, tails = [], []
    for column in columns:
        of = np.asarray(pc.fill_null(pc.index_in(index.arrow(column), value_set=keys), -1))
        heads.append(np.flatnonzero(of >= 0))
        tails.append(of[of >= 0])
    pairs = np.concatenate(heads), np.concatenate(tails)
    graph = coo_matrix((np.ones(len(pairs[0]), bool), pairs), shape=(len(index), len(index)))
    return np.asarray(connected_components(graph, directed=False)[1])
