"""The same archive in an object store and from a cluster: equal bytes, resume, growth."""

import errno
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ingest.bucket import scan_bucket
from ingest.build import build_shards
from ingest.scan import scan
from ingest.settings import Settings
from shards.errors import InputError
from shards.index import Index
from shards.names import DATA
from shards.place import Remote, place
from shards.reader import read_track, read_window
from tests.ingest.stores import tree, upload

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(shard_mib=0.01)


@pytest.fixture
def music(tmp_path, make_chord) -> Path:
    for number in range(6):
        make_chord(tmp_path / f"in/album {number % 2}/{number}.flac", number)
    (tmp_path / "in/text.mp3").write_text("no music")
    (tmp_path / "in/cover.jpg").write_bytes(b"\xff\xd8")
    return tmp_path / "in"


@pytest.fixture
def local(music) -> Path:
    return build_shards(music, music.parent / "local", settings=SETTINGS, num_workers=1).out


def samples(folder: Path | Remote) -> dict[str, bytes]:
    index = Index.open(folder)
    return {index[row].source: read_track(index, row).tobytes() for row in range(len(index))}


def test_an_archive_in_a_store_has_the_bytes_of_a_local_one(music, local, bucket, store):
    out = place(f"{bucket}/shards?{store}")
    build_shards(music, out, settings=SETTINGS, num_workers=1)
    assert tree(out) == tree(local)


def test_windows_of_a_track_in_a_store_are_those_of_a_local_one(local, bucket, store):
    out = place(f"{bucket}/shards?{store}")
    upload(local, out)
    here, there = Index.open(local), Index.open(out)
    for row in range(len(here)):
        for start, frames in ((0, 16_000), (5_000, 7_000), (here[row].frames - 9, 50)):
            wanted = read_window(here, row, start, frames)
            np.testing.assert_array_equal(read_window(there, row, start, frames), wanted)


def test_originals_in_a_store_have_the_bytes_of_local_ones_and_read_alike(music, bucket, store):
    """Of the copies, FLAC of the archive's rate is read by itself, the others in the sandbox."""
    copied = Settings(shard_mib=0.1, codec="copy")
    local = build_shards(music, music.parent / "copied", settings=copied, num_workers=1).out
    out = place(f"{bucket}/shards?{store}")
    build_shards(music, out, settings=copied, num_workers=1)
    assert tree(out) == tree(local)
    assert set(Index.open(out).column("codec")) == {"flac", "raw-flac"}
    assert samples(out) == samples(local)
    here, there = Index.open(local), Index.open(out)
    for row in range(len(here)):
        wanted = read_window(here, row, 5_000, 7_000)
        np.testing.assert_array_equal(read_window(there, row, 5_000, 7_000), wanted)


def test_music_in_a_store_is_packed_resumed_and_grows(music, local, bucket, store, make_chord):
    source, out = place(f"{bucket}/music?{store}"), place(f"{bucket}/shards?{store}")
    upload(music, source)
    first = build_shards(source, out, settings=SETTINGS, num_workers=1)
    assert samples(out) == samples(local)
    assert [row["code"] for row in first.rejected] == ["not_audio"]
    assert first.manifest["others"] == 1
    whole = tree(out)
    (out / "manifest.json").unlink()
    (out / "receipts/shard-000001.json").unlink()
    (out / DATA / "shard-000000.tar").unlink()
    again = build_shards(source, out, settings=SETTINGS, num_workers=1)
    assert 0 < again.new_tracks < 6
    assert tree(out) == whole
    make_chord(music.parent / "new.flac", 8)
    with open(music.parent / "new.flac", "rb") as file:
        (source / "new.flac").put(file)
    assert build_shards(source, out, settings=SETTINGS, num_workers=1).new_tracks == 1
    del whole["manifest.json"], whole["README.md"]
    assert whole.items() <= tree(out).items()


def test_a_store_and_a_folder_are_sorted_out_alike(music, bucket, store):
    (music / "apple.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(200))
    (music / "film.mp4").write_bytes(b"\0\0\0\x20ftypisom" + bytes(200))
    (music / "empty.ogg").write_bytes(b"")
    (music / "no-extension").write_bytes((music / "album 0/0.flac").read_bytes())
    source = place(f"{bucket}/music?{store}")
    upload(music, source)
    here, there = scan(music), scan_bucket(source, without=source / "shards", known={})
    assert {(s.raw, s.size, s.kind) for s in there.sources} == {
        (s.raw, s.size, s.kind) for s in here.sources
    }
    assert there.rejected == here.rejected
    assert there.others == here.others == 2


def test_the_command_takes_uris_and_says_in_a_line_what_is_wrong(music, bucket, store):
    command = [sys.executable, "-m", "ingest", "build-shards"]
    out = f"{bucket}/shards?{store}"
    options = ["--out", out, "--num-workers", "1"]
    done = subprocess.run(
        [*command, str(music), *options], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 3, done.stderr  # text.mp3
    assert f"{bucket}/shards: 6 tracks" in done.stdout
    nowhere = [f"s3://no-such-bucket/music?{store}", *options]
    done = subprocess.run([*command, *nowhere], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "no-such-bucket" in done.stderr


def test_an_unknown_kind_of_store_is_named():
    with pytest.raises(InputError, match="gopher://"):
        place("gopher://example.org/music")


def test_a_cluster_that_is_not_there_is_named_at_once(music):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, "-m", "ingest", "build-shards", str(music), "--out"]
    options = [str(music.parent / "out"), "--ray-address", address]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"No Ray cluster answers at {address}" in done.stderr.splitlines()[-1]


@pytest.mark.usefixtures("ray_here")
def test_a_cluster_packs_the_same_bytes(music, local):
    out = music.parent / "cluster"
    built = build_shards(music, out, settings=SETTINGS, num_workers=1, ray_address="local")
    assert tree(out) == tree(local)
    assert (built.new_tracks, len(built.rejected)) == (6, 1)


@dataclass(frozen=True)
class Dies:
    """A task that takes its process down so many times."""

    marks: Path
    times: int

    def __call__(self) -> str:
        deaths = len(list(self.marks.iterdir()))
        if deaths < self.times:
            (self.marks / str(deaths)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return f"after {deaths} deaths"


@pytest.mark.usefixtures("ray_here")
def test_a_task_that_kills_its_process_is_tried_again_but_not_for_ever(tmp_path):
    from shards.ray_backend import MAX_RETRIES, run_tasks

    for name in ("some", "all"):
        (tmp_path / name).mkdir()
    mortal = {"shard 3": Dies(tmp_path / "some", MAX_RETRIES)}
    results = list(run_tasks(mortal, address="local", num_cpus=1))
    assert results == [f"after {MAX_RETRIES} deaths"]
    doomed = {"shard 7": Dies(tmp_path / "all", 99)}
    with pytest.raises(RuntimeError, match="shard 7: the cluster gave it up"):
        list(run_tasks(doomed, address="local", num_cpus=1))
    assert len(list((tmp_path / "all").iterdir())) == MAX_RETRIES + 1


@pytest.mark.usefixtures("ray_here")
def test_an_error_of_a_task_is_raised_as_it_was(tmp_path):
    from shards.ray_backend import run_tasks

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        list(run_tasks({"shard 1": full}, address="local", num_cpus=1))
    assert caught.value.errno == errno.ENOSPC
