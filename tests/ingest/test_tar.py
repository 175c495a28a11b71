"""Shards are written by webdataset's own code, as if its package had been imported."""

import io
import subprocess
import sys

import pytest

from ingest.tar import tar_writer

SAMPLES = [{"__key__": f"{i:032x}", "flac": bytes(i * 700), "json": b"{}\n"} for i in range(5)]

ALONE = """
import sys
from ingest.tar import tar_writer
writer = tar_writer()
assert tar_writer() is writer
assert not {"torch", "webdataset"} & set(sys.modules), sorted(sys.modules)
import webdataset
assert webdataset.writer.TarWriter.__name__ == writer.__name__
assert webdataset.ShardWriter and webdataset.WebDataset
"""


def written(writer) -> bytes:
    file = io.BytesIO()
    with writer(file, user="", group="", mtime=0, encoder=False) as tar:
        for sample in SAMPLES:
            tar.write(sample)
    return file.getvalue()


def test_the_writer_alone_writes_what_the_package_writes():
    webdataset = pytest.importorskip("webdataset")
    assert written(tar_writer()) == written(webdataset.TarWriter)


def test_the_writer_loads_neither_its_package_nor_torch_and_leaves_the_package_whole():
    subprocess.run([sys.executable, "-W", "error", "-c", ALONE], check=True)


def test_a_payload_copied_piece_by_piece_is_the_member_that_the_writer_writes(built):
    """Rewrites a packed shard through `TarWriter.write` and compares the bytes."""
    import tarfile

    for shard in built.manifest["shards"]:
        path, file = built.out / shard["name"], io.BytesIO()
        writer = tar_writer()(file, user="", group="", mtime=0, encoder=False)
        with tarfile.open(path) as tar, writer:
            members = tar.getmembers()
            for flac, facts in zip(members[::2], members[1::2], strict=True):
                payload, text = (tar.extractfile(member).read() for member in (flac, facts))
                writer.write({"__key__": flac.name[:-5], "flac": payload, "json": text})
        assert file.getvalue() == path.read_bytes()
