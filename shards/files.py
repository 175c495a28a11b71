"""Files that are whole or absent: atomic writes, checked reads, names that are safe to print."""

import hashlib
import json
import os
import secrets
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import InputError
from shards.place import Place, Remote
from shards.text import shown as shown


@contextmanager
def publishing(path: Place) -> Iterator[BinaryIO]:
    """A file that appears under `path` whole when the block ends, and not at all if it fails."""
    if isinstance(path, Remote):
        with tempfile.TemporaryFile() as file:
            yield cast("BinaryIO", file)
            path.put(cast("BinaryIO", file))
        return
    tmp = path.parent / f".tmp-{secrets.token_hex(8)}"
    try:
        with open(tmp, "w+b") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), 0o644)  # whatever the umask
            os.fsync(file.fileno())
        os.replace(tmp, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write's error bears no name
        raise
    finally:
        tmp.unlink(missing_ok=True)
    fsync_dir(path.parent)


def publish(path: Place, data: bytes) -> None:
    """Write `data` under `path` so that a reader sees all of it or nothing, even after a crash."""
    with publishing(path) as file:
        file.write(data)


def fsync_dir(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    except OSError as error:
        error.filename = str(path)
        raise
    finally:
        os.close(fd)


def sha256_file(path: Place) -> str:
    """SHA-256 of a file, hexadecimal."""
    if isinstance(path, Remote):
        digest = hashlib.sha256()
        for block in path.blocks():
            digest.update(block)
        return digest.hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_bytes(value: Any) -> bytes:
    """JSON with sorted keys and a final newline: equal values give equal bytes."""
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def write_json(path: Place, value: Any) -> None:
    """Publish a value as JSON."""
    publish(path, json_bytes(value))


def read_json(path: Place) -> Any:
    """A JSON file's value; a damaged or missing file is an `InputError` that names it."""
    return parse_json(path, read_bytes(path))


def read_bytes(path: Place, *, remedy: str = "") -> bytes:
    """A file's bytes; a missing one is an `InputError` that names it."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{shown(path)} does not exist. {remedy}".rstrip()) from None


def parse_json(path: Place, data: bytes, *, remedy: str = "") -> Any:
    """The value of a file's bytes; damage is an `InputError` that names the file."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{shown(path)} is damaged: {error}. {remedy}".rstrip()) from error


ROW_GROUP = 1 << 17
"""Rows that are read together: of a table of millions a part can be read, and parts at once."""


def write_parquet(path: Place, table: pa.Table) -> None:
    """Publish a table with a checksum on every page."""
    publish(path, parquet_bytes(table))


def parquet_bytes(table: pa.Table) -> bytes:
    """A table as Parquet with a checksum on every page: equal tables give equal bytes."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, compression="zstd", write_page_checksum=True, row_group_size=ROW_GROUP
    )
    data: bytes = sink.getvalue().to_pybytes()
    return data


def read_parquet(path: Place, columns: list[str] | None = None) -> pa.Table:
    """A table whose page checksums were verified; pandas metadata is dropped."""
    try:
        table = parse_parquet(path if isinstance(path, Path) else path.read_bytes(), columns)
    except FileNotFoundError:
        raise InputError(f"{shown(path)} does not exist.") from None
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{shown(path)} is damaged: {error}.") from error
    return table.replace_schema_metadata(None)


def parse_parquet(source: Path | bytes, columns: list[str] | None = None) -> pa.Table:
    """A table of a file or of its bytes, page checksums verified; errors are pyarrow's."""
    # Arrow's threads may still hold what they read from when Python ends. Memory of Python's would
    # take them into an interpreter that is gone, and the process down.
    file = source if isinstance(source, Path) else pa.BufferReader(arrow_buffer(source))
    # Not read_table: it loads pyarrow.dataset and with it pandas, half a second.
    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        return parquet.read(columns=columns)


def arrow_buffer(data: bytes) -> pa.Buffer:
    """A copy in memory that is Arrow's own."""
    sink = pa.BufferOutputStream()
    sink.write(data)
    return sink.getvalue()


def typed(path: Place) -> str:
    """A folder or a URI as an argument to type in a shell."""
    return shlex.quote(shown(path.uri if isinstance(path, Remote) else path))
