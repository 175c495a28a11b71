"""Selections: who may be used and why not, of one archive and of several, in memory and mapped."""

import multiprocessing
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from shards import mapped
from shards.columns import numbers
from shards.errors import InputError
from shards.how import FRAMES, SAMPLES, SANDBOXED
from shards.select import narrow, select
from shards.selection import COLUMNS, Selection
from shards.verdicts import verdicts
from shards.views.pair import AnchorPositive
from tests.shards.silent import silent_archive

ROOT = Path(__file__).resolve().parents[2]
VIEW = AnchorPositive()


@pytest.fixture(scope="module")
def indexes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("silent")
    originals = ["" if i % 4 else f"{0:032x}" for i in range(20)]
    lengths = [16_000 * (60 if i % 5 else 2) for i in range(20)]
    one = silent_archive(folder / "one", 20, duplicate_of=originals, frames=lengths)
    codecs = [("flac", "wav", "mp3")[i % 3] for i in range(15)]
    other = silent_archive(folder / "other", 15, shards=3, name=1, codec=codecs)
    return [one, other]


def test_nothing_left_says_what_kept_all_out(indexes):
    with pytest.raises(InputError, match=r"5 duplicate; 3 shorter than 128000 samples; 12 not f"):
        select(indexes[:1], VIEW, where=["frames < 0"])


def test_every_track_has_a_verdict(indexes):
    verdict, reasons = verdicts(indexes[0], VIEW)
    assert reasons == ["", "duplicate", "shorter than 128000 samples"]
    for row, number in enumerate(verdict):
        assert number == (1 if row % 4 == 0 else 2 if row % 5 == 0 else 0)
    kept = select(indexes[:1], VIEW)
    assert kept.left_out == {"duplicate": 5, "shorter than 128000 samples": 3}
    assert kept.columns["row"].tolist() == np.flatnonzero(verdict == 0).tolist()


def test_copies_stay_when_asked_for(indexes):
    assert select(indexes[:1], VIEW, duplicates=True).left_out == {"shorter than 128000 samples": 4}


def test_archives_lie_one_after_another(indexes):
    both = select(indexes, VIEW)
    one, other = (select([index], VIEW) for index in indexes)
    assert [(o.first_row, o.begin, o.end) for o in both.origins] == [(0, 0, 12), (20, 12, 27)]
    assert both.columns["row"].tolist() == [*one.columns["row"], *(20 + other.columns["row"])]
    assert both.num_rows == 35
    place = np.arange(len(both))
    at = both.located(place)
    for where, index in ((slice(0, 12), indexes[0]), (slice(12, None), indexes[1])):
        rows = both.row(place)[where] - (20 if index is indexes[1] else 0)
        for name in ("offset", "size", "seek"):
            assert at[name][where].tolist() == index.column(name)[rows].tolist()
        paths = [both.shards[number] for number in at["shard"][where]]
        assert paths == [index[row].shard for row in rows]
        assert at["track_frames"][where].tolist() == index.column("frames")[rows].tolist()
    assert at["how"][12:].tolist() == [FRAMES, SAMPLES, SANDBOXED] * 5
    assert both.seek_tables[5] == indexes[1].path / "seek" / "shard-000000.npy"
    assert {name: str(column.dtype) for name, column in at.items()} == {
        "shard": "int32",
        "how": "int8",
        **dict.fromkeys(("offset", "size", "track_frames", "seek"), "int64"),
    }


def test_archives_of_different_rates_are_refused(indexes, tmp_path):
    odd = silent_archive(tmp_path / "odd", 3, shards=1, rate=22_050)
    with pytest.raises(InputError, match=r"one sample rate, got \[16000, 22050\] Hz"):
        select([indexes[0], odd], VIEW)


def test_a_mapped_selection_is_the_same_as_one_in_memory(indexes, tmp_path):
    here = select(indexes, VIEW)
    there = select(indexes, VIEW, map_from=0, folder=tmp_path)
    again = select(indexes, VIEW, map_from=0, folder=tmp_path)
    for name in COLUMNS:
        for selection in (there, again):
            np.testing.assert_array_equal(here.columns[name], selection.columns[name])
            assert isinstance(selection.columns[name].base, np.memmap)
    assert (here.sha256, here.layout_sha256, here.left_out, here.origins) == (
        (there.sha256, there.layout_sha256, there.left_out, there.origins)
    )
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_what_changes_a_selection_changes_its_name(indexes, tmp_path):
    select(indexes, VIEW, map_from=0, folder=tmp_path)
    for change in (
        {"where": ["duration_s > 1"]},
        {"duplicates": True},
        {"view": AnchorPositive(clip_s=9)},
        {"indexes": indexes[:1]},
        {"indexes": indexes[::-1]},
    ):
        kind = {"indexes": indexes, "view": VIEW, **change}
        before = {path.name for path in tmp_path.glob("*-*")}
        select(map_from=0, folder=tmp_path, **kind)
        assert {path.name for path in tmp_path.glob("*-*")} - before
    assert len(list(tmp_path.glob("*-*"))) <= mapped.KEPT


def slowly(write):
    import time

    time.sleep(0.3)
    write("x", np.arange(5))
    return {"by": multiprocessing.current_process().pid}


def build(folder):
    columns, facts = mapped.columns_of(folder, "name", slowly)
    return columns["x"].tolist(), facts["by"]


def test_processes_that_come_together_build_once(tmp_path):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        results = pool.map(build, [tmp_path] * 3, chunksize=1)
    assert [columns for columns, _ in results] == [list(range(5))] * 3
    assert len({by for _, by in results}) == 1


def test_a_builder_that_dies_leaves_nothing_that_is_taken_for_whole(tmp_path):
    def dies(write):
        write("x", np.arange(3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mapped.columns_of(tmp_path, "name", dies)
    assert build(tmp_path)[0] == list(range(5))


def test_a_folder_that_others_may_write_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = mapped.private_folder()
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    with pytest.raises(InputError, match="not private"):
        mapped.private_folder()


def test_narrow_columns_keep_their_values():
    for top, dtype in ((0, "uint8"), (255, "uint8"), (256, "uint16"), (2**40, "uint64")):
        column = narrow(np.array([0, top], np.int64))
        assert column.tolist() == [0, top]
        assert column.dtype == dtype


def test_rows_in_the_order_wanted(indexes):
    chosen = Selection.of(indexes[1], np.array([7, 2, 9]))
    assert chosen.row(np.array([0, 2])).tolist() == [7, 9]
    assert chosen.located(np.array([1]))["offset"].tolist() == [1024]


def test_row_groups_do_not_show(tmp_path, monkeypatch):
    kind = {
        "codec": ["flac"] * 9 + ["wav"] * 9 + ["mp3", "flac"] * 11,
        "duplicate_of": ["" if i % 3 else f"{0:032x}" for i in range(40)],
        "frames": [16_000 * (60 if i % 7 else 2) for i in range(40)],
    }
    whole = silent_archive(tmp_path / "one", 40, **kind)
    monkeypatch.setattr("shards.files.ROW_GROUP", 9)
    parted = silent_archive(tmp_path / "other", 40, **kind)
    assert len([*parted.groups(["row"])]) == 5
    np.testing.assert_array_equal(parted.how, whole.how)
    for conditions in ([], ["duration_s > 60.0005"]):
        here, there = (select([index], VIEW, where=conditions) for index in (whole, parted))
        for name in COLUMNS:
            np.testing.assert_array_equal(here.columns[name], there.columns[name])
            assert here.columns[name].dtype == there.columns[name].dtype
        assert (here.sha256, here.left_out) == (there.sha256, there.left_out)


def test_numbers_are_those_of_arrow_whatever_the_chunks():
    for kind, values in ((pa.int32(), [5, -1, 7]), (pa.bool_(), [True, False]), (pa.float32(), [])):
        whole = pa.array(values, kind)
        for column in (pa.chunked_array([whole]), pa.chunked_array([whole[:1], whole[1:]], kind)):
            assert numbers(column).tolist() == values
        assert numbers(pa.chunked_array([whole[1:]])).tolist() == values[1:]


PLANS = """
import sys
from shards.index import Index
from shards.plan import TrainPlan
from shards.views.pair import AnchorPositive
TrainPlan(Index.open(sys.argv[1]), AnchorPositive())
print("pandas" in sys.modules)
"""


def test_planning_loads_no_pandas(indexes):
    command = [sys.executable, "-c", PLANS, str(indexes[0].path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == "False\n"
