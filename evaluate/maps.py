"""Maps: track embeddings laid out in the plane by t-SNE, to be coloured by class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from evaluate.embeddings import Embeddings
from evaluate.scaler import Scaler
from evaluate.verdict import Verdict
from shards.labels import Labels

MAX_POINTS = 2000


@dataclass(frozen=True)
class Map:
    """Vectors of a label set's tracks and their classes.

    Args:
        label: Name of the label set.
        classes: Names [K].
        rows: Index rows [n].
        vectors: Embeddings [n, D].
        targets: Classes [n].
    """

    label: str
    classes: list[str]
    rows: np.ndarray
    vectors: np.ndarray
    targets: np.ndarray

    @classmethod
    def of(cls, labels: Labels, verdict: Verdict, features: Mapping[str, Embeddings]) -> Map:
        """All tracks of a label set by their first feature, of layers the last.

        Those of test are as the verdict was given them.
        """
        embeddings = next(iter(features.values()))
        rows, targets = [verdict.rows], [verdict.targets]
        for split in ("train", "valid"):
            known = embeddings.known(labels.rows(split))
            rows.append(labels.rows(split)[known])
            targets.append(labels.targets(split)[known])
        at = np.concatenate(rows)
        vectors = embeddings.of(at)
        vectors = vectors[:, -1] if vectors.ndim == 3 else vectors
        return cls(labels.name, labels.classes, at, vectors, np.concatenate(targets))

    def thinned(self, *, seed: int) -> Map:
        """The same with at most 2000 tracks, drawn at random, in the order of their rows."""
        chosen = np.random.default_rng(seed).permutation(len(self.rows))[:MAX_POINTS]
        chosen = chosen[np.argsort(self.rows[chosen])]
        return Map(
            self.label, self.classes, self.rows[chosen], self.vectors[chosen], self.targets[chosen]
        )


def layout(vectors: np.ndarray, *, seed: int) -> np.ndarray:
    """Places [n, 2] of vectors [n, D]: standardised, 50 principal components, t-SNE.

    van der Maaten and Hinton, 2008; distances between far groups and sizes of groups mean nothing.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    scaled = Scaler.fit(vectors)(vectors).numpy()
    components = min(50, *scaled.shape)
    if len(scaled) < 4 or not scaled.any():
        return np.zeros((len(scaled), 2))
    reduced = PCA(components, random_state=seed).fit_transform(scaled)
    perplexity = min(30.0, (len(scaled) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed)
    return np.asarray(tsne.fit_transform(reduced))
