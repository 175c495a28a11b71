"""Embeddings as one Parquet file, written part by part, that says what made it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluate.embeddings import SHAPE, Embeddings
from evaluate.job import Job
from shards.files import publishing

CARD = "wholetone"
"""What the metadata of a file call the facts that made it, as JSON."""


@dataclass(frozen=True)
class Written:
    """What was written: shape of an embedding, windows that are in it, rows that are not."""

    shape: list[int]
    windows: int
    unread: np.ndarray


def write_table(job: Job, name: str, rows: np.ndarray, path: Path, *, command: str) -> Written:
    """Publish the embeddings of a feature for index rows; memory holds a part at a time."""
    pieces = job.parts[name].pieces(job.by_part(rows), job.ids[name])
    first = next(pieces)
    shape = list(first.vectors.shape[1:])
    card = {**job.facts[name], "id": job.ids[name], "name": job.encoder.name, "shape": shape}
    card |= {"sample_rate": job.index.sample_rate, "command": command}
    schema = _schema(job, int(np.prod(shape))).with_metadata(
        {CARD: json.dumps(card), SHAPE: json.dumps(shape)}
    )
    windows, unread = 0, []
    with (
        publishing(path) as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for piece in (first, *pieces):
            writer.write_table(_table(job, piece, schema))
            windows += int(piece.windows.sum())
            unread.append(piece.unread)
    return Written(shape, windows, np.concatenate(unread))


def _schema(job: Job, width: int) -> pa.Schema:
    of_track = [("windows", pa.int32())]
    of_window = [("window", pa.int32()), ("start_s", pa.float64())]
    return pa.schema(
        [
            ("key", pa.string()),
            ("row", pa.int64()),
            *(of_track if job.unit == "track" else of_window),
            ("embedding", pa.list_(pa.float32(), width)),
        ]
    )


def _table(job: Job, piece: Embeddings, schema: pa.Schema) -> pa.Table:
    """What could be read of a piece, as a table."""
    read = piece.windows > 0
    flat = pa.array(piece.vectors[read].reshape(-1), pa.float32())
    columns = {
        "key": pa.array(job.index.column("key")[piece.rows[read]], pa.string()),
        "row": piece.rows[read],
        "windows": piece.windows[read],
        "embedding": pa.FixedSizeListArray.from_arrays(
            flat, schema.field("embedding").type.list_size
        ),
    }
    if piece.window is not None:
        columns["window"] = piece.window[read]
        columns["start_s"] = piece.window[read] * job.hop_frames / job.index.sample_rate
    return pa.table([columns[name] for name in schema.names], schema=schema)
