"""Sealed files: no bit of them changes unseen; what vouches for a table can be made from it."""

import json

import pyarrow as pa
import pytest

from shards.errors import InputError
from shards.sealed import (
    carried_facts,
    comes_again,
    read_sealed,
    sealed_bytes,
    vouching_bytes,
    write_sealed,
    write_vouched,
)

VALUE = {"format": 1, "name": "Dvořák", "sha256": "0" * 64, "deep": {"seal": "0" * 64, "x": [1.5]}}


def test_a_sealed_value_reads_as_it_was(tmp_path):
    write_sealed(tmp_path / "a", VALUE)
    assert read_sealed(tmp_path / "a") == VALUE
    write_sealed(tmp_path / "b", dict(reversed(VALUE.items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_every_flipped_bit_and_every_cut_breaks_the_seal(tmp_path):
    whole = sealed_bytes(VALUE)
    path = tmp_path / "a"
    for at in range(len(whole)):
        damaged = [whole[:at], flipped(whole, at, at % 8), flipped(whole, at, 5)]
        for data in damaged:
            path.write_bytes(data)
            with pytest.raises(InputError, match=f"{path} is damaged.* Call help."):
                read_sealed(path, remedy="Call help.")


def flipped(data: bytes, at: int, bit: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


@pytest.mark.parametrize("value", [VALUE, {**VALUE, "seal": 7}, {**VALUE, "seal": "\ud800"}, []])
def test_what_was_never_sealed_is_refused(value, tmp_path):
    (tmp_path / "a").write_bytes(json.dumps(value).encode())
    with pytest.raises(InputError, match="seal is broken"):
        read_sealed(tmp_path / "a")


def test_a_table_carries_what_vouches_for_it_and_proves_to_be_whole(tmp_path):
    table, vouches = tmp_path / "t.parquet", tmp_path / "t.json"
    facts = {"name": "mood", "classes": ["a", "b"]}
    write_vouched(table, vouches, pa.table({"key": ["x", "y"], "target": [1.0, 2.0]}), facts)
    assert carried_facts(table) == facts
    assert comes_again(table)
    assert vouching_bytes(table, facts) == vouches.read_bytes()
    whole = table.read_bytes()
    for at in range(0, len(whole), 2):
        table.write_bytes(flipped(whole, at, at % 8))
        assert not comes_again(table), at
    for at in range(0, len(whole), 17):
        table.write_bytes(whole[:at])
        assert not comes_again(table)
        assert carried_facts(table) is None
