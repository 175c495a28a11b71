"""Tables come from their own bytes, whole or not at all."""

from __future__ import annotations

import sys

import pyarrow as pa
import pytest

from shards.errors import InputError
from shards.files import arrow_buffer, parquet_bytes, parse_parquet, read_parquet

TABLE = pa.table({"name": ["a", "b"], "size": [1, 2]}, metadata={"kept": "yes"})


def test_a_table_comes_back_from_bytes_and_from_a_file(tmp_path):
    data = parquet_bytes(TABLE)
    (tmp_path / "t.parquet").write_bytes(data)
    for source in (data, tmp_path / "t.parquet"):
        assert parse_parquet(source).equals(TABLE, check_metadata=True)
        assert parse_parquet(source, ["size"]).column_names == ["size"]


def test_any_changed_page_is_found(tmp_path):
    data = bytearray(parquet_bytes(TABLE))
    data[30] ^= 1  # in the first page
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(InputError, match=r"t\.parquet is damaged"):
        read_parquet(tmp_path / "t.parquet")


def test_arrow_holds_nothing_of_pythons():
    """Its threads may let go of a buffer when Python has ended, which must not need Python."""
    data = parquet_bytes(TABLE)
    held = sys.getrefcount(data)
    buffer = arrow_buffer(data)
    assert sys.getrefcount(data) == held
    assert buffer.to_pybytes() == data
