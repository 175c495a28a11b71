"""Beats and segments: one table for all tracks or a file for each, with errors that name a line."""

import json
import random
from contextlib import suppress

import pytest

from ingest.cli import main
from ingest.labels.add import Options, add_labels, make_again, tell_labels
from ingest.labels.events import EMPTY, PAST_END, events_of, file_rows, guess_kind
from ingest.labels.kinds import NoLabels
from shards.errors import InputError
from shards.files import read_parquet
from shards.index import Index
from shards.labels import SPLITS, Labels


def read(tmp_path, text, kind="beats", *, which="", duration_s=10.0):
    """Start, end and value of the events in a file, and what is left out."""
    file = tmp_path / "events.csv"
    file.write_text(text)
    rows = file_rows(file)
    events, odd = events_of(kind, rows, file=file.name, which=which, duration_s=duration_s)
    return [(e["start_s"], e["end_s"], e["value"]) for e in events], odd


@pytest.mark.parametrize(
    "text",
    [
        "0.5\t1\n1.0\t2\n",
        "0.5,1\n1.0,2\n",
        "# made by hand\n0.5 1\n\n1.0 2\n",
        "0.5;1.0\n1;2.0\n",
        "\ufefftime,beat\n0.5,1\n1.0,2\n",
        "beat_position,Time\n1,0.5\n2,1.0\n",
        "1.0,1.0,2\n0.5,0.5,1\n",
        "start_s,end_s,kind,value\n0.5,,beat,1\n0.7,2.0,chord,C\n1.0,,beat,2\n",
        "time,type,beat\n0.5,Downbeat,1\n1.0,beat,2\n",
    ],
    ids="tabs commas spaces semicolons names swapped Audacity chords downbeats".split(),
)
def test_beats_are_read_from_any_of_the_forms(text, tmp_path):
    assert read(tmp_path, text) == ([(0.5, 0.5, "1"), (1.0, 1.0, "2")], {})


def test_a_column_of_times_is_beats_that_nobody_counted(tmp_path):
    assert read(tmp_path, "beat_time_s\n0.04\n0.39\n")[0] == [(0.04, 0.04, ""), (0.39, 0.39, "")]


@pytest.mark.parametrize(
    "text",
    ["0 2.5 verse\n2.5 10 big chorus\n", "0\tverse\n2.5\tbig chorus\n"],
    ids=["start, end, value", "start, value"],
)
def test_segments_last_until_the_next_or_the_end(text, tmp_path):
    found, _ = read(tmp_path, text, "segments")
    assert found == [(0.0, 2.5, "verse"), (2.5, 10.0, "big chorus")]


def test_events_past_the_end_and_segments_without_a_length_are_counted(tmp_path):
    found, odd = read(tmp_path, "0,8,a\n8,8,b\n8,12,c\n11,12,d\n", "segments")
    assert found == [(0.0, 8.0, "a"), (8.0, 10.0, "c")]
    assert odd == {PAST_END: 1, EMPTY: 1}


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("0.5\nfast\n", "beats", r"events\.csv, line 2: want a time in seconds from 0 on, got 'fa"),
        ("0.5\n-1\n", "beats", "line 2: want a time in seconds"),
        ("0.5,1\n\n0.9,two\n", "beats", "line 3: want the beat's place in its bar.*got 'two'"),
        ("0.5\n0.5\n", "beats", "two beats at 0.5 s"),
        ("0,1,a\n3,2,b\n", "segments", "line 2: it ends at 2.0 s, before it starts at 3.0 s"),
        ("0,1\n1\n", "segments", "line 2: a segment wants a value"),
        ("what,when\na,b\n", "beats", "no column of starts such as start_s or time in what, when"),
        ("start,end,kind,value\n0,1,chord,C\n0,4,section,A\n", "segments", "say which by --event"),
    ],
)
def test_a_file_that_cannot_be_read_names_its_line(text, kind, message, tmp_path):
    with pytest.raises(NoLabels, match=message):
        read(tmp_path, text, kind)


@pytest.mark.parametrize("kind", ["beats", "segments"])
def test_any_bytes_are_events_or_say_why_not(kind, tmp_path):
    rng = random.Random(0)
    file = tmp_path / "x"
    for _ in range(300):
        pieces = (
            b"0.5",
            b"1",
            b",",
            b"\t",
            b"\n",
            b" ",
            b'"',
            b"\0",
            b"\xff",
            b"time",
            b"nan",
            b"-",
        )
        file.write_bytes(b"".join(rng.choices(pieces, k=rng.randint(0, 25))))
        with suppress(NoLabels):
            found, _ = events_of(kind, file_rows(file), file="x", which="", duration_s=1.0)
            starts_s = [event["start_s"] for event in found]
            assert starts_s == sorted(starts_s)
            assert all(0 <= e["start_s"] <= e["end_s"] <= 1.0 for e in found)


def test_one_sort_of_segments_is_taken_from_a_file_of_several(tmp_path):
    text = "start,end,kind,value\n0,1,chord,C\n0,4,section,A\n1,2,chord,G\n"
    found, _ = read(tmp_path, text, "segments", which="chord")
    assert found == [(0.0, 1.0, "C"), (1.0, 2.0, "G")]


def test_the_kind_of_a_table_of_events_is_assumed_only_where_it_cannot_be_mistaken():
    assert guess_kind(["path", "start_s", "end_s", "value"]) == "segments"
    assert guess_kind(["path", "Beat_Time_s"]) == "beats"
    assert guess_kind(["path", "time", "loudness"]) == ""


# The whole way


def sources(built):
    """Paths of an archive's tracks that need no escapes."""
    return [s for s in Index.open(built.out).column("source") if "\\" not in s]


def events_file(folder, number):
    """Beats every 50 or 60 ms, counted to 4."""
    times = [n * (0.05 if number % 2 else 0.06) for n in range(8)]
    (folder / f"{number}.beats").write_text(
        "".join(f"{time}\t{n % 4 + 1}\n" for n, time in enumerate(times))
    )
    return times


def test_a_file_of_beats_a_track_becomes_a_label_set(own, tmp_path):
    (tmp_path / "beats").mkdir()
    times = [events_file(tmp_path / "beats", n) for n in range(len(sources(own)))]
    lines = [f'"{source}",beats/{n}.beats' for n, source in enumerate(sources(own))]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,beats_file", *lines]))
    told = list(tell_labels(own.out, table, Options(all_columns=True)))
    assert told[1].facts["name"] == "beats"
    assert told[1].facts["holds"] == f"{8 * len(times)} beats"
    assert f"labels beats: beats; {8 * len(times)} beats; train" in told[1].line
    index = Index.open(own.out)
    labels = Labels.open(index, "beats")
    by_source = dict(zip(sources(own), times, strict=True))
    for split in ("train", "valid"):
        for row, events in zip(labels.rows(split), labels.targets(split), strict=True):
            assert events.start_s.tolist() == by_source[index[row].source]
            assert events.value.tolist() == [1, 2, 3, 4] * 2
    assert "beats holds" in (own.out / "README.md").read_text()
    before = json.loads((own.out / "labels/beats.json").read_text())["source"]
    (tmp_path / "beats/0.beats").write_text("0.1\n0.2\n0.3\n")
    list(add_labels(own.out, table, Options(column="beats_file", name="beats", kind="beats")))
    after = json.loads((own.out / "labels/beats.json").read_text())["source"]
    assert before["sha256"] == after["sha256"]
    assert before["files_sha256"] != after["files_sha256"]


def test_a_track_whose_file_is_empty_is_left_out_and_told(own, tmp_path):
    lines = [f'"{source}",{n}.beats' for n, source in enumerate(sources(own))]
    for n in range(len(lines)):
        events_file(tmp_path, n)
    (tmp_path / "1.beats").write_text("# nobody has listened yet\n")
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,beats_file", *lines]))
    told = list(add_labels(own.out, table, Options(column="beats_file")))
    assert f"{8 * (len(lines) - 1)} beats; " in told[1]
    assert told[1].endswith("left out 1 (tracks without events)")


@pytest.mark.parametrize("name", ["gone.csv", "x" * 500, "beats"])
def test_a_missing_file_of_events_is_named(own, tmp_path, name):
    (tmp_path / "beats").mkdir()
    table = tmp_path / "t.csv"
    lines = [f'"{source}",0.5,{name}' for source in sources(own)]
    table.write_text("\n".join(["path,start,beats_file", *lines]))
    with pytest.raises(InputError, match=f"'beats_file' gives no labels: no file {name[:8]}"):
        list(add_labels(own.out, table, Options(column="beats_file", kind="beats")))


def test_a_table_with_a_row_an_event_becomes_a_label_set(own, tmp_path):
    lines = []
    for n, source in enumerate(sources(own)):
        lines += [f'"{source}",{n % 3},0.0,0.2,A', f'"{source}",{n % 3},0.2,0.4,{"BC"[n % 2]}']
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,album,start_s,end_s,value", *lines]))
    told = list(add_labels(own.out, table, Options(name="parts")))
    assert f"labels parts: segments; 3 classes; {len(lines)} segments" in told[1]
    labels = Labels.open(Index.open(own.out), "parts")
    assert labels.classes == ["A", "B", "C"]
    assert sum(len(labels.rows(split)) for split in SPLITS) == len(sources(own))
    for events in labels.targets("train"):
        assert events.start_s.tolist() == [0.0, 0.2]
        assert events.end_s.tolist() == [0.2, 0.4]
        assert events.value[0] == 0
        assert events.value[1] in (1, 2)
    with pytest.raises(InputError, match="leave out --all"):
        list(add_labels(own.out, table, Options(all_columns=True)))
    table.write_text("\n".join(["path,album,start_s,end_s,value", *lines, lines[0] + "x,y"[1:]]))
    with pytest.raises(InputError, match="6 cells for 5 columns"):
        list(add_labels(own.out, table, Options(name="parts")))


def test_a_bad_row_of_a_table_of_events_is_named(own, tmp_path):
    first = sources(own)[0]
    table = tmp_path / "t.csv"
    table.write_text(f'path,time\n"{first}",0.5\n"{first}",soon\n')
    with pytest.raises(InputError, match=r"t\.csv gives no labels: t\.csv, row 2: want a time"):
        list(add_labels(own.out, table, Options(kind="beats")))
    with pytest.raises(InputError, match="for events --kind beats or segments"):
        list(add_labels(own.out, table, Options()))


def test_events_are_asked_for_on_the_command_line(own, tmp_path, capsys):
    lines = [f'"{s}",{n / 10},{n / 10 + 0.1},chord,C' for s in sources(own) for n in range(4)]
    lines += [f'"{source}",{n / 5},,beat,{n + 1}' for source in sources(own) for n in range(3)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,start,end,kind,value", *lines]))
    args = ["labels", str(own.out), str(table), "--kind"]
    assert main([*args, "beats", "--name", "beats"]) == 0
    assert f"; {3 * len(sources(own))} beats; " in capsys.readouterr().out
    assert main([*args, "segments", "--name", "x"]) == 2
    assert "say which by --event" in capsys.readouterr().err
    assert main(["info", str(own.out)]) == 0
    assert f"labels beats: beats, {3 * len(sources(own))} beats; train" in capsys.readouterr().out


def test_label_sets_of_every_new_kind_are_made_again_from_their_table(own, tmp_path):
    (tmp_path / "beats").mkdir()
    lines = []
    for n, source in enumerate(sources(own)):
        events_file(tmp_path / "beats", n)
        lines.append(f'"{source}",beats/{n}.beats,{"CDEF"[n % 4]}m,{n // 2}')
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["path,beats_file,key,cover_group", *lines]))
    long = tmp_path / "long.csv"
    rows = [f'"{s}",{t / 10},{"AB"[t % 2]}' for s in sources(own) for t in range(5)]
    long.write_text("\n".join(["path,start_s,value", *rows]))
    list(add_labels(own.out, table, Options(all_columns=True)))
    list(add_labels(own.out, long, Options(name="parts", kind="segments")))
    index = Index.open(own.out)
    kinds = {"beats": "beats", "key": "key", "cover_group": "group", "parts": "segments"}
    for name, kind in kinds.items():
        info = json.loads((own.out / f"labels/{name}.json").read_text())
        assert info["kind"] == kind
        again = make_again(index, long if name == "parts" else table, info)
        written = read_parquet(own.out / f"labels/{name}.parquet")
        assert again.equals(written.replace_schema_metadata(None))


# Versions of a piece


def test_versions_of_a_piece_never_part_and_pieces_alone_stay(own, tmp_path):
    index = Index.open(own.out)
    keys = list(index.column("key"))
    pieces = [f"piece {n // 2}" if n < 10 else f"alone {n}" for n in range(len(keys))]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["key,clique", *map(",".join, zip(keys, pieces, strict=True))]))
    told = list(add_labels(own.out, table, Options(all_columns=True, split_by="track")))
    assert "labels clique: group" in told[1]
    assert "5 with more than one version" in told[1]
    labels = Labels.open(index, "clique")
    where = {}
    for row in read_parquet(own.out / "labels/clique.parquet").to_pylist():
        where.setdefault(row["target"], set()).add(row["split"])
    assert set(where) == set(pieces)
    assert all(len(splits) == 1 for splits in where.values())
    assert {split for name in where if "piece" in name for split in where[name]} == set(SPLITS)
    assert labels.names == sorted(set(pieces))


def test_a_given_split_may_be_all_test_and_of_a_parted_piece_the_last_split_stays(own, tmp_path):
    keys = list(Index.open(own.out).column("key"))
    rows = [f"{key},{n // 2},test" for n, key in enumerate(keys)]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["key,version_group,split", *rows]))
    options = Options(column="version_group", kind="group")
    assert f"train 0, valid 0, test {len(keys)}" in list(add_labels(own.out, table, options))[1]
    rows[0] = rows[0].replace("test", "train")
    table.write_text("\n".join(["key,version_group,split", *rows]))
    told = list(add_labels(own.out, table, options))[1]
    assert f"train 0, valid 0, test {len(keys) - 1}" in told
    assert "parts 1 pieces" in told
