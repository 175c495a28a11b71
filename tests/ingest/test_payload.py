"""Payload and its seek table, against an independent scan of the FLAC frames."""

import io
import struct
import sys
import tempfile

import numpy as np
import pytest

import ingest.payload as payload
from ingest.inputs import inputs_of
from ingest.payload import Sink, TooLarge, write
from ingest.pool import Decoded, Pool
from ingest.scan import scan
from ingest.settings import Settings
from ingest.sounds import SequentialFile


def encode(samples, *, codec="flac", sample_rate=16_000, block=5_000):
    """Payload and seek table of samples that come in blocks."""
    blocks = (samples[at : at + block] for at in range(0, len(samples), block))
    with tempfile.TemporaryFile() as file:
        sink = Sink(file.fileno())
        write(blocks, sink, codec=codec, sample_rate=sample_rate)
        table = sink.seek_table(len(samples), sample_rate)
        file.seek(0)
        return file.read(), table


def crc8(data: bytes) -> int:
    """CRC-8 with the polynomial x⁸ + x² + x + 1 (RFC 9639, 9.1.8)."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x07 if crc & 0x80 else 0)) & 0xFF
    return crc


def frame_number(data: bytes, at: int) -> int | None:
    """Number in the frame header that starts at `at`, None if none with a right checksum does."""
    if data[at : at + 2] != b"\xff\xf8" or len(data) < at + 8:
        return None
    first, length = data[at + 4], 1
    while length < 7 and first & 0x80 and first & (0x80 >> length):
        length += 1
    number = first if length == 1 else first & (0x7F >> length)
    for byte in data[at + 5 : at + 4 + length]:
        number = number << 6 | byte & 0x3F
    size_code, rate_code = data[at + 2] >> 4, data[at + 2] & 15
    end = at + 4 + length + {6: 1, 7: 2}.get(size_code, 0) + {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    return number if data[end : end + 1] == bytes([crc8(data[at:end])]) else None


def scan_frames(data: bytes) -> list[int]:
    """Offset of every FLAC frame, found by sync code, checksum and rising number."""
    at, last = 4, False
    while not last:
        last, length = bool(data[at] & 0x80), int.from_bytes(data[at + 1 : at + 4], "big")
        at += 4 + length
    offsets: list[int] = []
    while (at := data.find(b"\xff\xf8", at)) >= 0:
        if frame_number(data, at) == len(offsets):
            offsets.append(at)
        at += 1
    return offsets


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("frames", [1, 1_152, 1_153, 100_000])
def test_each_second_is_found_in_the_last_frame_that_begins_before_it(rate_hz, frames):
    rng = np.random.default_rng(frames)
    samples = rng.normal(0, 3_000, frames).astype(np.int16)
    data, table = encode(samples, sample_rate=rate_hz)
    offsets = scan_frames(data)
    (block,) = struct.unpack(">H", data[8:10])
    assert len(offsets) == -(-frames // block)
    starts = np.arange(len(offsets)) * block
    want = [
        offsets[np.flatnonzero(starts <= s * rate_hz)[-1]] for s in range(-(-frames // rate_hz))
    ]
    assert table == want


def test_a_second_is_decoded_from_its_offset_alone():
    samples = np.random.default_rng(1).normal(0, 3_000, 16_000 * 5).astype(np.int16)
    data, table = encode(samples)
    first = scan_frames(data)[0]
    for second, offset in enumerate(table):
        with SequentialFile(io.BytesIO(data[:first] + data[offset:])) as file:
            begins = frame_number(data, offset) * 1_152
            skip = second * 16_000 - begins
            assert 0 <= skip < 1_152
            got = file.buffer_read(skip + 1_000, dtype="int16")
        want = samples[begins : begins + skip + 1_000]
        np.testing.assert_array_equal(np.frombuffer(got, np.int16), want)


def test_samples_that_look_like_a_frame_are_none_in_a_wav():
    samples = np.full(40_000, np.frombuffer(b"\xff\xf8", "<i2")[0])
    data, table = encode(samples, codec="wav", block=100)
    assert table == []
    assert data.count(b"\xff\xf8") >= 40_000


def test_a_payload_of_more_than_32_bits_can_address_is_refused(monkeypatch):
    monkeypatch.setattr(payload, "MAX_BYTES", 10_000)
    with pytest.raises(TooLarge):
        encode(np.random.default_rng(0).integers(-9_000, 9_000, 20_000).astype(np.int16))


LONG_WORKER = """
import dataclasses
import ingest.worker as worker

real = worker.pack

def pack(source, sink, **rest):
    seek = [second * 190_001 for second in range(6 * 3_600)]
    return dataclasses.replace(real(source, sink, **rest), seek=seek)

worker.pack = pack
worker.main()
"""


def test_the_table_of_six_hours_comes_through_the_pool(tmp_path, make_chord):
    make_chord(tmp_path / "in/a.wav", 0)
    (tmp_path / "long_worker.py").write_text(LONG_WORKER)
    command = (sys.executable, "-P", str(tmp_path / "long_worker.py"))
    inputs, sources = inputs_of(tmp_path / "in"), scan(tmp_path / "in").sources
    with Pool(inputs, tmp_path, Settings(), num_workers=1, command=command) as pool:
        (track,) = pool.decode(sources)
    assert isinstance(track, Decoded)
    track.payload.close()
    assert track.seek.dtype == np.uint32
    np.testing.assert_array_equal(track.seek, np.arange(6 * 3_600) * 190_001)


def test_the_pool_hands_over_the_table_of_its_payload(tmp_path, make_chord):
    make_chord(tmp_path / "in/a.wav", 0, seconds=3.5)
    with Pool(inputs_of(tmp_path / "in"), tmp_path, Settings(), num_workers=1) as pool:
        (track,) = pool.decode(scan(tmp_path / "in").sources)
    with track.payload as packed:
        packed.seek(0)
        data = packed.read()
    assert len(track.seek) == 4
    for second, offset in enumerate(track.seek):
        begins = frame_number(data, int(offset)) * 1_152
        assert 0 <= second * 16_000 - begins < 1_152
