"""An archive in Google's store, of which an emulator answers: the samples of its local copy."""

import importlib.util
import io
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from ingest.build import build_shards
from shards.cache import Cache
from shards.errors import InputError
from shards.index import Index
from shards.place import Remote, place
from shards.plan import TrainPlan
from shards.reader import read_track
from shards.stream import stream
from shards.views.pair import AnchorPositive
from tests.ingest.stores import tree

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gcp_storage_emulator") is None,
    reason="gcp-storage-emulator is not installed",
)
START_S = 60


@pytest.fixture(scope="module")
def bucket():
    """A bucket in another process: pyarrow keeps the interpreter to itself while it asks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = f"start --host=127.0.0.1 --port={port} --in-memory --default-bucket=music --quiet"
    command = [sys.executable, "-m", "gcp_storage_emulator", *words.split()]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            await_port(port)
            options = f"scheme=http&endpoint_override=127.0.0.1:{port}&retry_limit_seconds=5"
            yield place(f"gs://anonymous@music?{options}")
        finally:
            server.kill()


def await_port(port):
    deadline_s = time.monotonic() + START_S
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


@pytest.fixture(scope="module")
def uploaded(bucket, archive) -> Remote:
    """The archive in the bucket, to read only."""
    for path in sorted(archive.rglob("*")):
        if path.is_file() and path.name != ".lock":
            with open(path, "rb") as file:
                (bucket / "shards" / str(path.relative_to(archive))).put(file)
    return bucket / "shards"


def test_files_of_the_bucket_are_written_listed_read_in_part_and_deleted(bucket):
    folder = bucket / "some" / "folder"
    data = bytes(range(256)) * 5_000
    for name in ("a.bin", "b.bin", "below/c.bin"):
        (folder / name).put(io.BytesIO(data))
    assert (folder / "a.bin").read_bytes() == data
    assert sorted(path.name for path in folder.glob("*.bin")) == ["a.bin", "b.bin"]
    assert sorted(folder.below(info) for info in folder.walk()) == [
        *("a.bin", "b.bin", "below/c.bin")
    ]
    with (folder / "a.bin").ranges() as fetch:
        for begin, size in ((0, 1), (700_000, 9_999), (len(data) - 3, 50)):
            assert fetch(begin, size) == data[begin : begin + size]
    (folder / "a.bin").unlink()
    assert not (folder / "a.bin").exists()
    with pytest.raises(FileNotFoundError, match=r"gs://music/some/folder/a\.bin"):
        (folder / "a.bin").read_bytes()
    folder.delete_below()
    assert not folder.exists()


def test_a_stream_from_the_bucket_gives_the_batches_of_the_local_copy(uploaded, index, tmp_path):
    cache, view = Cache(tmp_path / "cache", 1 << 30), AnchorPositive(clip_s=2.0, min_gap_s=3.0)
    for there in (Index.open(uploaded), *[Index.open(uploaded, cache=cache) for _ in range(2)]):
        plans = [TrainPlan(one, view, seed=5) for one in (there, index)]
        streams = [stream(plan, batch_size=6, stop=24) for plan in plans]
        for got, expected in zip(*streams, strict=True):
            np.testing.assert_array_equal(got.clips, expected.clips)
            assert got.valid.all()
    traffic = streams[0].stats().traffic
    assert traffic.transferred == 0
    assert traffic.cached > 0


def test_a_whole_track_of_the_bucket_is_read(uploaded, index):
    np.testing.assert_array_equal(read_track(Index.open(uploaded), 3), read_track(index, 3))


def test_a_folder_without_an_archive_is_named(bucket):
    with pytest.raises(InputError, match="gs://music/nothing is not a folder"):
        Index.open(bucket / "nothing")


def test_audio_is_packed_into_the_bucket_as_onto_a_disk(bucket, tmp_path):
    (tmp_path / "in").mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).integers(-9_999, 9_999, 32_000).astype(np.int16)
        soundfile.write(tmp_path / f"in/{number}.wav", noise, 16_000)
    here = build_shards(tmp_path / "in", tmp_path / "out", num_workers=1)
    for _ in range(2):  # the second time there is nothing to do
        there = build_shards(tmp_path / "in", bucket / "packed", num_workers=1)
        assert there.manifest["fingerprint"] == here.manifest["fingerprint"]
    assert tree(bucket / "packed") == tree(tmp_path / "out")
