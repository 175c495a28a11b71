"""embed(): what an encoder makes of tracks or windows, from one pass, kept in parts and resumed.

rows of label sets → parts that are missing → stream → one forward pass → pools and layers → parts
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evaluate.embeddings import Embeddings
from evaluate.extract import extract
from evaluate.features import Feature
from evaluate.forward import PRECISIONS as PRECISIONS
from evaluate.forward import Embedder as Embedder
from evaluate.forward import Extraction as Extraction
from evaluate.forward import device_of as device_of
from evaluate.forward import source_of
from evaluate.job import Job, Unit
from evaluate.job import encoder_sha256 as encoder_sha256
from shards.errors import InputError
from shards.index import Index


def embed(
    encoder: Embedder,
    index: Index,
    rows: np.ndarray,
    *,
    features: Sequence[Feature] = (Feature(),),
    unit: Unit = "track",
    window_s: float | None = None,
    hop_s: float | None = None,
    folder: Path,
    extraction: Extraction | None = None,
) -> dict[str, Embeddings]:
    """Feature's name → embeddings of index rows; what lies in `folder` is not computed again.

    Args:
        encoder: In eval mode, on the extraction's device.
        index: The archive.
        rows: Index rows wanted, in any order.
        features: What to take of the one forward pass.
        unit: A vector a track, the mean over its windows, or a vector a window.
        window_s: Length of a window; the encoder's own clip if None.
        hop_s: From start to start of windows; their length if None.
        folder: Where folders of parts lie, one for each thing that can change a vector.
        extraction: How to read and compute.
    """
    rows = np.unique(np.asarray(rows, np.int64))
    if not len(rows):
        raise InputError("There are no tracks to embed.")
    job = job_of(
        encoder,
        index,
        features=features,
        unit=unit,
        window_s=window_s,
        hop_s=hop_s,
        folder=folder,
        extraction=extraction or Extraction(),
    )
    extract(job, rows)
    wanted, size = job.by_part(rows), job.size(rows)
    found = {
        job.facts[name]["feature"]: parts.read(wanted, job.ids[name], size=size)
        for name, parts in job.parts.items()
    }
    return {feature.name: found[source_of(encoder, feature)] for feature in features}


def embed_tracks(
    encoder: Embedder,
    index: Index,
    rows: np.ndarray,
    *,
    folder: Path,
    window_s: float | None = None,
    extraction: Extraction | None = None,
) -> Embeddings:
    """Mean vectors of tracks by the encoder's default pool (see `embed`)."""
    (found,) = embed(
        encoder, index, rows, folder=folder, window_s=window_s, extraction=extraction
    ).values()
    return found


def job_of(
    encoder: Embedder,
    index: Index,
    *,
    features: Sequence[Feature],
    unit: Unit,
    window_s: float | None,
    hop_s: float | None,
    folder: Path,
    extraction: Extraction,
) -> Job:
    """What `embed` extracts; a feature that is asked for under two names is taken once."""
    window = window_frames(encoder, index, window_s)
    hop = window if hop_s is None else max(1, round(hop_s * index.sample_rate))
    taken: dict[str, Feature] = {}
    for feature in features:
        taken.setdefault(source_of(encoder, feature), feature)
    return Job(
        encoder=encoder,
        index=index,
        features=tuple(taken.values()),
        unit=unit,
        window_frames=window,
        hop_frames=hop,
        folder=folder,
        extraction=extraction,
    )


def window_frames(encoder: Embedder, index: Index, window_s: float | None = None) -> int:
    """Samples of a window at the archive's rate."""
    if window_s is not None:
        return max(1, round(window_s * index.sample_rate))
    return max(1, round(encoder.clip_frames * index.sample_rate / encoder.sample_rate))
