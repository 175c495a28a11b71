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
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import soundfile
import soxr

from ingest.measure import Measure
from ingest.payload import MAX_BYTES, Sink, TooLarge, to_int16, write
from ingest.settings import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, Settings
from ingest.tags import read_tags

BLOCK_VALUES = 1 << 19
HASH_BYTES = 1 << 24
UNSUPPORTED = frozenset({1, 3, 4})
"""libsndfile's errors for formats and encodings it does not read (sndfile.h, SF_ERR_*)."""


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


@dataclass(frozen=True)
class Packed:
    """What is known of a track besides its payload.

    Args:
        facts: Of the samples, the tags and the source: columns of the index.
        seek: Where in the payload each second begins (see `Sink.seek_table`).
        fingerprint: Of the music, hexadecimal; "" for none.
    """

    facts: dict[str, Any]
    seek: list[int]
    fingerprint: str = ""


def pack(
    source: BinaryIO, sink: Sink, *, name: str, settings: Settings, beat: Callable[[], None]
) -> Packed:
    """Write the payload of an open file and say what it is; `beat` is called while at work."""
    source_sha256 = _hash(source, beat)
    source.seek(0)
    tags = read_tags(source, name)
    os.lseek(source.fileno(), 0, os.SEEK_SET)  # seek(0) may stay inside the buffer
    measure = Measure(settings.sample_rate)
    try:
        with SequentialFile(source.fileno(), closefd=False) as sound:
            _check(sound)
            blocks = _measured(_samples(sound, settings), measure, beat)
            write(blocks, sink, codec=settings.codec, sample_rate=settings.sample_rate)
            origin = {"source_rate": sound.samplerate, "source_channels": sound.channels}
    except TooLarge:
        message = f"needs more than {MAX_BYTES} bytes as {settings.codec}"
        raise Rejection("limit", "too_large", message) from None
    except soundfile.LibsndfileError as error:
        code = "unsupported" if error.code in UNSUPPORTED else "corrupt"
        raise Rejection("decode", code, f"does not decode: {_reason(error)}") from error
    _check_length(measure.frames, settings)
    facts = {**measure.facts(), **tags, **origin, "source_sha256": source_sha256}
    return Packed(facts, sink.seek_table(measure.frames, settings.sample_rate))


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


def _measured(
    blocks: Iterator[np.ndarray], measure: Measure, beat: Callable[[], None]
) -> Iterator[np.ndarray]:
    """The blocks as int16 [n], each measured; whatever else looks at every sample looks here."""
    for block in blocks:
        samples = to_int16(block)
        measure.add(samples)
        yield samples
        beat()
