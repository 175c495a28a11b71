"""ColumnFile: a Parquet file of which a column is read when asked for, and whose footer is proved.

Pages carry checksums, the footer does not: whoever keeps its SHA-256 can tell at once, without
reading a page, that a file is the one that was written, and any later damage is found when read.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import InputError
from shards.files import arrow_buffer, shown
from shards.place import Place

FETCHED_BYTES = 32 << 20
"""Up to this size a file of a store is fetched by one request, not by one for each column."""

_MAGIC = b"PAR1"


class ColumnFile:
    """An open Parquet file; safe for threads.

    Args:
        path: The file.
        size: Its bytes as somebody vouches for, None if nobody does.
        remedy: What to do when it is damaged.
    """

    def __init__(self, path: Place, *, size: int | None = None, remedy: str = "") -> None:
        self._path, self._remedy = path, remedy
        self._lock = threading.Lock()
        with self._damage():
            source = _source(path, size)
            if size not in (None, source.size()):
                raise OSError(f"it has {source.size()} bytes, want {size}")
            self.footer_sha256 = footer_sha256(source)
            # Not memory_map: a page would be read behind its checksum's back.
            self._file = pq.ParquetFile(source, page_checksum_verification=True)
            self.schema: pa.Schema = self._file.schema_arrow
        self.num_rows = int(self._file.metadata.num_rows)
        self.first_rows = [0]
        for group in range(self._file.num_row_groups):
            rows = self._file.metadata.row_group(group).num_rows
            self.first_rows.append(self.first_rows[-1] + rows)
        self._group = lru_cache(maxsize=2)(self.read_group)

    def read(self, names: list[str] | None = None) -> pa.Table:
        """Columns by name, or all, without metadata."""
        with self._lock, self._damage():
            return self._file.read(columns=names).replace_schema_metadata(None)

    def groups(self, names: list[str]) -> Iterator[tuple[int, pa.Table]]:
        """Columns by name, row group by row group, each with the number of its first row."""
        for group, first in enumerate(self.first_rows[:-1]):
            yield first, self.read_group(group, tuple(names))

    def only_value(self, group: int, name: str) -> Any:
        """The value that all rows of a group have, None if the footer does not say so."""
        known = self._file.metadata.row_group(group).column(self.schema.get_field_index(name))
        facts = known.statistics
        if facts is None or not facts.has_min_max or facts.null_count or facts.min != facts.max:
            return None
        return facts.min

    def row(self, number: int, names: tuple[str, ...]) -> dict[str, object]:
        """One row, of which only its row group is read."""
        group = next(g for g, first in enumerate(self.first_rows[1:]) if number < first)
        table = self._group(group, names)
        place = number - self.first_rows[group]
        return {name: table.column(name)[place].as_py() for name in names}

    def read_group(self, group: int, names: tuple[str, ...]) -> pa.Table:
        """Columns of a row group."""
        with self._lock, self._damage():
            return self._file.read_row_group(group, columns=list(names))

    @contextmanager
    def _damage(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise InputError(
                f"{shown(self._path)} does not exist. {self._remedy}".rstrip()
            ) from None
        except (OSError, ValueError, pa.ArrowException) as error:
            why = " ".join(str(error).split())  # Arrow's messages have several lines
            raise InputError(
                f"{shown(self._path)} is damaged: {why}. {self._remedy}".rstrip()
            ) from error


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column of numbers or truths without nulls; its `to_numpy` would load pandas, for 0.2 s."""
    if pa.types.is_boolean(column.type):
        return numbers(column.cast(pa.uint8())).view(bool)
    chunks = [np.from_dlpack(chunk) for chunk in column.chunks]
    if len(chunks) == 1:
        return chunks[0]
    return np.concatenate(chunks) if chunks else np.zeros(0, column.type.to_pandas_dtype())


def footer_sha256(file: pa.NativeFile) -> str:
    """SHA-256, hexadecimal, of a Parquet file's footer: where each page lies and what it holds."""
    size = file.size()
    tail = file.read_at(8, max(0, size - 8))
    length = int.from_bytes(tail[:4], "little") + 8
    if tail[4:] != _MAGIC or length > size:
        raise ValueError("it does not end as a Parquet file does")
    return hashlib.sha256(file.read_at(length, size - length)).hexdigest()


def _source(path: Place, size: int | None) -> pa.NativeFile:
    """The file in Arrow's own hands (see `parse_parquet`)."""
    if isinstance(path, Path):
        return pa.OSFile(str(path))
    if size is None or size <= FETCHED_BYTES:
        return pa.BufferReader(arrow_buffer(path.read_bytes()))
    return path.open()
