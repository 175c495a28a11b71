"""One raw file → payload and facts; runs in a worker process only.

No number of the header is trusted: blocks are decoded until there are no more, and limits hold for
what comes out. Channels are averaged, soxr (HQ) resamples the stream, and

    int16 = floor(32768 · x + 0.5), clipped to [-32768, 32767]

without dither, so that the same file always gives the same bytes, and a mono file of 16 bits at the
archive's rate keeps every sample.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr

from ingest.measure import Measure
from ingest.settings import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, Settings
from ingest.tags import read_tags

BLOCK_VALUES = 1 << 19
HASH_BYTES = 1 << 24
FLAC_LEVEL = 0.0
"""Of 0 to 1: level 0 decodes 10 % faster than libsndfile's default and is 2 to 8 % larger."""

UNSUPPORTED = frozenset({1, 3, 4})
"""libsndfile's errors for formats and encodings it does not read (sndfile.h, SF_ERR_*)."""

PAYLOAD: dict[str, dict[str, Any]] = {
    "flac": {"format": "FLAC", "subtype": "PCM_16", "compression_level": FLAC_LEVEL},
    "wav": {"format": "WAV", "subtype": "PCM_16"},
}


class Rejection(Exception):
    """A file that is not packed: stage, code, message."""


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is only read on.

    soundfile seeks after every read of a seekable file. That changes samples of MP3 files, whose
    decoder starts anew, and fails on streams without a length.
    """

    def seekable(self) -> bool:
        """Never, so nobody seeks."""
        return False


class Sink:
    """The file that takes the payload; remembers a full disk, which libsndfile would swallow."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Bytes written: all, or 0 after an error."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            self.error = error
            return 0
        return len(data)

    def read(self, size: int) -> bytes:
        """For libsndfile, which asks for it."""
        return os.read(self._fd, size)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """New position."""
        return os.lseek(self._fd, offset, whence)

    def tell(self) -> int:
        """Position."""
        return os.lseek(self._fd, 0, os.SEEK_CUR)


def pack(
    source: BinaryIO, sink: Sink, *, name: str, settings: Settings, beat: Callable[[], None]
) -> dict[str, Any]:
    """Write the payload of an open file and return its facts; `beat` is called while at work."""
    source_sha256 = _hash(source, beat)
    source.seek(0)
    tags = read_tags(source, name)
    os.lseek(source.fileno(), 0, os.SEEK_SET)  # seek(0) may stay inside the buffer
    measure = Measure(settings.sample_rate)
    try:
        with SequentialFile(source.fileno(), closefd=False) as sound:
            _check(sound)
            _write(_samples(sound, settings), sink, settings, measure, beat)
            origin = {"source_rate": sound.samplerate, "source_channels": sound.channels}
    except soundfile.LibsndfileError as error:
        if sink.error:
            raise sink.error from error
        code = "unsupported" if error.code in UNSUPPORTED else "corrupt"
        raise Rejection("decode", code, f"does not decode: {_reason(error)}") from error
    facts = measure.facts()
    _check_length(measure.frames, settings)
    return {**facts, **tags, **origin, "source_sha256": source_sha256}


def _reason(error: soundfile.LibsndfileError) -> str:
    """What libsndfile says, unless it says what is not so: it blames the file's name for MPEG."""
    said = str(error.error_string).removeprefix("Error : ")
    return "no whole MPEG frames" if "possibly a pipe" in said else said


def _hash(source: BinaryIO, beat: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    while block := source.read(HASH_BYTES):
        digest.update(block)
        beat()
    return digest.hexdigest()


def _check(sound: soundfile.SoundFile) -> None:
    """Refuse what a header announces outside the limits."""
    if sound.channels > MAX_CHANNELS:
        message = f"has {sound.channels} channels, at most {MAX_CHANNELS} are read"
        raise Rejection("limit", "too_many_channels", message)
    if not MIN_RATE_HZ <= sound.samplerate <= MAX_RATE_HZ:
        message = f"claims {sound.samplerate} Hz, {MIN_RATE_HZ} to {MAX_RATE_HZ} are read"
        raise Rejection("limit", "sample_rate", message)


def _check_length(frames: int, settings: Settings) -> None:
    """Refuse a track without samples, or one that is too short."""
    if frames == 0:
        raise Rejection("decode", "empty", "decodes to no samples")
    duration_s = frames / settings.sample_rate
    if duration_s < settings.min_seconds:
        message = f"lasts {duration_s:.3f} s, want {settings.min_seconds:g} s or more"
        raise Rejection("limit", "too_short", message)


def _samples(sound: soundfile.SoundFile, settings: Settings) -> Iterator[np.ndarray]:
    """Mono blocks at the archive's rate, float32 [n]."""
    rate_hz = sound.samplerate
    if rate_hz == settings.sample_rate:
        yield from _mono(sound, settings.max_seconds)
        return
    stream = soxr.ResampleStream(rate_hz, settings.sample_rate, 1, dtype="float32", quality="HQ")
    for block in _mono(sound, settings.max_seconds):
        yield stream.resample_chunk(block, last=False)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)


def _mono(sound: soundfile.SoundFile, max_seconds: float) -> Iterator[np.ndarray]:
    """Blocks of the mean of all channels, float32 [n], until the decoder has no more."""
    frames = 0
    while True:
        block = sound.read(BLOCK_VALUES // sound.channels, dtype="float32", always_2d=True)
        if not len(block):
            return
        frames += len(block)
        if frames > max_seconds * sound.samplerate:
            raise Rejection("limit", "too_long", f"lasts more than {max_seconds:g} s")
        mono = block.mean(axis=1)
        if not np.isfinite(mono).all():
            raise Rejection("decode", "not_finite", "holds samples that are no finite numbers")
        yield mono


def _write(
    blocks: Iterator[np.ndarray],
    sink: Sink,
    settings: Settings,
    measure: Measure,
    beat: Callable[[], None],
) -> None:
    """Encode and measure every block."""
    form = {"samplerate": settings.sample_rate, "channels": 1, **PAYLOAD[settings.codec]}
    with soundfile.SoundFile(sink, "w", **form) as payload:
        for block in blocks:
            samples = to_int16(block)
            payload.write(samples)
            measure.add(samples)
            beat()
            if sink.error:
                break
    if sink.error:
        raise sink.error


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as int16, rounded half up and clipped."""
    scaled = np.floor(samples.astype(np.float64) * 32_768 + 0.5)
    return np.clip(scaled, -32_768, 32_767).astype(np.int16)
