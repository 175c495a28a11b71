"""An archive grows by generations: what is packed stays byte for byte, what is new is added."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from ingest.build import build_shards
from ingest.plan import make_plan, read_plans, write_plan
from ingest.scan import Scan, scan, track_key
from ingest.settings import Settings
from shards.files import sha256_file
from shards.index import Index
from shards.reader import read_track

SETTINGS = Settings(shard_mib=0.03)


def tree(folder: Path) -> dict[str, str]:
    """Relative path → hash of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


@pytest.fixture
def music(tmp_path, make_chord) -> Path:
    for number in range(6):
        make_chord(tmp_path / "in" / f"{number}.wav", number)
    return tmp_path / "in"


def pack(music: Path, **settings: object):
    asked = Settings(**{**SETTINGS.as_dict(), **settings})
    return build_shards(music, music.parent / "out", settings=asked, num_workers=1)


def test_new_files_are_added_and_what_was_packed_keeps_its_bytes(music, make_chord):
    first = pack(music)
    before = tree(first.out)
    make_chord(music / "new/a.flac", 8)
    make_chord(music / "new/b.flac", 9)
    again = pack(music)
    assert again.new_tracks == 2
    assert again.manifest["tracks"] == 8 == len(Index.open(again.out))
    del before["manifest.json"], before["README.md"]
    assert before.items() <= tree(again.out).items()
    index = Index.open(again.out)
    assert list(index.column("row")) == list(range(8))
    assert sorted(index.column("key")) == list(index.column("key"))
    added = {track.decode() for track in (b"new/a.flac", b"new/b.flac")}
    of_second = {index[row].source for row in range(8) if index.column("generation")[row] == 1}
    assert of_second == added
    for row in range(8):
        assert len(read_track(index, row)) == index[row].frames


def test_a_generation_that_was_interrupted_ends_with_the_same_bytes(music, make_chord):
    pack(music)
    for number in range(4):
        make_chord(music / f"new/{number}.flac", number + 6)
    whole = pack(music)
    wanted = tree(whole.out)
    first_new = min(
        n for n, shard in enumerate(whole.manifest["shards"]) if shard["generation"] == 1
    )
    for lost in (
        ["manifest.json"],
        [f"receipts/shard-{first_new:06d}.json", "manifest.json"],
        [f"data/shard-{first_new:06d}.tar"],
        [f"seek/shard-{first_new:06d}.npy", "index-000001.parquet"],
        ["index.parquet"],
        ["rejected.parquet", "data/shard-000000.tar"],
    ):
        for name in lost:
            (whole.out / name).unlink()
        pack(music)
        assert tree(whole.out) == wanted, lost


def test_a_grown_archive_run_again_writes_nothing(music, make_chord):
    pack(music)
    make_chord(music / "new.wav", 7)
    out = pack(music).out
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert pack(music).new_tracks == 0
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_file_that_vanished_or_changed_while_it_was_packed_is_tried_again(music, make_chord):
    out = pack(music).out
    for folder in ("data", "receipts"):
        shutil.rmtree(out / folder)
    (music / "0.wav").unlink()
    make_chord(music / "1.wav", 7)
    again = pack(music)
    assert {row["path"]: row["code"] for row in again.rejected} == {"0.wav": "missing"}
    assert again.manifest["tracks"] == 5
    make_chord(music / "0.wav", 0)
    assert pack(music).manifest["tracks"] == 6
    assert pack(music).rejected == []


def test_a_file_that_cannot_be_read_yet_starts_no_generation_of_its_own(
    music, make_chord, monkeypatch
):
    out = pack(music).out
    before = tree(out)
    make_chord(music / "new.wav", 7)
    real_open = os.open

    def failing_disk(path: object, *args: int, **kwargs: int) -> int:
        if os.fsencode(path).endswith(b"new.wav"):
            raise OSError(errno.EIO, "Input/output error")
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr("ingest.pool.os.open", failing_disk)
    monkeypatch.setattr("ingest.scan._kind", lambda *_, **__: "wav")  # it could be read then
    for _ in range(2):
        assert pack(music).new_tracks == 0
        assert tree(out) == before
    monkeypatch.undo()
    assert pack(music).new_tracks == 1


def test_a_packed_file_that_changes_later_is_counted_and_keeps_its_samples(music, make_chord):
    before = tree(pack(music).out)
    make_chord(music / "3.wav", 11)
    again = pack(music)
    assert again.changed == 1
    assert tree(again.out) == before


def test_a_refused_file_that_was_mended_is_packed(music, make_chord):
    (music / "bad.flac").write_bytes(b"fLaC" + bytes(100))
    assert [row["code"] for row in pack(music).rejected] == ["corrupt"]
    (music / "bad.flac").unlink()
    make_chord(music / "bad.flac", 9)
    again = pack(music)
    assert again.rejected == []
    assert again.manifest["tracks"] == 7


def test_a_new_file_that_is_refused_is_listed_and_not_tried_twice(music):
    pack(music)
    (music / "text.mp3").write_text("no music")
    again = pack(music)
    assert {row["path"]: row["code"] for row in again.rejected} == {"text.mp3": "not_audio"}
    assert again.rejected[0]["key"] == track_key(b"text.mp3")
    before = tree(again.out)
    assert pack(music).rejected == again.rejected
    assert tree(again.out) == before


def test_a_higher_limit_adds_the_rest(music):
    assert pack(music, limit=2).manifest["tracks"] == 2
    assert pack(music, limit=2).new_tracks == 0
    assert pack(music, limit=5).manifest["tracks"] == 5
    grown = pack(music)
    assert grown.manifest["tracks"] == 6
    assert len(grown.manifest["generations"]) == 3


def test_a_track_that_was_tried_again_and_packed_twice_counts_once(music):
    away = (music / "0.wav").rename(music.parent / "0.wav")
    out = pack(music, limit=0).out
    for folder in ("data", "receipts"):
        shutil.rmtree(out / folder)
    plan = read_plans(out)[0]
    away.rename(music / "0.wav")
    source = scan(music).sources
    (out / "manifest.json").unlink()
    write_plan(out, make_plan(Scan(source), plan.settings, plan.created_by, after=[]))
    again = Scan([s for s in source if s.raw == b"0.wav"])
    write_plan(out, make_plan(again, plan.settings, plan.created_by, after=read_plans(out)))
    grown = pack(music)
    assert len(grown.manifest["generations"]) == 2
    assert grown.manifest["tracks"] == 6 == len(set(Index.open(out).column("key")))


def test_a_copy_of_an_older_track_points_to_it_whatever_its_key(music):
    pack(music)
    for number in range(8):
        shutil.copy(music / "2.wav", music / f"copy{number}.wav")
    index = Index.open(pack(music).out)
    original = track_key(b"2.wav")
    copies = [row for row in range(len(index)) if index[row].source.startswith("copy")]
    assert {index.column("duplicate_of")[row] for row in copies} == {original}
    assert index.column("duplicate_of")[index.row_of_key[original]] == ""
