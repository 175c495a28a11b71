"""Decoding into place: every way of reading gives the samples that a full decode gives."""

import io
import mmap
import pickle

import numpy as np
import pytest
import soundfile

from shards import flac
from shards.cache import WINDOWED_BYTES
from shards.decode import Decoder, pieces
from shards.how import FRAMES, OPENED, SAMPLES
from shards.index import Index
from shards.plan import TrainPlan
from shards.reader import read_track, read_window
from shards.seek import byte_range, frame_number, seek_table, stream_header
from shards.source import LocalFile, Sources
from shards.views.pair import AnchorPositive
from shards.wav import HEADER_BYTES, header


@pytest.fixture(scope="module")
def wav_index(corpus, tmp_path_factory):
    from ingest import build_shards
    from ingest.settings import Settings

    out = tmp_path_factory.mktemp("wav") / "shards"
    build_shards(corpus, out, settings=Settings(codec="wav"), num_workers=1)
    return Index.open(out)


def plan_of(index):
    return TrainPlan(index, AnchorPositive(clip_s=1, min_gap_s=2), seed=3)


def windows(length, rng, block=4_096):
    """Starts and lengths at the edges of frames, seconds and the track, and anywhere."""
    yield from ((0, 1), (0, length), (length - 1, 1), (block, block), (block - 1, 2), (16_000, 9))
    for _ in range(25):
        start = int(rng.integers(0, length))
        yield start, int(rng.integers(1, min(40_000, length - start) + 1))


def test_frames_decode_into_place_at_every_kind_of_edge(index):
    rng = np.random.default_rng(0)
    for row in range(0, len(index), 3):
        track, whole, table = index[row], read_track(index, row), seek_table(index, row)
        source = LocalFile(track.shard)
        for start, frames in windows(len(whole), rng):
            part = byte_range(table, track.size, track.sample_rate, start, frames)
            data = source.range(track.offset + part.start, part.stop - part.start)
            out = np.full(frames, 99, np.int16)
            flac.decode_into(out, data, track.sample_rate, start)
            np.testing.assert_array_equal(out, whole[start : start + frames])


def test_no_more_than_a_frame_is_decoded_before_the_window(index):
    track, table = index[0], seek_table(index, 0)
    data = LocalFile(track.shard).range(track.offset + int(table[3]), 60_000)
    start = 3 * 16_000 + 15_000
    memory = mmap.mmap(-1, len(data))
    memory[:] = data
    skip, at = flac.frame_of(memory, 0, len(data), start)
    assert 0 <= skip < 4_608
    assert at > 0
    block = start - skip
    assert block % frame_number(data[at:])[0] == 0


def test_damaged_frames_are_never_taken_for_music(index):
    track, table, whole = index[0], seek_table(index, 0), read_track(index, 0)
    part = byte_range(table, track.size, track.sample_rate, 40_000, 16_000)
    good = LocalFile(track.shard).range(track.offset + part.start, part.stop - part.start)
    rng, refused = np.random.default_rng(2), 0
    for _ in range(150):
        data = bytearray(good)
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        out = np.zeros(16_000, np.int16)
        try:
            flac.decode_into(out, bytes(data), track.sample_rate, 40_000)
        except ValueError:
            refused += 1
            continue
        np.testing.assert_array_equal(out, whole[40_000:56_000])  # it lies outside the window
    assert refused > 50


def test_numbers_are_coded_as_frames_bear_them():
    for number in (0, 127, 128, 2047, 2048, 65_535, 65_536, 2**21 - 1, 2**21, 2**26, 2**31 - 1):
        data = b"\xff\xf8\xc9\x08" + flac.coded(number) + bytes(11)
        assert frame_number(data) == (number, 4 + len(flac.coded(number)))
        if 0 < number < 0xD800 or 0xE000 <= number < 0x110000:
            assert flac.coded(number) == chr(number).encode()


def test_the_file_that_frames_are_put_into_is_a_flac_of_unknown_length():
    with soundfile.SoundFile(io.BytesIO(stream_header(16_000, 100))) as sound:
        assert (sound.samplerate, sound.channels, sound.subtype) == (16_000, 1, "PCM_16")


def test_the_header_is_the_one_that_libsndfile_writes():
    file = io.BytesIO()
    soundfile.write(file, np.ones(77, np.int16), 22_050, format="WAV", subtype="PCM_16")
    assert file.getvalue()[:HEADER_BYTES] == header(22_050, 77)


@pytest.mark.parametrize("kind", ["flac", "wav"])
def test_all_ways_give_the_same_clips(index, wav_index, kind):
    archive = {"flac": index, "wav": wav_index}[kind]
    plan = plan_of(archive)
    rows = plan.located(np.arange(24))
    assert set(rows["how"]) == {FRAMES if kind == "flac" else SAMPLES}
    decoder = pickle.loads(pickle.dumps(Decoder.of(plan)))
    ours = decoder(rows)
    opened = decoder({**rows, "how": np.full(24, OPENED, np.int8)})
    for i, row in enumerate(rows["row"]):
        for v, start in enumerate(rows["start"][i]):
            window = read_window(archive, int(row), int(start), plan.clip_frames)
            np.testing.assert_array_equal(ours["clips"][i, v], window)
    np.testing.assert_array_equal(ours["clips"], opened["clips"])
    assert ours["valid"].all()


def test_flac_and_wav_hold_the_same_samples(index, wav_index):
    clips = []
    for archive in (index, wav_index):
        plan = plan_of(archive)
        clips.append(Decoder.of(plan)(plan.located(np.arange(12)))["clips"])
    np.testing.assert_array_equal(*clips)


def test_a_wav_window_costs_its_own_bytes_and_a_flac_window_those_of_its_seconds(index, wav_index):
    clips, valid = np.zeros((4, 2, 16_000), np.int16), np.ones(4, bool)
    wav, compressed = (
        Decoder.of(plan_of(archive)).fill(plan_of(archive).located(np.arange(4)), clips, valid)
        for archive in (wav_index, index)
    )
    assert wav.bytes_read == 4 * 2 * 16_000 * 2
    assert compressed.bytes_read < 3 * wav.bytes_read
    assert wav.read_s > 0
    assert compressed.decode_s > 0


def test_clips_land_where_they_are_wanted(index):
    plan = plan_of(index)
    rows = plan.located(np.arange(4))
    decoder = Decoder.of(plan)
    clips, valid = np.full((9, 2, 16_000), 5, np.int16), np.zeros(9, bool)
    at = np.array([7, 0, 3, 4])
    decoder.fill(rows, clips, valid, at)
    np.testing.assert_array_equal(clips[at], decoder(rows)["clips"])
    assert valid.nonzero()[0].tolist() == sorted(at)
    assert (clips[[1, 2, 5, 6, 8]] == 5).all()


def test_few_shards_stay_open(tmp_path):
    for i in range(5):
        (tmp_path / f"{i}").write_bytes(b"x" * 10)
    sources = Sources(limit=2)
    first = sources.get(tmp_path / "0")
    for i in (1, 0, 2, 3, 4):
        assert sources.get(tmp_path / f"{i}").range(8, 100) == b"xx"
        assert len(sources._open) <= 2
    assert first.range(0, 1) == b"x"  # in use, so still open


def test_pieces_cover_every_range_and_no_more_than_they_must():
    rng = np.random.default_rng(2)
    for size in (1, 7, 64):
        ranges = [(int(a), int(n)) for a, n in rng.integers(1, 300, (20, 2))]
        found = pieces(ranges, size)
        touched = {byte // size for at, n in ranges for byte in range(at, at + n)}
        assert found == [(number * size, size) for number in sorted(touched)]
    assert pieces([(5, 3)], 0) == [(5, 3)]


def test_a_windowed_order_of_short_tracks_reads_their_neighbourhood(index, monkeypatch):
    told = []
    monkeypatch.setattr(LocalFile, "ahead", lambda self, ranges: told.extend(ranges))
    longest = int(index.column("size").max())
    for order, seek, aligned in (("random", 1 << 20, False), ("windowed", longest, True)):
        told.clear()
        monkeypatch.setattr("shards.decode.SEEK_BYTES", seek)
        plan = TrainPlan(index, AnchorPositive(clip_s=1, min_gap_s=2), seed=3, order=order)
        Decoder.of(plan)(plan.located(np.arange(8)))
        assert told
        assert all((at % WINDOWED_BYTES == 0) == aligned for at, _ in told)
    monkeypatch.setattr("shards.decode.SEEK_BYTES", 1)
    assert {shard.ahead_bytes for shard in Decoder.of(plan).shards} == {0}
