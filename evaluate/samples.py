"""Samples: what a protocol is given of a split, vectors of every feature it asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Samples:
    """The tracks of a split.

    Args:
        vectors: Feature's name → float32 [m, D], or [m, K, D] for all layers.
        owner: Track [m] each vector belongs to, as a position in 0 … n-1, ascending; with one
            vector a track it is 0 … n-1 itself.
        rows: Index rows [n] of the tracks, ascending.
        targets: Of the tracks [n] or [n, K]; None where they are not for the protocol to see.
    """

    vectors: dict[str, np.ndarray]
    owner: np.ndarray
    rows: np.ndarray
    targets: np.ndarray | None

    @property
    def only(self) -> np.ndarray:
        """The vectors of the one feature there is."""
        (vectors,) = self.vectors.values()
        return vectors

    @property
    def one_each(self) -> bool:
        """Whether each track has one vector."""
        return np.array_equal(self.owner, np.arange(len(self.rows)))

    @property
    def known_targets(self) -> np.ndarray:
        """Targets of train or valid."""
        assert self.targets is not None
        return self.targets

    def of_feature(self, name: str) -> Samples:
        """The same tracks with one feature alone."""
        return Samples({name: self.vectors[name]}, self.owner, self.rows, self.targets)

    def of_tracks(self, tracks: np.ndarray) -> Samples:
        """Some of the tracks, positions ascending, renumbered."""
        at = np.flatnonzero(np.isin(self.owner, tracks))
        vectors = {name: x[at] for name, x in self.vectors.items()}
        owner = np.searchsorted(tracks, self.owner[at])
        return Samples(vectors, owner, self.rows[tracks], self.known_targets[tracks])

    def window_targets(self) -> np.ndarray:
        """The target of each vector's track, [m] or [m, K]."""
        return np.asarray(self.known_targets[self.owner])
