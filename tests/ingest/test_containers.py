"""A file that was cut short is known by its container, and a whole one is never accused."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile

from ingest.containers import is_truncated
from ingest.rejection import Rejection
from ingest.sniff import sniff

FORMS = {
    "wav": ("WAV", "PCM_16"),
    "aiff": ("AIFF", "PCM_24"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).normal(0, 0.1, RATE_HZ).astype(np.float32)


def encoded(samples, suffix) -> bytes:
    file = io.BytesIO()
    form, subtype = FORMS[suffix]
    soundfile.write(file, samples, RATE_HZ, format=form, subtype=subtype)
    return file.getvalue()


def judged(path, data, frames) -> bool:
    path.write_bytes(data)
    fd = os.open(path, os.O_RDONLY)
    try:
        return is_truncated(fd, frames=frames)
    finally:
        os.close(fd)


@pytest.mark.parametrize("suffix", FORMS)
def test_sixty_cuts_of_sixty_are_caught_and_the_whole_file_is_not(
    suffix, noise, tmp_path, decode_file
):
    data = encoded(noise, suffix)
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(data)
    assert decode_file(path)[0].facts["truncated"] is False
    lengths = [len(data) - 1, len(data) - 2, *np.linspace(len(data) // 10, len(data) - 3, 58)]
    caught = 0
    for length in map(int, lengths):
        path.write_bytes(data[:length])
        try:
            caught += decode_file(path)[0].facts["truncated"]
        except Rejection as rejection:
            caught += rejection.stage == "decode"
    assert caught == 60


def test_a_cut_between_two_frames_of_an_mp3_with_a_header_is_caught(noise, tmp_path):
    data = encoded(noise, "mp3")
    last = data.rfind(data[:2])
    assert judged(tmp_path / "a", data[:last], RATE_HZ)


def test_an_mp3_without_a_header_is_judged_by_its_last_frame(noise, tmp_path):
    data = encoded(noise, "mp3")
    frames = data[data.find(data[:2], 4) :]  # the first frame held the header
    tag = b"TAG" + bytes(125)
    assert not judged(tmp_path / "a", frames, RATE_HZ)
    assert not judged(tmp_path / "a", frames + tag, RATE_HZ)
    assert judged(tmp_path / "a", frames[:-1], RATE_HZ)
    assert not judged(tmp_path / "a", 40 * frames, RATE_HZ)  # the end is searched, not all
    assert judged(tmp_path / "a", (40 * frames)[:-100], RATE_HZ)


def test_a_picture_behind_the_audio_is_no_last_frame(noise, tmp_path):
    data = encoded(noise, "mp3")
    picture = bytes(10_000) + data[:4] + bytes(90)
    assert not judged(tmp_path / "a", 2 * data[data.find(data[:2], 4) :] + 10 * picture, RATE_HZ)


def test_tags_around_the_audio_hide_nothing(noise, tmp_path):
    id3 = b"ID3\4\0\0" + bytes([0, 0, 2, 10]) + bytes(266)
    for suffix in ("mp3", "flac"):
        data = id3 + encoded(noise, suffix)
        frames = RATE_HZ * 2 if suffix == "mp3" else RATE_HZ
        assert not judged(tmp_path / "a", data, frames)
        assert judged(tmp_path / "a", data[:-1000], RATE_HZ - 1)


@pytest.mark.parametrize("length", [0, 0x7FFF_F000, 0x7FFF_FFFF, 0xFFFF_FFFF])
def test_lengths_that_a_stream_left_open_prove_nothing(length, noise, tmp_path):
    data = bytearray(encoded(noise, "wav"))
    struct.pack_into("<I", data, 4, length)
    struct.pack_into("<I", data, data.index(b"data") + 4, length)
    assert not judged(tmp_path / "a", data, RATE_HZ)


def test_a_missing_byte_of_padding_is_no_cut(tmp_path):
    samples = np.zeros(1_001, np.float32)
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="WAV", subtype="PCM_U8")
    data = file.getvalue()
    at = data.index(b"data")
    whole = bytearray(data[: at + 8 + 1_001])
    struct.pack_into("<I", whole, 4, at + 8 + 1_002 - 8)
    assert not judged(tmp_path / "a", whole, 1_001)
    assert judged(tmp_path / "a", whole[:-1], 1_001)


def test_lengths_of_64_bits_are_read(noise, tmp_path):
    wav = encoded(noise, "wav")
    data = wav[wav.index(b"data") + 8 :]
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, 72 + len(data), len(data), len(noise), 0)
    fmt = wav[12 : wav.index(b"data")]
    head = b"RF64\xff\xff\xff\xffWAVE" + ds64 + fmt + b"data\xff\xff\xff\xff"
    assert not judged(tmp_path / "a", head + data, RATE_HZ)
    assert judged(tmp_path / "a", head + data[:-1], RATE_HZ)


@pytest.mark.parametrize("head", [b"RIFF\xff\0\0\0WAVE", b"OggS\0", b"fLaC", b"\0\0\0\x20ftypM4A "])
def test_a_file_of_nothing_but_a_beginning_is_cut(head, tmp_path):
    assert judged(tmp_path / "a", head, 0) == (head != b"fLaC")


def test_headers_without_end_are_not_followed_for_ever(tmp_path):
    chunks = b"RIFF\xff\xff\xff\xffWAVE" + b"junk\0\0\0\0" * 200_000
    tags = b"ID3\4\0\0\0\0\0\0" * 200_000
    assert not judged(tmp_path / "a", chunks, 0)
    assert not judged(tmp_path / "a", tags, 0)


def test_no_real_file_that_is_whole_is_accused(real_audio, tmp_path):
    accused, seen = [], 0
    for path in sorted(real_audio.rglob("*")):
        if not path.is_file() or "ugly" in path.parts:
            continue
        with open(path, "rb") as file:
            kind = sniff(file.read(4_096), path.stat().st_size)
            if kind:
                seen += 1
                frames = soundfile.info(path).frames if kind == "flac" else 0
                accused += [path] if is_truncated(file.fileno(), frames=frames) else []
    assert seen > 100
    assert accused == []
