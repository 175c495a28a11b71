"""One raw file → payload and facts, or its samples alone; runs in a worker process only.

No number of the header is trusted: blocks are decoded until there are no more, and limits hold for
what comes out. Channels are averaged, soxr (HQ) resamples the stream, and

    int16 = floor(32768 · x + 0.5), clipped to [-32768, 32767]

without dither, so that the same file always gives the same bytes, and a mono file of 16 bits at the
archive's rate keeps every sample.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from ingest.containers import is_truncated
from ingest.fingerprint import Fingerprint
from ingest.measure import Measure
from ingest.mono import Mono, Sound
from ingest.payload import MAX_BYTES, Sink, TooLarge, write, write_samples
from ingest.rejection import Rejection
from ingest.settings import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ, Settings
from ingest.sounds import open_sound
from ingest.tags import read_tags
from shards.samples import to_int16

HASH_BYTES = 1 << 24


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
    fd = source.fileno()
    source_sha256 = _hash(source, beat)
    source.seek(0)
    tags = read_tags(source, name)
    os.lseek(fd, 0, os.SEEK_SET)  # seek(0) may stay inside the buffer
    measure, fingerprint = Measure(settings.sample_rate), Fingerprint(settings.sample_rate)
    with open_sound(fd) as sound:
        _check(sound)
        mono = Mono(sound, rate_hz=settings.sample_rate, max_seconds=settings.max_seconds)
        blocks = _watched(mono.blocks(), (measure, fingerprint), beat)
        with _bounded(settings.codec):
            write(blocks, sink, codec=settings.codec, sample_rate=settings.sample_rate)
        origin = {"source_rate": sound.samplerate, "source_channels": sound.channels}
    _check_length(measure.frames, settings)
    facts = {
        **measure.facts(),
        "clipped_ratio": mono.clipped_ratio,
        "truncated": is_truncated(fd, frames=mono.frames),
        **tags,
        **origin,
        "source_sha256": source_sha256,
    }
    seek = sink.seek_table(measure.frames, settings.sample_rate)
    return Packed(facts, seek, fingerprint.result().hex())


def read(
    source: BinaryIO,
    sink: Sink,
    *,
    sample_rate: int,
    max_seconds: float,
    beat: Callable[[], None],
) -> int:
    """Write the samples of an open file as `pack` measures them, int16; how many there are."""
    with open_sound(source.fileno()) as sound:
        _check(sound)
        mono = Mono(sound, rate_hz=sample_rate, max_seconds=max_seconds)
        with _bounded("int16"):
            return write_samples(_watched(mono.blocks(), (), beat), sink)


@contextmanager
def _bounded(codec: str) -> Iterator[None]:
    try:
        yield
    except TooLarge:
        message = f"needs more than {MAX_BYTES} bytes as {codec}"
        raise Rejection("limit", "too_large", message) from None


def _hash(source: BinaryIO, beat: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    while block := source.read(HASH_BYTES):
        digest.update(block)
        beat()
    return digest.hexdigest()


def _check(sound: Sound) -> None:
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


def _watched(
    blocks: Iterator[np.ndarray],
    watchers: Sequence[Measure | Fingerprint],
    beat: Callable[[], None],
) -> Iterator[np.ndarray]:
    """The blocks as int16 [n]; whoever looks at every sample has seen each."""
    for block in blocks:
        samples = to_int16(block)
        for watcher in watchers:
            watcher.add(samples)
        yield samples
        beat()
