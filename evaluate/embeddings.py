"""Embeddings of tracks, and the parts they are kept in.

A part holds the tracks of a fixed range of index rows. It appears whole or not at all; tracks that
a later call adds are embedded alone and merged in.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from shards.errors import InputError
from shards.files import read_parquet, shown, write_parquet

PART_ROWS = 512
"""Index rows a part: what a kill costs at most, and what is held in memory."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embeddings:
    """Vectors of tracks by index row.

    Args:
        id: What they depend on, hashed: encoder, archive, window, pooling.
        rows: Index rows [n], ascending.
        vectors: float32 [n, D].
        windows: Windows averaged a track [n]; 0 where no window could be read.
    """

    id: str
    rows: np.ndarray
    vectors: np.ndarray
    windows: np.ndarray

    def known(self, rows: np.ndarray) -> np.ndarray:
        """Which of these rows have a vector, bool [n]."""
        return np.isin(rows, self.rows[self.windows > 0])

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Vectors [n, D] of known rows [n]."""
        assert self.known(rows).all()
        return np.asarray(self.vectors[np.searchsorted(self.rows, rows)])

    @property
    def unread(self) -> np.ndarray:
        """Rows of which no window could be read."""
        return np.asarray(self.rows[self.windows == 0])


class Parts:
    """Parquet files of embeddings below a folder, each with the tracks of a range of rows."""

    def __init__(self, folder: Path, dim: int) -> None:
        self.folder = folder
        self.schema = pa.schema(
            [
                ("row", pa.int64()),
                ("windows", pa.int32()),
                ("embedding", pa.list_(pa.float32(), dim)),
            ]
        )

    def path(self, number: int) -> Path:
        """File of a part."""
        return self.folder / f"part-{number:06d}.parquet"

    def table(self, number: int) -> pa.Table:
        """What a part holds so far; a damaged one is made again."""
        if self.path(number).exists():
            try:
                return read_parquet(self.path(number)).cast(self.schema)
            except (InputError, pa.ArrowException) as error:
                log.warning("%s is computed again: %s", shown(self.path(number)), error)
        return self.schema.empty_table()

    def missing(self, number: int, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` that the part does not hold."""
        return np.setdiff1d(rows, self.table(number)["row"].to_numpy())

    def add(self, number: int, rows: np.ndarray, vectors: np.ndarray, windows: np.ndarray) -> None:
        """Publish the part with these tracks added."""
        flat = pa.array(vectors.reshape(-1), pa.float32())
        columns = {
            "row": pa.array(rows),
            "windows": pa.array(windows, pa.int32()),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
        fresh = pa.table(columns, schema=self.schema)
        merged = pa.concat_tables([self.table(number), fresh]).sort_by("row").combine_chunks()
        write_parquet(self.path(number), merged)

    def read(self, id_: str, rows: np.ndarray) -> Embeddings:
        """The embeddings of `rows`, all of which are there."""
        vectors, windows = [], []
        for number, some in by_part(rows):
            table = self.table(number)
            at = np.searchsorted(table["row"].to_numpy(), some)
            column = table["embedding"].combine_chunks()
            vectors.append(column.flatten().to_numpy().reshape(len(table), -1)[at])
            windows.append(table["windows"].to_numpy()[at])
        return Embeddings(id_, rows, np.concatenate(vectors), np.concatenate(windows))


def by_part(rows: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Rows [n], ascending, cut into (number of the part, its rows)."""
    numbers = rows // PART_ROWS
    return [(int(number), rows[numbers == number]) for number in np.unique(numbers)]
