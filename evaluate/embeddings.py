"""Embeddings of tracks or of their windows, and the parts they are kept in.

A part holds what belongs to a fixed range of index rows. It appears whole or not at all; tracks
that a later call adds are embedded alone and merged in.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from shards.errors import InputError
from shards.files import parse_parquet, shown, write_parquet

PART_ROWS = 512
PART_WINDOWS = 2048
"""Index rows, and about how many windows, a part: what a kill costs, and what memory holds."""

SHAPE = "shape"
"""What a table's metadata calls the shape of an embedding, which is kept flat: [D] or [K, D]."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Embeddings:
    """Vectors of tracks by index row, or of windows by row and number.

    Args:
        id: What they depend on, hashed: encoder, archive, window, hop, feature, unit.
        rows: Index rows [n], ascending; of windows each row once for each window.
        vectors: float32 [n, D], or [n, K, D] with all layers.
        windows: Windows averaged a vector [n]; 0 where none could be read.
        window: Number [n] of each window in its track; None where a vector is a track's.
    """

    id: str
    rows: np.ndarray
    vectors: np.ndarray
    windows: np.ndarray
    window: np.ndarray | None = None

    def known(self, rows: np.ndarray) -> np.ndarray:
        """Which of these rows have a vector, bool [n]."""
        return np.isin(rows, self.rows[self.windows > 0])

    def of(self, rows: np.ndarray) -> np.ndarray:
        """Vectors [n, …] of known rows [n]; of tracks only."""
        assert self.window is None
        assert self.known(rows).all()
        return np.asarray(self.vectors[np.searchsorted(self.rows, rows)])

    def of_windows(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vectors [m, …] of all windows of known rows [n], and each one's place in `rows`, [m]."""
        assert self.known(rows).all()
        first, behind = (np.searchsorted(self.rows, rows, side) for side in ("left", "right"))
        counts = behind - first
        owner = np.repeat(np.arange(len(rows)), counts)
        at = np.arange(len(owner)) + np.repeat(first - np.cumsum(counts) + counts, counts)
        read = self.windows[at] > 0
        return np.asarray(self.vectors[at[read]]), owner[read]

    @property
    def unread(self) -> np.ndarray:
        """Rows of which no window could be read."""
        return np.setdiff1d(self.rows, self.rows[self.windows > 0])


def part_of_row(num_windows: np.ndarray) -> np.ndarray:
    """Number of the part of each index row, from the windows that each row has, [N]."""
    rows = np.arange(len(num_windows)) // PART_ROWS
    windows = (np.cumsum(num_windows) - num_windows) // PART_WINDOWS
    begins = (np.diff(rows, prepend=0) > 0) | (np.diff(windows, prepend=0) > 0)
    return np.cumsum(begins)


class Parts:
    """Parquet files of embeddings below a folder, each with what belongs to a range of rows.

    Args:
        folder: Where they lie.
        of_windows: Whether a vector belongs to a window, or to a track.
    """

    def __init__(self, folder: Path, *, of_windows: bool) -> None:
        self.folder = folder
        self.by = ["row", "window"] if of_windows else ["row"]

    def path(self, number: int) -> Path:
        """File of a part."""
        return self.folder / f"part-{number:06d}.parquet"

    def missing(self, number: int, rows: np.ndarray) -> np.ndarray:
        """Those of `rows` that the part does not hold; a damaged part holds nothing."""
        table = self._table(number)
        return rows if table is None else np.setdiff1d(rows, table["row"].to_numpy())

    def add(self, number: int, fresh: Embeddings) -> None:
        """Publish the part with these tracks added."""
        shape = fresh.vectors.shape[1:]
        flat = pa.array(fresh.vectors.reshape(-1), pa.float32())
        columns = {"row": pa.array(fresh.rows, pa.int64())}
        if fresh.window is not None:
            columns["window"] = pa.array(fresh.window, pa.int32())
        columns["windows"] = pa.array(fresh.windows, pa.int32())
        columns["embedding"] = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(shape)))
        table, before = pa.table(columns), self._table(number)
        if before is not None:
            table = pa.concat_tables([before.cast(table.schema), table])
        table = table.sort_by([(name, "ascending") for name in self.by]).combine_chunks()
        write_parquet(self.path(number), table.replace_schema_metadata({SHAPE: json.dumps(shape)}))

    def pieces(self, wanted: Sequence[tuple[int, np.ndarray]], id_: str) -> Iterator[Embeddings]:
        """What each part (number, rows) holds of these rows; `InputError` if it lacks some."""
        for number, rows in wanted:
            table = self._table(number)
            if table is None or len(np.setdiff1d(rows, table["row"].to_numpy())):
                raise InputError(
                    f"{shown(self.path(number))} does not hold all of its tracks yet: another "
                    "process works at them, or was stopped. Run the same command again."
                )
            table = table.filter(pa.array(np.isin(table["row"].to_numpy(), rows)))
            yield Embeddings(
                id_,
                table["row"].to_numpy(),
                _vectors(table),
                table["windows"].to_numpy(),
                table["window"].to_numpy() if "window" in self.by else None,
            )

    def read(self, wanted: Sequence[tuple[int, np.ndarray]], id_: str, *, size: int) -> Embeddings:
        """All pieces as one, of `size` vectors; in memory once, not twice."""
        columns: dict[str, np.ndarray] = {}
        at = 0
        for piece in self.pieces(wanted, id_):
            for name, column in vars(piece).items():
                if isinstance(column, np.ndarray):
                    if name not in columns:
                        columns[name] = np.empty((size, *column.shape[1:]), column.dtype)
                    columns[name][at : at + len(column)] = column
            at += len(piece.rows)
        assert at == size
        return Embeddings(id_, **columns)

    def _table(self, number: int) -> pa.Table | None:
        """What a part holds so far, None if it is not there or damaged."""
        path = self.path(number)
        try:
            table = parse_parquet(path)
        except FileNotFoundError:
            return None
        except (OSError, pa.ArrowException) as error:
            log.warning("%s is computed again: %s", shown(path), " ".join(str(error).split()))
            return None
        return table if table.schema.names == [*self.by, "windows", "embedding"] else None


def _vectors(table: pa.Table) -> np.ndarray:
    """Embeddings float32 [n, …] in the shape that the table states."""
    column = table["embedding"].combine_chunks()
    shape = json.loads(table.schema.metadata[SHAPE.encode()])
    return np.asarray(column.flatten().to_numpy()).reshape(len(table), *shape)
