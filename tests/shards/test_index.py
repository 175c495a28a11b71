"""Opening an index: what is not asked for is not read, what is not ours is not taken for it."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from shards.columns import ColumnFile
from shards.errors import InputError
from shards.files import ROW_GROUP, write_parquet
from shards.index import FINGERPRINTED, Index, fingerprint, with_fingerprint
from shards.names import INDEX, MANIFEST
from shards.sealed import read_sealed, write_sealed
from tests.shards.silent import silent_archive


@pytest.fixture
def index(tmp_path):
    return silent_archive(tmp_path / "a", 300)


def change_manifest(index, change):
    manifest = read_sealed(index.path / MANIFEST)
    change(manifest)
    write_sealed(index.path / MANIFEST, manifest)


def test_opening_reads_no_page(index):
    """All pages are garbage, the footer is not: the archive opens, and reading says so."""
    path = index.path / INDEX
    good = path.read_bytes()
    footer = int.from_bytes(good[-8:-4], "little") + 8
    path.write_bytes(good[:4] + bytes(len(good) - footer - 4) + good[-footer:])
    opened = Index.open(index.path)
    assert len(opened) == 300
    for read in (lambda: opened.column("frames"), lambda: opened[3], lambda: opened.table):
        with pytest.raises(InputError, match=r"index.parquet is damaged.*ingest repair"):
            read()


def test_an_index_of_another_archive_is_refused(index, tmp_path):
    """Also one whose footer says the same of every column: the fingerprint is part of it."""
    column = [f"{i if i not in (7, 8) else 15 - i:064x}" for i in range(300)]
    other = silent_archive(tmp_path / "b", 300, pcm_sha256=column)
    shutil.copy(other.path / INDEX, index.path / INDEX)
    with pytest.raises(InputError, match=r"does not belong to manifest\.json"):
        Index.open(index.path)


def test_an_index_that_states_another_fingerprint_than_the_manifest_is_refused(index):
    change_manifest(index, lambda manifest: manifest.update(fingerprint="0" * 64))
    with pytest.raises(InputError, match="does not belong"):
        Index.open(index.path)


def test_an_index_that_has_grown_or_shrunk_is_refused(index):
    size = (index.path / INDEX).stat().st_size
    change_manifest(index, lambda m: m["files"].update({INDEX: {"bytes": size + 1}}))
    with pytest.raises(InputError, match=f"it has {size} bytes, want {size + 1}"):
        Index.open(index.path)


def test_the_first_archives_whose_footer_nobody_knows_are_read_and_compared(index):
    change_manifest(index, lambda m: m["generations"][0].pop("index_footer_sha256"))
    assert Index.open(index.path).fingerprint == index.fingerprint
    change_manifest(index, lambda manifest: manifest.update(fingerprint="0" * 64))
    with pytest.raises(InputError, match="does not belong"):
        Index.open(index.path)


def test_rows_and_columns_of_an_index_of_several_row_groups(tmp_path):
    """Row groups of 2^17 in files; here of 100, so that one row is a part of the file."""
    index = silent_archive(tmp_path / "a", 250)
    import pyarrow.parquet as pq

    pq.write_table(index.table, tmp_path / "parts", row_group_size=100, write_page_checksum=True)
    file = ColumnFile(tmp_path / "parts")
    for row in (0, 99, 100, 249):
        assert file.row(row, ("row", "key")) == {"row": row, "key": f"{row:032x}"}
    assert file.read(["frames"]).column("frames").to_pylist() == index.column("frames").tolist()
    assert ROW_GROUP == 1 << 17  # what lies in archives: a change costs readers of parts


def test_a_fingerprint_is_that_of_the_naive_reading(index):
    import hashlib

    digest = hashlib.sha256()
    for name in FINGERPRINTED:
        values = index.table.column(name).to_pylist()
        if isinstance(values[0], str):
            data = "\n".join(values).encode()
        else:
            data = np.array(values, "<i8").tobytes()
        digest.update(f"{name} {len(data)}\n".encode() + data)
    assert fingerprint(index.table) == digest.hexdigest() == index.fingerprint


def test_a_fingerprint_does_not_depend_on_how_a_table_is_cut(index, monkeypatch):
    monkeypatch.setattr("shards.index._JOINED", 7)
    pieces = pa.concat_tables([index.table.slice(0, 50), index.table.slice(50)])
    assert fingerprint(pieces) == index.fingerprint
    assert fingerprint(index.table.slice(0, 0)) != index.fingerprint


def test_a_file_that_is_no_parquet_is_damaged(tmp_path, index):
    for content in (b"", b"PAR1", b"\xff" * 100 + b"PAR1", b"x" * 50):
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(InputError, match="x is damaged"):
            ColumnFile(tmp_path / "x")
    with pytest.raises(InputError, match="does not exist"):
        ColumnFile(tmp_path / "nowhere")


def test_the_metadata_is_no_part_of_what_is_read(index, tmp_path):
    write_parquet(tmp_path / "again", with_fingerprint(index.table))
    assert ColumnFile(tmp_path / "again").read().schema.metadata is None
    assert index.table.schema.metadata is None
