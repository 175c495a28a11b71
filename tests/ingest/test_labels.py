"""Labels: joined by whatever names tracks, typed by written rules, opened by the reader."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingest.labels.add import Options, add_labels
from ingest.labels.kinds import NoLabels, infer_kind, read_target, why_no_labels
from ingest.labels.table import join, read_table
from shards.errors import InputError
from shards.files import read_parquet
from shards.index import Index
from shards.labels import SPLITS, Labels

SEPARATOR = ";"


def index_of(sources, **columns):
    """An index of tracks that exist in name only."""
    keys = [f"{number:032x}" for number in range(len(sources))]
    empty = [""] * len(sources)
    values = {"artist": empty, "album": empty, "duplicate_of": empty, **columns}
    values = {"source": sources, "key": keys, **values}
    return SimpleNamespace(
        column=lambda name: np.array(values[name], object),
        row_of_key={key: row for row, key in enumerate(keys)},
        path="archive",
    )


# Joining


def write(path, text: str):
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("column", "cells"),
    [
        ("path", ["a/one.wav", "a/two.wav", "b/three.wav"]),
        ("path", ["./a/one.wav", "a\\two.wav", "b/three.wav"]),
        ("filename", ["one.wav", "two.wav", "three.wav"]),
        ("clip", ["x/y/one.mp3", "two", "three.wav"]),
        ("key", [f"{number:032x}" for number in range(3)]),
    ],
    ids=["path", "odd path", "file name", "stem in any column", "key"],
)
def test_tracks_are_found_by_whatever_names_them(column, cells, tmp_path):
    table = write(tmp_path / "t.csv", f"{column},mood\n" + "".join(f"{c},m\n" for c in cells))
    index = index_of(["a/one.wav", "a/two.wav", "b/three.wav"])
    joined = join(read_table(table, separator=SEPARATOR), index)
    assert (joined.by, joined.rows, joined.unmatched) == (column, [0, 1, 2], 0)


def test_a_musical_key_is_not_mistaken_for_the_key_of_a_track(tmp_path):
    table = write(tmp_path / "t.csv", "key,path\nF# minor,one.wav\nC major,two.wav\n")
    joined = join(read_table(table, separator=SEPARATOR), index_of(["one.wav", "two.wav"]))
    assert joined.by == "path"
    assert joined.columns["key"] == ["F# minor", "C major"]


def test_a_file_name_that_stands_in_two_folders_names_no_track(tmp_path):
    table = write(tmp_path / "t.csv", "file,mood\nsame.wav,calm\nother.wav,wild\n")
    index = index_of(["a/same.wav", "b/same.wav", "other.wav"])
    joined = join(read_table(table, separator=SEPARATOR), index)
    assert (joined.rows, joined.unmatched) == ([2], 1)


def test_accents_match_in_either_unicode_form(tmp_path):
    table = write(tmp_path / "t.csv", "path,mood\nJo\u0301ga.wav,calm\n")
    joined = join(read_table(table, separator=SEPARATOR), index_of(["J\u00f3ga.wav"]))
    assert joined.rows == [0]


def test_two_rows_for_one_track_must_agree(tmp_path):
    index = index_of(["one.wav", "two.wav"])
    same = write(tmp_path / "same.csv", "path,mood\none.wav,calm\none.wav,calm\n")
    assert join(read_table(same, separator=SEPARATOR), index).rows == [0]
    differ = write(tmp_path / "differ.csv", "path,mood\none.wav,calm\none.wav,wild\n")
    with pytest.raises(InputError, match=r"one\.wav, and differ in 'mood'"):
        join(read_table(differ, separator=SEPARATOR), index)


def test_a_table_about_other_music_is_refused(tmp_path):
    table = write(tmp_path / "t.csv", "path,mood\nelsewhere.wav,calm\n")
    with pytest.raises(InputError, match=r"No column names tracks .*paths such as 'one\.wav'"):
        join(read_table(table, separator=SEPARATOR), index_of(["one.wav"]))


def test_parquet_gives_the_same_cells_as_csv(tmp_path):
    columns = {"path": ["a.wav", "b.wav"], "n": [1.0, None], "tags": [["x", "y"], []]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    found = read_table(tmp_path / "t.parquet", separator=SEPARATOR)
    assert found == {"path": ["a.wav", "b.wav"], "n": ["1", ""], "tags": ["x;y", ""]}


def test_a_line_with_too_many_cells_is_named(tmp_path):
    table = write(tmp_path / "t.csv", "path,mood\na.wav,calm\nb.wav,calm,or not\n")
    with pytest.raises(InputError, match="line 3: 3 cells for 2 columns"):
        read_table(table, separator=SEPARATOR)


# Typing


@pytest.mark.parametrize(
    ("name", "cells", "kind"),
    [
        ("level", [str(n / 7) for n in range(30)], "number"),
        ("level", [str(n % 10) for n in range(30)], "class"),
        ("bpm", [str(90 + n % 3) for n in range(30)], "number"),
        ("mood", ["calm", "wild", ""] * 10, "class"),
        ("mood", ["calm;slow", "wild", "calm"] * 10, "tags"),
        ("level", ["1", "2", "nan", "inf"] * 10, "class"),
    ],
)
def test_kinds_follow_the_written_rules(name, cells, kind):
    assert infer_kind(name, cells, separator=SEPARATOR) == kind


@pytest.mark.parametrize(
    ("name", "cells", "why"),
    [
        ("title", [f"song {n}" for n in range(30)], "names or free text"),
        ("id", [str(n) for n in range(30)], "identifiers"),
        ("sample_rate", ["44100", "48000"] * 9, "describes the file"),
        ("mood", ["calm", "wild"] * 9, ""),
        ("tempo", [str(60 + n) for n in range(30)], ""),
    ],
)
def test_columns_that_are_no_labels_say_why(name, cells, why):
    kind = infer_kind(name, cells, separator=SEPARATOR)
    reason = why_no_labels(name, cells, kind)
    assert why in reason
    assert bool(why) == bool(reason)


def test_an_empty_cell_leaves_its_track_without_a_label():
    target = read_target(["a", "", "b", "a; c", ""], kind="tags", separator=SEPARATOR)
    assert target.places == [0, 2, 3]
    assert target.values == [["a"], ["b"], ["a", "c"]]
    with pytest.raises(NoLabels, match="1 values are no numbers, the first is 'fast'"):
        read_target(["120", "fast", "90"], kind="number", separator=SEPARATOR)


# The whole way


def test_labels_of_an_archive_open_with_the_reader_and_keep_duplicates_together(own, tmp_path):
    index = Index.open(own.out)
    sources = list(index.column("source"))
    lines = [f'"{s}",mood {n % 2},{n / 7},x;t{n % 2}' for n, s in enumerate(sources)]
    lines.append('"gone.wav",mood 0,1,x')
    table = write(tmp_path / "t.csv", "\n".join(["path,mood,energy,themes", *lines]))
    told = list(add_labels(own.out, table, Options(all_columns=True)))
    assert told[0].startswith(f"{len(index)} of {len(index)} tracks found by column 'path'; 1 row")
    assert [line.split(";")[0] for line in told[1:]] == [
        "labels mood: class",
        "labels energy: number",
        "labels themes: tags",
    ]
    mood = Labels.open(index, "mood")
    assert mood.classes == ["mood 0", "mood 1"]
    assert sum(len(mood.rows(split)) for split in SPLITS) == len(index)
    assert mood.info["unmatched"] == 1
    assert Labels.open(index, "energy").targets("train").dtype == np.float64
    assert Labels.open(index, "themes").targets("valid").shape[1] == 3
    split_of = {row: split for split in SPLITS for row in mood.rows(split)}
    for row, original in enumerate(index.column("duplicate_of")):
        if original:
            assert split_of[row] == split_of[index.row_of_key[original]]


def test_adding_labels_twice_gives_the_same_bytes_and_touches_nothing_else(own, tmp_path):
    index = Index.open(own.out)
    lines = [f"{key},{'ab'[row % 2]}" for row, key in enumerate(index.column("key"))]
    table = write(tmp_path / "t.csv", "\n".join(["key,letter", *lines]))
    before = (own.out / "index.parquet").stat().st_mtime_ns
    written = []
    for _ in range(2):
        list(add_labels(own.out, table))
        folder = own.out / "labels"
        written.append([(folder / f"letter.{e}").read_bytes() for e in ("parquet", "json")])
    assert written[0] == written[1]
    assert (own.out / "index.parquet").stat().st_mtime_ns == before
    info = json.loads(written[0][1])
    assert info["source"] == {**info["source"], "file": "t.csv", "column": "letter"}
    assert info["split"]["by"] in ("artist", "album", "folder", "track")


def test_which_column_is_asked_when_several_could_be_meant(own, tmp_path):
    index = Index.open(own.out)
    lines = [f"{key},{'ab'[r % 2]},{'cd'[r % 2]}" for r, key in enumerate(index.column("key"))]
    table = write(tmp_path / "t.csv", "\n".join(["key,one,two", *lines]))
    with pytest.raises(InputError, match=r"Which column\? .*one, two"):
        list(add_labels(own.out, table))
    assert "labels two" in list(add_labels(own.out, table, Options(name="two")))[1]
    told = list(add_labels(own.out, table, Options(name="renamed", column="one")))
    assert "labels renamed" in told[1]
    with pytest.raises(InputError, match="--group-column: no column 'nothing'"):
        list(add_labels(own.out, table, Options(column="one", group_column="nothing")))


def test_versions_of_one_piece_stay_together(own, tmp_path):
    index = Index.open(own.out)
    lines = [f"{k},{'ab'[r % 2]},{r // 2}" for r, k in enumerate(index.column("key"))]
    table = write(tmp_path / "t.csv", "\n".join(["key,mood,cover_group", *lines]))
    list(add_labels(own.out, table, Options(name="covers", column="mood")))
    rows = read_parquet(own.out / "labels/covers.parquet").to_pylist()
    split_of = {index.row_of_key[row["key"]]: row["split"] for row in rows}
    for row in range(0, len(index) - 1, 2):
        assert split_of[row] == split_of[row + 1]
