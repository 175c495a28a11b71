"""The benchmark of streams gives everybody the same clips, and notices wrong ones."""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from scripts.bench.ingest import environment
from scripts.bench.stream import in_words, pack, run
from scripts.bench.streams import corpus as made
from scripts.bench.streams import picture
from scripts.bench.streams.common import (
    Given,
    Visits,
    members,
    sums,
    windows,
    windows_of_whole,
)
from scripts.bench.streams.contents import STREAMERS, Streamer
from scripts.bench.streams.run import cpu_s, held_mib, wrong
from scripts.bench.streams.table import columns, table

OPTIONS = Namespace(batch_size=4, workers=1, seconds=0.5, peer_packages="", view="pair")


@pytest.fixture(scope="module")
def data(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic corpus as three tracks of 30 s, packed for all streams."""
    folder = tmp_path_factory.mktemp("streams") / "data"
    assert made.prepare(folder, corpus, tracks=3, track_s=30) == 3
    return folder


def given(data: Path, view: str = "pair") -> Given:
    return Given(data, "flac", view, 4, 1, 1, "")


def measured(data: Path, streamer: Streamer, view: str = "pair") -> dict[str, float]:
    options = Namespace(**{**vars(OPTIONS), "view": view})
    facts = run(streamer, data, environment(options), options)
    assert "failed" not in facts, facts
    return facts


@pytest.mark.parametrize("view", made.VIEWS)
def test_every_visit_has_its_own_clips_inside_the_track(data: Path, view: str) -> None:
    told = given(data, view)
    assert told.starts.shape == (made.VISITS, 3, made.VIEWS[view].num_views)
    assert told.starts.min() >= 0
    assert told.starts.max() <= 30 * 16_000 - told.clip_frames
    assert told.clip_frames == made.VIEWS[view].clip_frames(16_000)
    assert len(np.unique(told.starts[:, 0, 0])) > made.VISITS // 2


def test_workers_of_a_stream_never_read_the_same_visit(data: Path) -> None:
    one, other = (Visits(given(data), worker, 2) for worker in (0, 1))
    seen = [one(2), other(2), one(2), other(2)]
    np.testing.assert_array_equal(seen, given(data).starts[:4, 2])


def test_clips_read_in_part_equal_those_cut_from_the_whole(data: Path) -> None:
    """Of the FLAC and the WAV payload; both as the archive's own reader has them."""
    for row, audio in members(data):
        told = given(data)
        start, frames = told.starts[5, row], told.clip_frames
        clips = windows(audio, start, frames)
        np.testing.assert_array_equal(clips, windows_of_whole(audio, start, frames))
        np.testing.assert_array_equal(clips, made.expected(told, row, start))
        wav = str(data / "members" / f"{row:06d}.wav")
        np.testing.assert_array_equal(clips, windows(wav, start, frames))


def test_a_stream_that_gives_other_clips_is_found(data: Path) -> None:
    told = given(data)
    start = told.starts[:2, 1]
    right = sums(np.stack([made.expected(told, 1, one) for one in start]))
    assert wrong(told, (np.array([1, 1]), start, right)) == 0
    assert wrong(told, (np.array([1, 1]), start + 1, right)) == 2
    assert wrong(told, (np.array([1, 2]), start, right)) == 1


@pytest.mark.parametrize(("name", "view"), [("bare", "pair"), ("inline", "hierarchical")])
def test_a_stream_is_measured_in_a_process_of_its_own(data: Path, name: str, view: str) -> None:
    facts = measured(data, STREAMERS[name], view)
    assert facts["wrong"] == 0
    assert facts["views_per_s"] > 1
    assert 0 < facts["cpu_s_per_view"] < 1
    assert 0 < facts["asked_s"] < facts["first_s"] < 60


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["bare wav", "inline", "inline wav", "ray", "webdataset", "webdataset whole", "datasets"],
)
def test_all_that_are_at_hand_give_the_same_clips(data: Path, name: str) -> None:
    streamer = STREAMERS[name]
    if streamer.module == "hf_datasets":
        assert pack(streamer.module, data, environment(OPTIONS)) == ""
    assert measured(data, streamer)["views_per_s"] > 1


def test_a_stream_that_fails_is_named_with_its_error(data: Path) -> None:
    facts = run(Streamer("no_such_stream"), data, environment(OPTIONS), OPTIONS)
    assert "No module named 'scripts.bench.streams.no_such_stream'" in facts["failed"]


def test_processor_time_and_memory_are_those_of_all_processes_below() -> None:
    code = "held = b'x' * (60 << 20); print(1, flush=True)\nwhile True: pass"
    cpu, mib = cpu_s(), held_mib()
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    try:
        assert worker.stdout is not None
        worker.stdout.readline()
        begun = cpu_s()
        while cpu_s() - begun < 0.3:
            time.sleep(0.05)
        assert 50 < held_mib() - mib < 150
    finally:
        worker.kill()
        worker.communicate()
    assert cpu_s() - cpu >= 0.3  # what has ended counts on


def test_ratios_are_medians_round_by_round() -> None:
    def runs(rates: list[float], cpu: float) -> list[dict[str, object]]:
        one = {"cpu_s_per_view": cpu, "first_s": 2.0, "again_s": 0.5, "memory_mib": [[1, 30.0]]}
        return [{**one, "views_per_s": rate} for rate in rates]

    three = {"bare": runs([100, 10, 50], 0.002), "inline": runs([90, 9.8, 60], 0.003)}
    line = columns(three, STREAMERS, "inline")
    assert line["views/s"] == 60
    assert line["of limit"] == line["of bare"] == pytest.approx(0.98)
    assert line["of limit's"] == pytest.approx(1.5)
    assert line["CPU ms"] == pytest.approx(3)
    title, bare, ours = table(three, STREAMERS)
    assert len(title) == len(bare) == len(ours)
    assert ours.split()[:3] == ["inline", "60.00", "0.98"]


def test_memory_over_time_is_told_with_its_slope() -> None:
    memory = [(60.0 * minute, 100 + 2 * minute / 60) for minute in range(61)]
    assert in_words(memory) == (
        "100 MiB after a tenth of the time, 100 to 102 since, 102 at the end; "
        "slope +2.00 MiB an hour"
    )


def test_pictures_are_drawn(tmp_path: Path) -> None:
    figures = {"bare": {"views/s": 100.0, "CPU ms": 2.0}, "ray": {"views/s": 90.0, "CPU ms": 3.0}}
    picture.bars(tmp_path / "bars.png", figures, {"bare": "bare", "ray": "bare"})
    picture.lines(tmp_path / "lines.png", {"ray": [(0, 10.0), (60, 11.0)]})
    for name in ("bars", "lines"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
