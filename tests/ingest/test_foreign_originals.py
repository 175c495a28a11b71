"""Tars of others with mp3, ogg and mixed rates: a track reads as a build would have packed it."""

import functools
import hashlib
import io
import shutil
import subprocess
import sys

import numpy as np
import pytest

from ingest.build import build_shards
from ingest.card import CARD
from ingest.cli import main
from ingest.settings import Settings
from ingest.sniff import is_installed
from shards.index import Index
from shards.plan import TrainPlan, WindowPlan
from shards.reader import read_track, read_window
from shards.stream import stream
from shards.views.pair import AnchorPositive
from tests.ingest.tars import audio, codes, index, write_tar


def m4a(number: int) -> bytes:
    """A second and a half of AAC at 44.1 kHz, stereo."""
    import av

    noise = np.random.default_rng(number).normal(0, 0.1, (2, 66_150)).astype(np.float32)
    file = io.BytesIO()
    with av.open(file, "w", format="ipod") as container:
        stream = container.add_stream("aac", rate=44_100, layout="stereo")
        for at in range(0, 66_150, 1_024):
            frame = av.AudioFrame.from_ndarray(noise[:, at : at + 1_024].copy(), "fltp", "stereo")
            frame.sample_rate, frame.pts = 44_100, at
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def unending(number: int) -> bytes:
    """A FLAC whose header does not tell its length."""
    data = bytearray(audio(number))
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


@functools.cache  # some encoders write the time, or a random number
def members() -> dict[str, tuple[bytes, str]]:
    """Name → bytes of a file, and the codec that tells how it is read at 16 kHz."""
    found = {
        "a.flac": (audio(1), "flac"),
        "b.wav": (audio(2, kind="WAV", channels=2), "wav"),
        "c.flac": (audio(3, rate_hz=22_050, channels=2), "raw-flac"),
        "d.wav": (audio(4, kind="WAV", subtype="FLOAT", rate_hz=44_100), "raw-wav"),
        "e.wav": (audio(5, kind="WAV", subtype="IMA_ADPCM"), "raw-wav"),
        "f.flac": (unending(6), "raw-flac"),
        "g.mp3": (audio(7, kind="MP3", subtype="MPEG_LAYER_III", rate_hz=44_100), "mp3"),
        "h.ogg": (audio(8, kind="OGG", subtype="VORBIS", channels=2), "ogg"),
        "i.opus": (audio(9, kind="OGG", subtype="OPUS", rate_hz=48_000), "ogg"),
        "j.aiff": (audio(10, kind="AIFF", subtype="PCM_24"), "aiff"),
        "k.mp3": (audio(11, kind="MP3", subtype="MPEG_LAYER_III", rate_hz=16_000), "mp3"),
    }
    return found | ({"l.m4a": (m4a(12), "m4a")} if is_installed() else {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The members as files."""
    folder = tmp_path_factory.mktemp("files")
    for name, (data, _) in members().items():
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def mixed(folder, tmp_path_factory) -> Index:
    """An index of a tar with all of them."""
    root = tmp_path_factory.mktemp("mixed")
    tar = write_tar(root / "a.tar", {p.name: p.read_bytes() for p in sorted(folder.iterdir())})
    built = index([tar], root / "out")
    assert built.rejected == []
    return Index.open(root / "out")


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory) -> Index:
    """The same files packed as WAV."""
    out = tmp_path_factory.mktemp("packed") / "out"
    return Index.open(build_shards(folder, out, settings=Settings(codec="wav"), num_workers=1).out)


def by_name(index: Index) -> dict[str, int]:
    return {source.split("/")[-1]: row for row, source in enumerate(index.column("source"))}


def test_tracks_are_those_of_a_build_of_the_same_files(mixed, packed):
    rows, theirs = by_name(mixed), by_name(packed)
    assert rows.keys() == theirs.keys() == members().keys()
    facts = ("frames", "pcm_sha256", "source_sha256", "sample_rate", "duration_s", "peak_db")
    for name, row in rows.items():
        for fact in facts:
            assert mixed.column(fact)[row] == packed.column(fact)[theirs[name]], (name, fact)
        np.testing.assert_array_equal(read_track(mixed, row), read_track(packed, theirs[name]))
        window = read_window(mixed, row, 7_000, 5_000)
        np.testing.assert_array_equal(window, read_window(packed, theirs[name], 7_000, 5_000))


def test_the_codec_tells_what_is_read_straight(mixed):
    rows = by_name(mixed)
    for name, (data, codec) in members().items():
        row = rows[name]
        assert mixed[row].codec == codec
        assert mixed.sandboxed[row] == (codec not in ("flac", "wav"))
        payload = mixed[row].shard.read_bytes()[mixed[row].offset :][: mixed[row].size]
        assert payload == data


def test_streams_and_windows_are_those_of_a_packed_archive(mixed, packed):
    """The order is by key, which differs: rows are matched by name."""
    names = [source.split("/")[-1] for source in packed.column("source")]
    rows = by_name(mixed)
    ours, theirs = (
        [
            batch.copy()
            for batch in stream(WindowPlan(which, np.array(order), clip_frames=6_000), batch_size=4)
        ]
        for which, order in ((mixed, [rows[name] for name in names]), (packed, range(len(packed))))
    )
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.clips, b.clips)
        np.testing.assert_array_equal(a.valid, b.valid)
    assert sum(batch.valid.sum() for batch in ours) > len(packed)


@pytest.fixture
def hurt(mixed, tmp_path):
    """The archive with zeros for one of its tracks, and the row of that."""
    shutil.copytree(mixed.path.parent, tmp_path / "copy")
    index = Index.open(tmp_path / "copy/out")
    track = index[by_name(index)["h.ogg"]]
    with open(track.shard, "r+b") as tar:
        tar.seek(track.offset)
        tar.write(bytes(track.size))
    return index, track.row


def test_a_damaged_original_is_replaced_and_moves_nobody(mixed, hurt):
    index, row = hurt
    ours, theirs = (
        next(iter(stream(TrainPlan(i, AnchorPositive(clip_s=0.3, min_gap_s=0.3)), batch_size=24)))
        for i in (index, mixed)
    )
    damaged = theirs.row == row
    assert damaged.any()
    assert ours.valid.all()
    assert (ours.row[damaged] != row).all()
    np.testing.assert_array_equal(ours.clips[~damaged], theirs.clips[~damaged])


def test_a_damaged_original_that_is_judged_is_silent_and_marked(hurt):
    index, row = hurt
    plan = WindowPlan(index, np.arange(len(index)), clip_frames=6_000)
    batches = [batch.copy() for batch in stream(plan, batch_size=4)]
    rows = np.concatenate([batch.row for batch in batches])
    valid = np.concatenate([batch.valid for batch in batches])
    silent = np.concatenate([~batch.clips.any(axis=(1, 2)) for batch in batches])
    inside = np.concatenate([batch.position for batch in batches]) < plan.stop
    assert (rows == row).any()
    np.testing.assert_array_equal(valid, inside & (rows != row))
    assert silent[rows == row].all()


RAY = """
import sys
import numpy as np
from shards import ray_backend
from shards.index import Index
from shards.plan import TrainPlan
from shards.stream import stream
from shards.views.pair import AnchorPositive

plan = TrainPlan(Index.open(sys.argv[1]), AnchorPositive(clip_s=0.3, min_gap_s=0.3), seed=5)
ray_backend.connect(num_cpus=1)
inline = stream(plan, batch_size=8)
ours = stream(plan, backend="ray", batch_size=8, num_workers=1, prefetch=1)
for step in range(3):
    a, b = next(inline), next(ours)
    for name in ("clips", "position", "row", "valid"):
        assert np.array_equal(getattr(a, name), np.asarray(getattr(b, name))), (step, name)
    assert a.valid.all()
ours.close(), inline.close()
ray_backend.disconnect()
print("equal")
"""


@pytest.mark.slow
def test_ray_gives_the_same_batches(mixed):
    command = [sys.executable, "-W", "ignore", "-c", RAY, str(mixed.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.stdout.strip().endswith("equal"), done.stderr[-3_000:]


RATES = [
    # rates of FLACs, number of mp3, the archive's rate
    ([8_000, 22_050, 22_050], 0, 22_050),
    ([22_050, 8_000], 0, 8_000),
    ([22_050, 22_050, 8_000], 3, 22_050),
    ([22_050, 22_050], 3, 16_000),
    ([], 1, 16_000),
]


@pytest.mark.parametrize(("rates", "originals", "rate_hz"), RATES)
def test_the_rate_of_what_can_be_read_straight_is_the_archives(rates, originals, rate_hz, tmp_path):
    from ingest.tars import best_rate

    members = {f"{i}.flac": audio(i, rate_hz=rate, seconds=0.2) for i, rate in enumerate(rates)}
    mp3 = audio(9, kind="MP3", subtype="MPEG_LAYER_III", rate_hz=44_100, seconds=0.2)
    members |= {f"{i}.mp3": mp3 for i in range(originals)}
    tar = write_tar(tmp_path / "a.tar", members)
    assert best_rate({"a.tar": tar}) == rate_hz


def test_a_rate_that_was_told_is_the_archives_and_slow_is_said(tmp_path, capsys):
    rates = {f"{i}.flac": audio(i, rate_hz=rate) for i, rate in enumerate([8_000, 22_050, 22_050])}
    tar, out = write_tar(tmp_path / "a.tar", rates), str(tmp_path / "out")
    command = ["index", str(tar), "--out", out, "--num-workers", "1", "--sample-rate", "8000"]
    assert main(command) == 0
    says = "slow: 2 of 3 tracks are decoded by a sandboxed decoder at each visit; `ingest build-sh"
    assert says in capsys.readouterr().out
    assert main(["info", out]) == 0
    assert says in capsys.readouterr().out
    page = (tmp_path / "out" / CARD).read_text()
    assert "| codec | flac, raw-flac |" in page
    assert "Slow: 2 of 3 tracks are original files" in page
    found = Index.open(out)
    assert (found.sample_rate, found.manifest["sandboxed"]) == (8_000, 2)
    assert set(found.column("frames")) == {8_000}
    assert main([*command[:-1], "22050"]) == 0
    assert Index.open(out).manifest["sandboxed"] == 1


def test_without_pyav_its_kinds_are_listed_with_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("ingest.tars.is_installed", lambda: False)
    tar = write_tar(
        tmp_path / "a.tar", {"a.flac": audio(1), "k.m4a": b"\0\0\0\x20ftypM4A " + bytes(200)}
    )
    built = index([tar], tmp_path / "out")
    assert codes(built) == {"../a.tar/k.m4a": "unsupported"}
    assert "wholetone[formats]" in built.rejected[0]["message"]


@pytest.mark.slow
def test_a_training_reads_originals(tmp_path):
    members = {
        f"{i}.mp3": audio(i, kind="MP3", subtype="MPEG_LAYER_III", rate_hz=44_100, seconds=4.0)
        for i in range(4)
    }
    index([write_tar(tmp_path / "a.tar", members)], tmp_path / "out")
    from tests.train.test_loop import finish, flags, launch, lines

    run = tmp_path / "run"
    command = [sys.executable, "train/run.py"]
    more = ["--steps", "2", "--backend", "inline"]
    finish(launch([*command, *flags("contrastive", tmp_path / "out", run, *more)]))
    assert lines(run / "metrics.jsonl")


REAL = {"ogg": 3, "mp3": 3, "flac": 2, "wav": 2}


def test_real_music_reads_as_it_was_measured(real_audio, tmp_path):
    files = []
    for suffix, count in REAL.items():
        found = sorted(real_audio.rglob(f"*.{suffix}"), key=lambda path: path.stat().st_size)
        found = [path for path in found if path.stat().st_size > 30_000 and "ugly" not in str(path)]
        files += found[:count]
    assert_reads_as_measured(files, tmp_path)


@pytest.mark.slow
def test_all_that_is_ugly_reads_as_it_was_measured(real_audio, tmp_path):
    files = sorted(path for path in (real_audio / "ugly").rglob("*") if path.is_file())
    assert_reads_as_measured(files, tmp_path)


def assert_reads_as_measured(files, tmp_path):
    members = {f"{n}{path.suffix}": path.read_bytes() for n, path in enumerate(files)}
    index([write_tar(tmp_path / "a.tar", members)], tmp_path / "out")
    found = Index.open(tmp_path / "out")
    assert found.sandboxed.any()
    for row in range(len(found)):
        samples = read_track(found, row)
        assert hashlib.sha256(samples.tobytes()).hexdigest() == found.column("pcm_sha256")[row]
