"""Real music, well and ill: what libsndfile reads is packed, what it refuses is listed."""

import csv
import re
import shutil

import numpy as np
import pytest

from ingest.build import build_shards
from ingest.labels.add import Options, add_labels
from ingest.sniff import is_installed
from shards.index import Index
from shards.labels import SPLITS, Labels
from shards.reader import read_track

SHORTEST_S = 0.1


def table(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def ugly(real_audio, tmp_path_factory):
    return build_shards(real_audio / "ugly", tmp_path_factory.mktemp("ugly") / "out")


def test_ugly_files_end_as_the_oracle_says(real_audio, ugly):
    """The oracle is a full read by soundfile; it read no samples from a few files that are "OK"."""
    packed = set(Index.open(ugly.out).column("source"))
    refused = {row["path"]: row["code"] for row in ugly.rejected}
    for row in table(real_audio / "ugly/labels.csv"):
        said = row["soundfile_1_2_2"]
        numbers = {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)\b(?!\.)", said)}
        if said.startswith("ERR"):
            assert row["path"] not in packed or is_installed()  # PyAV reads some of them
        elif "frames_read" not in numbers:
            assert row["path"] in packed
        elif numbers["frames_read"] == 0:
            assert refused[row["path"]] == "empty"
        elif numbers["frames_read"] / numbers["sr"] < SHORTEST_S:
            assert refused[row["path"]] == "too_short"
        else:
            assert row["path"] in packed


def test_ugly_tracks_are_as_long_as_soundfile_reads_them(real_audio, ugly):
    index = Index.open(ugly.out)
    oracle = {row["path"]: row["soundfile_1_2_2"] for row in table(real_audio / "ugly/labels.csv")}
    for row in range(len(index)):
        track = index[row]
        assert len(read_track(index, row)) == track.frames
        found = re.search(r"frames_read=(\d+) sr=(\d+)", oracle[track.source])
        if found:
            frames, rate_hz = map(int, found.groups())
            assert track.duration_s == pytest.approx(frames / rate_hz, abs=1e-3)


def test_no_ugly_file_is_lost(real_audio, ugly):
    names = [p for p in (real_audio / "ugly").rglob("*") if p.is_file()]
    assert ugly.manifest["tracks"] + len(ugly.rejected) + ugly.manifest["others"] == len(names)


@pytest.mark.slow
def test_the_scored_tracks_get_their_beats_and_versions_stay_together(real_audio, tmp_path):
    shutil.copytree(real_audio / "supertux-scores", tmp_path / "in/supertux-scores")
    built = build_shards(tmp_path / "in", tmp_path / "out")
    list(add_labels(built.out, real_audio / "labels.csv", Options(all_columns=True)))
    index = Index.open(built.out)
    beats = Labels.open(index, "beats")
    rows = {row["path"]: row for row in table(real_audio / "labels.csv") if row["beats_file"]}
    assert len(rows) == 9
    assert sum(len(beats.rows(split)) for split in SPLITS) == 9
    for split in ("train", "valid"):
        assert len(beats.rows(split))
        for row, events in zip(beats.rows(split), beats.targets(split), strict=True):
            period_s = 60 / float(rows[index[row].source]["bpm"])
            assert np.median(np.diff(events.start_s)) == pytest.approx(period_s, rel=0.01)
    pieces = Labels.open(index, "version_group")
    assert pieces.kind == "group"
    shared = [set(pieces.groups(split)) for split in SPLITS]
    assert sum(map(len, shared)) == len(set.union(*shared))


@pytest.mark.slow
def test_the_whole_tracks_get_labels_that_make_sense(real_audio, tmp_path):
    for name in ("spd", "hyperrogue", "super-bombinhas", "small-games", "aaaaxy", "wizznic"):
        shutil.copytree(real_audio / name, tmp_path / "in" / name)
    built = build_shards(tmp_path / "in", tmp_path / "out")
    assert built.rejected == []
    told = list(add_labels(built.out, real_audio / "labels.csv", Options(all_columns=True)))
    index = Index.open(built.out)
    game = Labels.open(index, "album_or_game")
    assert game.kind == "class"
    assert len(game.classes) >= 6
    assert game.info["split"]["by"] == "track"
    assert "not by album: it determines the label" in game.info["split"]["note"]
    assert Labels.open(index, "scene").kind == "tags"
    assert any(line.startswith("no labels from track_title") for line in told)
    assert not any("labels samplerate: " in line for line in told)
    together = [row["path"] for row in table(real_audio / "versions.csv")]
    split_of = {index[r].source: split for split in SPLITS for r in game.rows(split)}
    groups = {}
    for row in table(real_audio / "versions.csv"):
        if row["path"] in split_of:
            groups.setdefault(row["group"], set()).add(split_of[row["path"]])
    assert together
    assert groups
    assert all(len(splits) == 1 for splits in groups.values())
