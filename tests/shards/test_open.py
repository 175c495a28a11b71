"""shards.open: an archive for people; parts of tracks are exact, test targets stay closed."""

import html
import io
import pickle
import re
import shutil
import subprocess
import sys
from base64 import b64decode

import numpy as np
import pyarrow as pa
import pytest
import soundfile

import shards
from ingest import build_shards
from ingest.settings import Settings
from shards.errors import InputError
from shards.index import Index
from shards.labels import label_schema, write_labels
from shards.place import Remote
from shards.reader import read_track


@pytest.fixture(scope="module")
def opened(archive):
    return shards.open(archive)


@pytest.fixture
def copy(archive, tmp_path):
    return shutil.copytree(archive, tmp_path / "copy")


def label(path, kind, targets, classes):
    """Label all tracks; the first half train, the next quarter valid, the rest test."""
    index = Index.open(path)
    split = ["train"] * 6 + ["valid"] * 3 + ["test"] * 3
    columns = {"key": index.column("key"), "target": targets, "group": list("abcdefghijkl")}
    table = pa.table({**columns, "split": split}, schema=label_schema(kind))
    write_labels(path, f"of-{kind}", table, {"format": 1, "kind": kind, "classes": classes})


def test_a_track_comes_with_waveform_rate_and_facts(opened, index):
    assert len(opened) == 12
    for row in (0, 7, -1):
        sound = opened[row]
        want = read_track(index, row % 12)
        np.testing.assert_array_equal(sound.samples, want)
        np.testing.assert_array_equal(sound.waveform, want / np.float32(32_768))
        assert sound.waveform.dtype == np.float32
        assert (sound.sample_rate, sound.start_s) == (16_000, 0.0)
        assert sound.track == index[row % 12]
        assert sound.duration_s == pytest.approx(sound.track.duration_s)


@pytest.mark.parametrize(
    ("part", "samples"),
    [
        (slice(3.0, 5.5), slice(48_000, 88_000)),
        (slice(3, 5), slice(48_000, 80_000)),
        (slice(None, 0.25), slice(0, 4_000)),
        (slice(-2.0, None), slice(-32_000, None)),
        (slice(15.0, 1e6), slice(240_000, None)),
        (slice(5.0, 4.0), slice(0, 0)),
        (slice(1e6, None), slice(0, 0)),
    ],
)
def test_a_part_in_seconds_is_that_part_of_the_track(opened, index, part, samples):
    for row in (0, 5):
        sound = opened[row, part]
        np.testing.assert_array_equal(sound.samples, read_track(index, row)[samples])
        if len(sound):
            first = range(sound.track.frames)[samples].start
            assert sound.start_s == pytest.approx(first / 16_000)


def test_a_part_reads_only_its_bytes(copy):
    """All of the payload but what four seconds in its middle need is overwritten."""
    from shards.seek import byte_range, seek_table

    index = Index.open(copy)
    track = index[3]
    want = read_track(index, 3)[160_000:192_000]
    part = byte_range(seek_table(index, 3), track.size, 16_000, 160_000, 32_000)
    behind = part.stop + 20_000  # libsndfile reads ahead a little
    with open(track.shard, "r+b") as file:
        file.seek(track.offset + behind)
        file.write(bytes(track.size - behind))
    np.testing.assert_array_equal(shards.open(copy)[3, 10.0:12.0].samples, want)


def test_a_slice_a_list_and_a_mask_give_smaller_archives_that_read_nothing_yet(opened):
    long = opened.table["duration_s"].to_numpy() > 25
    for which, rows in (
        (slice(2, 5), [2, 3, 4]),
        (slice(None, None, -5), [11, 6, 1]),
        ([3, 1, -1], [3, 1, 11]),
        (np.array([4]), [4]),
        ([], []),
        (long, np.flatnonzero(long)),
        (pa.chunked_array([pa.array(long)]), np.flatnonzero(long)),
    ):
        part = opened[which]
        assert part.rows.tolist() == list(rows)
        assert part.table["row"].to_pylist() == list(rows)
        assert [sound.track.row for sound in part] == list(rows)
    assert opened[2:8][1:3][0].track.row == 3


def test_tracks_are_found_by_key(opened):
    key = opened.table["key"][4].as_py()
    assert opened[key].track.row == opened[key, 1.0:2.0].track.row == 4
    assert key in opened
    assert key not in opened[:3]
    assert "no such key" not in opened
    with pytest.raises(KeyError, match="No track here"):
        opened[:3][key]


@pytest.mark.parametrize("which", [12, -13])
def test_a_place_past_the_end_is_refused(opened, which):
    with pytest.raises(IndexError, match="archive of 12"):
        opened[which]


@pytest.mark.parametrize("which", [3.5, [0.5], (3, 4.0), (3, slice(0, 9, 2)), ["x"]])
def test_what_selects_nothing_sensible_says_what_is_wanted(opened, which):
    with pytest.raises(InputError, match="Want a"):
        opened[which]


def test_it_prints_hours_tracks_rate_licence_and_labels(copy):
    label(copy, "class", ["low", "high"] * 6, ["high", "low"])
    said = repr(shards.open(copy))
    for words in ("12 tracks", "0.08 h", "16000 Hz", "flac", "not stated", "labels of-class"):
        assert words in said
    assert "3 tracks of 12" in repr(shards.open(copy)[:3])
    assert re.search(r"row 2, '.*', 1.50 s from 2.00 s of \d+", repr(shards.open(copy)[2, 2:3.5]))


def test_its_page_escapes_what_came_from_outside(tmp_path):
    (tmp_path / "audio").mkdir()
    name = "<img src=x onerror=alert('x')>\x1b[2J.wav"
    soundfile.write(tmp_path / "audio" / name, np.sin(np.arange(16_000) / 9), 16_000)
    settings = Settings(licence="<script>alert('x')</script>")
    build_shards(tmp_path / "audio", tmp_path / "out", settings=settings, num_workers=1)
    hostile = shards.open(tmp_path / "out")
    for page in (hostile._repr_html_(), hostile[0, :0.1]._repr_html_()):
        assert "<script" not in page
        assert "<img" not in page
        assert "\x1b" not in page
        assert "&lt;script&gt;" in page
        assert "&lt;img" in page


def test_its_page_counts_labels_and_names_damaged_ones(copy):
    label(copy, "class", ["low", "high"] * 6, ["high", "low"])
    label(copy, "number", list(map(float, range(12))), [])
    (copy / "labels" / "of-number.parquet").write_bytes(b"not a table")
    page = html.unescape(shards.open(copy)._repr_html_())
    assert "class, 2 classes; train 6, valid 3, test 3" in page
    assert "of-number.parquet is missing or damaged" in page
    assert "and 7 more" in page


def test_a_sounds_page_plays_its_samples(opened):
    sound = opened[1, 2.0:3.0]
    data = re.search(r'src="data:audio/wav;base64,([^"]*)"', sound._repr_html_())[1]
    played, rate_hz = soundfile.read(io.BytesIO(b64decode(data)), dtype="int16")
    assert rate_hz == 16_000
    np.testing.assert_array_equal(played, sound.samples)


@pytest.mark.parametrize(
    ("kind", "targets", "classes"),
    [
        ("class", ["low", "high"] * 6, ["high", "low"]),
        ("number", [float(i) for i in range(12)], []),
        ("tags", [["b"] if i % 3 else ["a", "b"] for i in range(12)], ["a", "b"]),
    ],
)
def test_labels_are_a_table_whose_test_targets_stay_closed(copy, kind, targets, classes):
    label(copy, kind, targets, classes)
    opened = shards.open(copy)
    table = opened.labels(f"of-{kind}")
    assert table["row"].to_pylist() == list(range(12))
    assert table["key"].to_pylist() == opened.table["key"].to_pylist()
    assert table["target"].to_pylist() == [*targets[:9], None, None, None]
    assert table["split"].to_pylist()[5:10] == ["train", "valid", "valid", "valid", "test"]
    assert table["group"].to_pylist() == list("abcdefghijkl")
    assert opened[[8, 2]].labels(f"of-{kind}")["row"].to_pylist() == [2, 8]


def test_labels_that_are_not_there_are_named(opened):
    assert opened.label_names == []
    with pytest.raises(InputError, match="No labels 'mood'"):
        opened.labels("mood")


def test_an_archive_of_an_object_store_is_opened_alike(archive, opened):
    from pyarrow.fs import LocalFileSystem

    remote = shards.open(Remote(LocalFileSystem(), str(archive), "local"))
    assert remote.table.equals(opened.table)
    np.testing.assert_array_equal(remote[4, 2.0:6.0].samples, opened[4, 2.0:6.0].samples)
    assert shards.open(archive.as_uri()).table.equals(opened.table)


def test_it_can_be_sent_to_another_process_unless_the_archive_changes(copy, tmp_path):
    """So torch's DataLoader takes it as it is."""
    opened = shards.open(copy)
    data = pickle.dumps(opened[3:6])
    assert len(data) < 2_000
    np.testing.assert_array_equal(pickle.loads(data)[1, :1.0].samples, opened[4, :1.0].samples)
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a.wav", np.sin(np.arange(16_000) / 9), 16_000)
    shutil.rmtree(copy)
    build_shards(tmp_path / "audio", copy, num_workers=1)
    with pytest.raises(InputError, match="has changed since it was opened"):
        pickle.loads(data)


def test_neither_torch_nor_ray_is_loaded(archive):
    code = (
        "import sys, shards\n"
        f"archive = shards.open({str(archive)!r})\n"
        "archive[3, 1.0:2.0].waveform, archive.table, repr(archive), archive._repr_html_()\n"
        "print(*{'torch', 'ray'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
