"""Reading: any window equals that part of the whole; damage is found and named."""

import shutil

import numpy as np
import pytest

from shards.errors import DamagedTrack, InputError
from shards.files import shown
from shards.index import Index
from shards.member import MappedShards
from shards.reader import read_track, read_window
from shards.sealed import read_sealed, write_sealed


def test_any_window_is_that_part_of_the_track(index):
    rng = np.random.default_rng(0)
    for row in range(len(index)):
        track = read_track(index, row)
        assert len(track) == index.column("frames")[row]
        for start in [0, *rng.integers(0, len(track), 8), len(track) - 10]:
            window = read_window(index, row, int(start), 5000)
            np.testing.assert_array_equal(window, track[start : start + 5000])


def test_an_index_row_is_a_track(index):
    track = index[0]
    assert track.shard.is_file()
    assert track.key == index.column("key")[0]
    assert track.duration_s == pytest.approx(track.frames / track.sample_rate)
    with pytest.raises(IndexError):
        index[len(index)]


def test_a_missing_or_cut_shard_is_found_when_the_archive_is_opened(archive, tmp_path):
    shutil.copytree(archive, tmp_path / "copy")
    shard = next((tmp_path / "copy" / "data").glob("*.tar"))
    with open(shard, "r+b") as file:
        file.truncate(1000)
    with pytest.raises(InputError, match="has 1000 bytes, want"):
        Index.open(tmp_path / "copy")
    shard.unlink()
    with pytest.raises(InputError, match="is missing"):
        Index.open(tmp_path / "copy")


def test_a_flipped_bit_in_the_index_is_found(archive, tmp_path):
    shutil.copytree(archive, tmp_path / "copy")
    path = tmp_path / "copy" / "index.parquet"
    good = path.read_bytes()
    for at in range(100, len(good) - 100, len(good) // 40):
        path.write_bytes(good[:at] + bytes([good[at] ^ 8]) + good[at + 1 :])
        try:
            same = Index.open(tmp_path / "copy").table.equals(Index.open(archive).table)
        except InputError:
            continue
        assert same  # the bit meant nothing


def test_a_flipped_bit_in_the_manifest_is_found_when_the_archive_is_opened(archive, tmp_path):
    shutil.copytree(archive, tmp_path / "copy")
    path = tmp_path / "copy" / "manifest.json"
    good = path.read_bytes()
    for at in range(0, len(good), len(good) // 60):
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << at % 8]) + good[at + 1 :])
        with pytest.raises(InputError, match=r"manifest.json is damaged.* Run `ingest repair"):
            Index.open(tmp_path / "copy")


def test_what_is_no_archive_says_so(tmp_path):
    with pytest.raises(InputError, match="not a folder"):
        Index.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"manifest\.json"):
        Index.open(tmp_path)


def test_a_manifest_cannot_point_outside(archive, tmp_path):
    shutil.copytree(archive, tmp_path / "copy")
    manifest = tmp_path / "copy" / "manifest.json"
    value = read_sealed(manifest)
    value["shards"][0]["name"] = "../../etc/passwd"
    write_sealed(manifest, value)
    with pytest.raises(InputError, match="outside"):
        Index.open(tmp_path / "copy")


def test_a_newer_format_is_refused(archive, tmp_path):
    shutil.copytree(archive, tmp_path / "copy")
    manifest = tmp_path / "copy" / "manifest.json"
    write_sealed(manifest, {**read_sealed(manifest), "format": 99})
    with pytest.raises(InputError, match="update"):
        Index.open(tmp_path / "copy")


def test_a_damaged_payload_names_shard_and_byte(index, archive, tmp_path):
    shutil.copytree(archive, tmp_path / "copy")
    copy = Index.open(tmp_path / "copy")
    track = copy[2]
    with open(track.shard, "r+b") as file:
        file.seek(track.offset)
        file.write(b"garbage" * 100)
    with pytest.raises(DamagedTrack, match=f"at byte {track.offset}"):
        read_track(copy, 2)


def test_few_shards_stay_open(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}").write_bytes(b"x" * 10)
    shards = MappedShards(limit=2)
    for i in (0, 1, 0, 2, 3, 4):
        assert shards.get(tmp_path / f"{i}")[:1] == b"x"
        assert len(shards._maps) <= 2


def test_names_that_would_move_the_cursor_are_escaped():
    assert shown("a\x1b[2Jb\nc\u202ed") == "a\\x1b[2Jb\\nc\\u202ed"
    assert shown("Dvořák – Größe.mp3") == "Dvořák – Größe.mp3"
    assert shown(b"\xff".decode("utf-8", "surrogateescape")).isprintable()
