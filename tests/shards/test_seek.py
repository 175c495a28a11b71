"""One range of bytes holds a window, and decodes to the samples of a full decode, bit for bit."""

import io

import numpy as np
import pytest
import soundfile

from shards.reader import read_track
from shards.seek import byte_range, decode_frames, first_sample, read_by_range, seek_table


class Shard:
    """A shard that counts what is read of it."""

    def __init__(self, index, row):
        self.path = index[row].shard
        self.reads = []

    def fetch(self, offset, size):
        self.reads.append(size)
        with open(self.path, "rb") as file:
            file.seek(offset)
            return file.read(size)


def windows(length, rate_hz, rng):
    """Starts and lengths at every kind of edge, and a few anywhere."""
    yield from ((0, 1), (0, length), (length - 1, 1), (length - 1, 99), (rate_hz - 1, 2))
    yield from ((length - 1152, 1152), (rate_hz, rate_hz), (length // 2, length), (length, 5))
    for _ in range(20):
        start = int(rng.integers(0, length))
        yield start, int(rng.integers(1, 4 * rate_hz))


def test_every_window_equals_the_full_decode_with_one_read(index):
    rng = np.random.default_rng(0)
    for row in range(len(index)):
        samples = read_track(index, row)
        for start, frames in windows(len(samples), index.sample_rate, rng):
            store = Shard(index, row)
            got = read_by_range(index, row, start, frames, store.fetch)
            np.testing.assert_array_equal(got, samples[start : start + frames])
            assert got.dtype == np.int16
            assert len(store.reads) == (start < len(samples))


def test_a_window_costs_the_bytes_of_its_seconds_not_of_the_track(index):
    row = int(index.column("frames").argmax())
    seconds = index[row].duration_s
    store = Shard(index, row)
    read_by_range(index, row, index.sample_rate * 9, 2 * index.sample_rate, store.fetch)
    assert store.reads[0] < 5 / seconds * int(index.column("size")[row])


def test_a_table_has_an_entry_for_each_second_begun_and_each_begins_a_frame(index):
    for row in range(len(index)):
        table = seek_table(index, row)
        assert len(table) == int(np.ceil(index[row].frames / index.sample_rate))
        track = index[row]
        payload = Shard(index, row).fetch(track.offset, track.size)
        for second, offset in enumerate(table):
            begins = first_sample(payload[offset:]) if second + 1 < len(table) else None
            assert begins is None or 0 <= second * index.sample_rate - begins < 4_608


def test_frames_of_a_long_track_say_which_they_are():
    noise = np.random.default_rng(1).integers(-99, 99, 16_000 * 300).astype(np.int16)
    file = io.BytesIO()
    soundfile.write(file, noise, 16_000, format="FLAC", subtype="PCM_16", compression_level=0)
    payload = file.getvalue()
    found, at = [], payload.index(b"\xff\xf8")
    while at >= 0 and len(found) < 3_000:
        found.append(first_sample(payload[at : at + 16]))
        at = payload.find(payload[at : at + 2] + payload[at + 2 : at + 4], at + 500)
    assert found == [number * found[1] for number in range(len(found))]
    assert found[-1] > 128 * found[1]  # numbers of one, two and three bytes


def test_a_damaged_frame_does_not_pass_for_music(index):
    table, track = seek_table(index, 0), index[0]
    samples = read_track(index, 0)
    payload = Shard(index, 0).fetch(track.offset, track.size)
    part = byte_range(table, track.size, track.sample_rate, 40_000, 16_000)
    rng = np.random.default_rng(2)
    for _ in range(100):
        data = bytearray(payload[part])
        data[int(rng.integers(16, len(data)))] ^= 1 << int(rng.integers(8))
        try:
            got = decode_frames(data, track.sample_rate, 40_000, 16_000)
        except (ValueError, soundfile.LibsndfileError):
            continue
        if len(got) == 16_000:  # the flipped bit lies outside the window
            np.testing.assert_array_equal(got, samples[40_000:56_000])


def test_bytes_that_begin_with_no_frame_are_refused():
    with pytest.raises(ValueError, match="No FLAC frame"):
        decode_frames(bytes(100), 16_000, 0, 10)
    with pytest.raises(ValueError, match="No FLAC frame"):
        first_sample(b"\xff\xf8")
