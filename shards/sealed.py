"""JSON files that vouch for themselves, and tables that such a file vouches for.

The member `seal` of a sealed file is the SHA-256 of its own bytes with the seal's 64 digits as
zeros: any changed bit and any cut is found by reading it. A vouched table is a Parquet file beside
a sealed JSON file that holds its SHA-256; the table carries the rest of the JSON in its metadata,
so the JSON can be made again from the table.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import InputError
from shards.files import (
    json_bytes,
    parquet_bytes,
    parse_json,
    parse_parquet,
    publish,
    read_bytes,
    sha256_file,
    shown,
)
from shards.place import Place

SEAL = "seal"
_BLANK = "0" * 64
_METADATA = b"wholetone"


def sealed_bytes(value: dict[str, Any]) -> bytes:
    """A sealed JSON file's bytes: equal values give equal bytes."""
    blank = json_bytes({**value, SEAL: _BLANK})
    return blank.replace(_line(_BLANK), _line(hashlib.sha256(blank).hexdigest()), 1)


def write_sealed(path: Place, value: dict[str, Any]) -> None:
    """Publish a value as sealed JSON."""
    publish(path, sealed_bytes(value))


def read_sealed(path: Place, *, remedy: str = "") -> dict[str, Any]:
    """The value of a sealed file, or an `InputError` that names it and ends with the remedy."""
    data = read_bytes(path, remedy=remedy)
    value = parse_json(path, data, remedy=remedy)
    seal = value.pop(SEAL, None) if isinstance(value, dict) else None
    blank = data.replace(_line(str(seal)), _line(_BLANK))
    if hashlib.sha256(blank).hexdigest() != seal:
        raise InputError(f"{shown(path)} is damaged: its seal is broken. {remedy}".rstrip())
    assert isinstance(value, dict)
    return value


def _line(seal: str) -> bytes:
    """The seal as it stands in the file: no other line begins with a single space and its name."""
    return f'\n "{SEAL}": "{seal}"'.encode(errors="replace")


def write_vouched(path: Place, vouches: Place, table: pa.Table, facts: dict[str, Any]) -> None:
    """Publish a table that carries its facts, then the sealed file of these facts."""
    publish(path, vouched_bytes(table, facts))
    publish(vouches, vouching_bytes(path, facts))


def vouched_bytes(table: pa.Table, facts: dict[str, Any]) -> bytes:
    """A table that carries its facts, as Parquet."""
    metadata = {_METADATA: json.dumps(facts, sort_keys=True)}
    return parquet_bytes(table.replace_schema_metadata(metadata))


def vouching_bytes(path: Place, facts: dict[str, Any]) -> bytes:
    """The sealed file of a table that has these facts."""
    return sealed_bytes({**facts, "sha256": sha256_file(path)})


def carried_facts(path: Place) -> dict[str, Any] | None:
    """The facts that a table carries, None if it cannot be read."""
    try:
        metadata = pq.read_schema(pa.BufferReader(path.read_bytes())).metadata or {}
        facts = json.loads(metadata[_METADATA])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
    return facts if isinstance(facts, dict) else None


def comes_again(path: Place) -> bool:
    """Whether a table, written again, gives the same bytes: then no bit of it has changed.

    This is for a table that nothing vouches for any more. Another version of pyarrow may write
    other bytes, so False proves nothing.
    """
    try:
        data = path.read_bytes()
        table = parse_parquet(data)
    except (OSError, ValueError, pa.ArrowException):
        return False
    return parquet_bytes(table) == data
