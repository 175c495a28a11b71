"""Files whose headers lie, or that grow when decoded: refused with a reason, or measured."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile

from ingest.inputs import inputs_of
from ingest.pool import Decoded, Pool
from ingest.scan import Source
from ingest.settings import Settings

RATE_HZ = 16_000
FRAMES = 16_000
MAX_CPU_S = 1.0
MAX_RSS_MB = 300
NOISE = np.random.default_rng(0).normal(0, 0.1, FRAMES).astype(np.float32)


def encoded(form, subtype=None, audio=NOISE, rate_hz=RATE_HZ) -> bytearray:
    file = io.BytesIO()
    soundfile.write(file, audio, rate_hz, format=form, subtype=subtype)
    return bytearray(file.getvalue())


def wav(*, rate_hz=RATE_HZ, channels=1, bits=16, align=None, data=b"", data_bytes=None) -> bytes:
    """A WAV whose header says what it is told to."""
    align = channels * bits // 8 if align is None else align
    fields = (1, channels & 0xFFFF, rate_hz, rate_hz * align & 0xFFFFFFFF, align & 0xFFFF, bits)
    fmt = b"fmt " + struct.pack("<IHHIIHH", 16, *fields)
    size = len(data) if data_bytes is None else data_bytes
    body = b"WAVE" + fmt + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


def with_total(flac: bytearray, total: int) -> bytearray:
    flac[21:26] = (int.from_bytes(flac[21:26], "big") >> 36 << 36 | total).to_bytes(5, "big")
    return flac


def with_xing(mp3: bytearray, frames: int) -> bytearray:
    at = mp3.index(b"Xing")
    struct.pack_into(">II", mp3, at + 8, frames, frames)
    return mp3


def ogg_crc(page: bytes) -> int:
    """CRC-32 of an Ogg page without reflection (RFC 3533, 6)."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
    return crc


def with_granule(ogg: bytearray, granule: int) -> bytearray:
    """The last page says that the stream ends at another sample, and its checksum is right."""
    at = ogg.rindex(b"OggS")
    struct.pack_into("<qIII", ogg, at + 6, granule, *struct.unpack_from("<II", ogg, at + 14), 0)
    struct.pack_into("<I", ogg, at + 22, ogg_crc(bytes(ogg[at:])))
    return ogg


def with_rate(aiff: bytearray, extended: bytes) -> bytearray:
    at = aiff.index(b"COMM") + 16
    aiff[at : at + 10] = extended
    return aiff


def id3(body: bytes, *, size=None) -> bytes:
    """An ID3v2.4 tag that may be said to be longer than it is."""
    n = len(body) if size is None else size
    return b"ID3\4\0\0" + bytes(n >> shift & 0x7F for shift in (21, 14, 7, 0)) + body


def id3_frame(name: bytes, body: bytes, *, size=None) -> bytes:
    return name + struct.pack(">IH", len(body) if size is None else size, 0) + body


def nested_id3(depth: int) -> bytes:
    """Chapters that hold chapters."""
    frame = b""
    for _ in range(depth):
        frame = id3_frame(b"CHAP", b"a\0" + bytes(16) + frame)
    return id3(frame)


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def nested_boxes(depth: int) -> bytes:
    """Boxes of an MP4 in one another; the innermost lengths are right, the first holds all."""
    heads = [struct.pack(">I", 8 * (depth - i)) + b"moov" for i in range(depth)]
    return box(b"ftyp", b"M4A \0\0\0\0") + b"".join(heads)


def rf64(data: bytes, size: int) -> bytes:
    ds64 = struct.pack("<4sIQQQI", b"ds64", 28, size, size, size // 2, 0)
    return b"RF64\xff\xff\xff\xffWAVE" + ds64 + wav()[12:36] + b"data\xff\xff\xff\xff" + data


def comments(count: int, text: bytes) -> bytes:
    """A FLAC whose comment block claims `count` comments."""
    flac = bytes(encoded("FLAC"))
    body = struct.pack("<I", 4) + b"evil" + struct.pack("<I", count) + text
    head = bytes([4]) + len(body).to_bytes(3, "big")
    return flac[:42] + head + body + flac[42:]


def silence(form: str, seconds: int) -> bytes:
    """Much sound in few bytes."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE_HZ, 1, format=form) as sound:
        for _ in range(seconds):
            sound.write(np.zeros(RATE_HZ, np.int16))
    return file.getvalue()


PCM = (NOISE * 32_768).astype("<i2").tobytes()
LIES = {
    # name: (bytes, samples that it is packed with, or codes of which it must be refused with one)
    "total.flac": (lambda: with_total(encoded("FLAC"), (1 << 36) - 1), FRAMES),
    "no-total.flac": (lambda: with_total(encoded("FLAC"), 0), FRAMES),
    "short-total.flac": (lambda: with_total(encoded("FLAC"), 100), {"corrupt", "too_short"}),
    "picture.flac": (
        lambda: encoded("FLAC")[:42] + b"\6\xff\xff\xff" + encoded("FLAC")[42:],
        {"corrupt", "unsupported"},
    ),
    "comments.flac": (lambda: comments(0xFFFFFFFF, b"\xff\xff\xff\xff"), {FRAMES, "corrupt"}),
    "silence.flac": (lambda: silence("FLAC", 3_600), {"too_long"}),
    "silence.ogg": (lambda: silence("OGG", 300), {"too_long"}),
    "1-hz.wav": (lambda: wav(rate_hz=1, data=PCM), {"sample_rate"}),
    "0-hz.wav": (lambda: wav(rate_hz=0, data=PCM), {"sample_rate", "corrupt", "unsupported"}),
    "2-ghz.wav": (lambda: wav(rate_hz=2**31 - 1, data=PCM), {"sample_rate"}),
    "4-ghz.wav": (lambda: wav(rate_hz=2**32 - 1, data=PCM), {"sample_rate", "corrupt"}),
    "1000-hz.wav": (lambda: wav(rate_hz=1_000, bits=8, data=bytes(100_000)), {"too_long"}),
    "1024-channels.wav": (lambda: wav(channels=1_024, data=PCM), {"too_many_channels"}),
    "65535-channels.wav": (
        lambda: wav(channels=65_535, data=PCM),
        {"too_many_channels", "corrupt", "unsupported"},
    ),
    "0-channels.wav": (lambda: wav(channels=0, data=PCM), {"corrupt", "unsupported"}),
    "align.wav": (lambda: wav(align=0, data=PCM), {FRAMES, "corrupt", "unsupported"}),
    "0-bits.wav": (lambda: wav(bits=0, align=2, data=PCM), {FRAMES, "corrupt", "unsupported"}),
    "data-4-gib.wav": (lambda: wav(data=PCM, data_bytes=0xFFFFFF00), FRAMES),
    "data-0.wav": (lambda: wav(data=PCM, data_bytes=0), {FRAMES, "empty", "corrupt"}),
    "fmt-4-gib.wav": (
        lambda: wav(data=PCM).replace(b"fmt \x10\0\0\0", b"fmt \xf0\xff\xff\xff"),
        {"corrupt", "unsupported"},
    ),
    "chunks.wav": (
        lambda: wav()[:36] + b"junk\0\0\0\0" * 20_000 + wav(data=PCM)[36:],
        {FRAMES, "corrupt", "unsupported"},
    ),
    "rf64.wav": (lambda: rf64(PCM, 1 << 62), {FRAMES, "corrupt", "unsupported"}),
    "float.wav": (
        lambda: encoded("WAV", "FLOAT", np.full(FRAMES, 3e38, np.float32)),
        {"not_finite"},
    ),
    "rate.aiff": (
        lambda: with_rate(encoded("AIFF"), b"\x7f\xfe" + b"\xff" * 8),
        {"sample_rate", "corrupt", "unsupported", "empty"},
    ),
    "rate-below-0.aiff": (
        lambda: with_rate(encoded("AIFF"), b"\xc0\x0e\xac\x44" + bytes(6)),
        {"sample_rate", "corrupt", "unsupported", "empty"},
    ),
    "xing.mp3": (lambda: with_xing(encoded("MP3"), 1 << 31), "real"),
    "xing-1.mp3": (lambda: with_xing(encoded("MP3"), 1), {"too_short", "corrupt", "real"}),
    "nested.mp3": (lambda: nested_id3(3_000) + encoded("MP3"), "real"),
    "many-tags.mp3": (lambda: id3(b"") * 20_000 + encoded("MP3"), {"real", "corrupt"}),
    "long-tag.mp3": (lambda: id3(b"", size=(1 << 28) - 1) + encoded("MP3"), {"real", "corrupt"}),
    "long-frame.mp3": (
        lambda: id3(id3_frame(b"TIT2", b"\3x", size=0x0FFFFFFF)) + encoded("MP3"),
        "real",
    ),
    "granule.ogg": (lambda: with_granule(encoded("OGG"), 1 << 62), {"real", "corrupt"}),
    "granule-below-0.ogg": (lambda: with_granule(encoded("OGG"), -5), {"real", "corrupt"}),
    "pages.ogg": (lambda: encoded("OGG")[:58] * 20_000, {"corrupt", "unsupported", "empty"}),
    "boxes.m4a": (lambda: nested_boxes(100_000), {"corrupt", "unsupported", "no_audio"}),
    "zlib.flac": (lambda: b"fLaC" + zlib.compress(bytes(1 << 24)), {"corrupt", "unsupported"}),
}
CLAIM_MORE = ("total.flac", "rf64.wav", "xing.mp3")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Of every liar: what came of it, seconds of CPU, and the decoder's peak in MB so far."""
    folder = tmp_path_factory.mktemp("liars")
    found = {}
    settings = Settings(max_seconds=60.0)
    for name, (make, _) in LIES.items():
        (folder / name).write_bytes(make())
    (folder / "good.wav").write_bytes(wav(data=PCM))
    with Pool(inputs_of(folder), folder, settings, num_workers=1) as pool:
        for name in ("good.wav", *LIES):  # the first starts the decoder
            path = folder / name
            status = path.stat()
            source = Source(name.encode(), status.st_size, status.st_mtime_ns, "wav")
            begun_s = used(pool)[0]
            (outcome,) = pool.decode([source])
            seconds, rss_mb = used(pool)
            found[name] = outcome, seconds - begun_s, rss_mb
            if isinstance(outcome, Decoded):
                outcome.payload.close()
    return found


def used(pool) -> tuple[float, float]:
    """Seconds of CPU and the peak of memory in MB of the only decoder since it started."""
    process = pool._workers[0]._process
    folder = Path(f"/proc/{process.pid if process else 0}")
    if not folder.is_dir():
        return 0.0, 0.0
    ticks = map(int, (folder / "stat").read_text().rsplit(")", 1)[1].split()[11:13])
    status = (folder / "status").read_text()
    seconds = sum(ticks) / os.sysconf("SC_CLK_TCK")
    return seconds, int(status.split("VmHWM:")[1].split()[0]) / 1024


@pytest.mark.parametrize("name", LIES)
def test_a_liar_is_refused_with_a_reason_or_measured(name, outcomes):
    outcome, seconds, rss_mb = outcomes[name]
    wanted = LIES[name][1]
    wanted = wanted if isinstance(wanted, set) else {wanted}
    if isinstance(outcome, Decoded):
        frames = outcome.facts["frames"]
        real = {"real"} if abs(frames - FRAMES) <= 2_400 else set()
        assert wanted & ({frames} | real), frames
    else:
        assert outcome.code in wanted, outcome
        assert outcome.message
    assert seconds < MAX_CPU_S
    assert rss_mb < MAX_RSS_MB


def test_a_header_that_claims_more_than_there_is_is_called_truncated(outcomes):
    for name in CLAIM_MORE:
        assert outcomes[name][0].facts["truncated"], name
    assert not outcomes["good.wav"][0].facts["truncated"]
