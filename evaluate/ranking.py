"""How well vectors find the other versions of a piece: each track asks, all others are ranked.

By cosine. Equal cosines count against: other pieces stand before versions, so that vectors which
are all alike earn the least. A track without a second version does not ask, but stands in the way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

COLUMNS = ("ap", "hits10", "rank1")
"""Of each track: average precision over the whole ranking, versions among the first ten, and the
rank of the first version from 1 (Yu et al., 2020, CQTNet). All NaN for a track that asks not."""

DECIMALS = 12
"""Cosines that agree so far are equal; beyond, a matrix product is noise."""

BLOCK = 256


def rankings(vectors: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """The columns [n, 3] of tracks with vectors [n, D] that are of pieces [n]."""
    wide = vectors.astype(np.float64)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    units = np.divide(wide, length, out=np.zeros_like(wide), where=length > 0)
    results = np.full((len(vectors), len(COLUMNS)), np.nan)
    for begin in range(0, len(units), BLOCK):
        cosines = np.round(units[begin : begin + BLOCK] @ units.T, DECIMALS)
        for track, row in enumerate(cosines, begin):
            version = pieces == pieces[track]
            version[track] = False
            if version.any():
                others = pieces != pieces[track]
                results[track] = _of_query(row[version], row[others])
    return results


def _of_query(versions: np.ndarray, others: np.ndarray) -> tuple[float, float, float]:
    """The columns of one track from the cosines of its versions and of all else."""
    near_first = np.sort(versions)[::-1]
    found = np.arange(1, len(versions) + 1)
    rank = found + (others >= near_first[:, None]).sum(axis=1)
    return float((found / rank).mean()), float((rank <= 10).sum()), float(rank[0])


def over_queries(column: str, outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean [S] of a column of rankings [n, 3] over the tracks that ask, under weights [S, n].

    Weights draw who asks; among whom versions are found stays. NaN for a draw in which none asks.
    """
    values = outputs[:, COLUMNS.index(column)]
    asks = ~np.isnan(values)
    total, asked = weights[:, asks] @ values[asks], weights[:, asks].sum(axis=1)
    return np.asarray(np.divide(total, asked, out=np.full(len(total), np.nan), where=asked > 0))


def precision_at_10(outputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share [S] of versions among the ten nearest: all ten, however few versions there are."""
    return over_queries("hits10", outputs, weights) / 10


PIECE_SCORES: dict[str, tuple[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "map": ("MAP", partial(over_queries, "ap")),
    "p10": ("P@10", precision_at_10),
    "mr1": ("MR1", partial(over_queries, "rank1")),  # lower is better
}
"""Name of a metric → its title, and the score [S] of rankings [n, 3] under weights [S, n]."""
