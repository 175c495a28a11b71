"""Packing: nothing is lost, every refusal has its reason, bytes depend on the audio alone."""

import hashlib
import io
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from ingest.build import build_shards
from ingest.scan import shown_path, track_key
from ingest.settings import Settings
from shards.errors import InputError
from shards.files import sha256_file
from shards.index import Index
from shards.reader import read_track
from shards.schema import INDEX_SCHEMA, REJECTED_SCHEMA


def tree(folder: Path) -> dict[str, str]:
    """Relative path → hash of every file."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


def test_every_good_file_is_a_track_and_every_bad_one_has_its_code(corpus, built):
    index = Index.open(built.out)
    assert sorted(index.column("key")) == sorted(track_key(name) for name in corpus.good)
    codes = {row["path"]: row["code"] for row in built.rejected}
    assert codes == {shown_path(name): code for name, code in corpus.bad.items()}
    assert built.manifest["others"] == 3  # labels.csv, cover.jpg, .hidden.wav
    assert all(row["message"] for row in built.rejected)


def test_names_are_shown_without_control_characters_and_keep_their_key(built):
    sources = set(Index.open(built.out).column("source"))
    assert {"odd/not-utf8-\\udcff.wav", "odd/line\\nbreak.flac"} <= sources
    assert all(source.isprintable() for source in sources)


def test_index_holds_the_promised_columns_in_key_order_without_nulls(built):
    table = pq.read_table(built.out / "index.parquet")
    assert table.schema.equals(INDEX_SCHEMA)
    assert sum(column.null_count for column in table.columns) == 0
    keys = table["key"].to_pylist()
    assert keys == sorted(keys)
    assert table["row"].to_pylist() == list(range(len(keys)))
    rejected = pq.read_table(built.out / "rejected.parquet")
    assert rejected.schema.equals(REJECTED_SCHEMA)


def test_bytes_at_offset_and_size_are_the_payload(built):
    index = Index.open(built.out)
    assert len(index.manifest["shards"]) > 2
    for row in range(len(index)):
        track = index[row]
        payload = track.shard.read_bytes()[track.offset : track.offset + track.size]
        assert payload.startswith(b"fLaC")
        assert index.column("size")[row] == len(payload)
        samples = read_track(index, row)
        assert len(samples) == track.frames == round(track.duration_s * track.sample_rate)
        digest = hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest()
        assert digest == index.column("pcm_sha256")[row]


def test_manifest_vouches_for_every_file(built):
    for shard in built.manifest["shards"]:
        assert sha256_file(built.out / shard["name"]) == shard["sha256"]
    for name, file in built.manifest["files"].items():
        assert sha256_file(built.out / name) == file["sha256"]
    index = Index.open(built.out)
    assert built.manifest["tracks"] == len(index)
    assert built.manifest["frames"] == index.column("frames").sum()
    assert built.manifest["licence"] == "CC0-1.0" == index.column("licence")[0]


def test_copies_of_the_same_samples_point_to_the_first_key(corpus, built):
    index = Index.open(built.out)
    original = {row: name for row, name in enumerate(index.column("duplicate_of")) if name}
    assert len(original) == 3  # the three odd names are copies
    for row, key in original.items():
        assert key < index.column("key")[row]
        same = index.column("pcm_sha256")
        assert same[index.row_of_key[key]] == same[row]


def test_one_worker_and_two_give_the_same_bytes(corpus, built, tmp_path, small_shards):
    build_shards(corpus.folder, tmp_path / "one", settings=small_shards, num_workers=1)
    assert tree(tmp_path / "one") == tree(built.out)


def test_umask_and_order_of_creation_do_not_matter(corpus, built, tmp_path, small_shards):
    names = [name for name in corpus.good + list(corpus.bad) if name != b"bad/link.wav"]
    copy = tmp_path / "copy"
    for name in reversed(names):
        (copy / os.fsdecode(name)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(corpus.folder / os.fsdecode(name), copy / os.fsdecode(name))
    old = os.umask(0o077)
    try:
        build_shards(copy, tmp_path / "out", settings=small_shards, num_workers=2)
    finally:
        os.umask(old)
    shards = {k: v for k, v in tree(built.out).items() if k.startswith("data/")}
    assert {k: v for k, v in tree(tmp_path / "out").items() if k.startswith("data/")} == shards
    assert (tmp_path / "out/manifest.json").stat().st_mode & 0o777 == 0o644


def test_a_folder_without_audio_writes_nothing(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/readme.txt").write_text("no music here")
    (tmp_path / "in/text.mp3").write_text("none here either")
    with pytest.raises(InputError, match=r"No audio below .*text\.mp3 is named like audio"):
        build_shards(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_where_nothing_decodes_becomes_an_empty_archive_that_says_so(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.flac").write_bytes(b"fLaC" + bytes(100))
    built = build_shards(tmp_path / "in", tmp_path / "out")
    assert [row["code"] for row in built.rejected] == ["corrupt"]
    assert len(Index.open(tmp_path / "out")) == 0
    assert build_shards(tmp_path / "in", tmp_path / "out").manifest == built.manifest


def test_a_folder_with_other_things_is_no_place_for_an_archive(corpus, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(InputError, match=r"holds thesis\.tex"):
        build_shards(corpus.folder, tmp_path)


def test_wav_payload_holds_the_same_samples(corpus, built, tmp_path):
    settings = Settings(codec="wav", limit=5)
    out = build_shards(corpus.folder, tmp_path / "wav", settings=settings, num_workers=2).out
    flac, wav = Index.open(built.out), Index.open(out)
    assert len(wav) <= 5
    for row in range(len(wav)):
        other = flac.row_of_key[wav[row].key]
        np.testing.assert_array_equal(read_track(wav, row), read_track(flac, other))


def test_members_stand_side_by_side_and_their_json_has_constant_types(built):
    types = set()
    for shard in built.manifest["shards"]:
        with tarfile.open(built.out / shard["name"]) as tar:
            members = tar.getmembers()
            assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} <= {
                (0, 0, 0, "", "", 0o444)
            }
            for flac, facts in zip(members[::2], members[1::2], strict=True):
                assert flac.name.removesuffix(".flac") == facts.name.removesuffix(".json")
                values = json.load(tar.extractfile(facts))
                types.add(tuple((name, type(value)) for name, value in sorted(values.items())))
    assert len(types) == 1
    assert {kind for _, kind in types.pop()} == {str, int, float, bool}


def test_soundfile_reads_a_payload_as_it_lies_in_the_tar(built):
    index = Index.open(built.out)
    track = index[0]
    with open(track.shard, "rb") as file:
        file.seek(track.offset)
        payload = file.read(track.size)
    samples, rate_hz = soundfile.read(io.BytesIO(payload), dtype="int16")
    assert rate_hz == 16_000
    np.testing.assert_array_equal(samples, read_track(index, 0))
