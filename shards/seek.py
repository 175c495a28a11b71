"""A window of a FLAC payload as one range of bytes, on any store: no header, no search.

Ingest records where in each payload the last frame begins that starts at or before each second
(`seek/shard-N.npy`). The frames from there to just behind the window decode on their own behind a
STREAMINFO made here (RFC 9639, 8.2); each frame says which it is (9.1.5) and carries a checksum,
so a wrong range or a damaged frame is noticed.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from shards.names import SEEK, seek_name
from shards.place import Fetch, Place, Remote
from shards.source import SOURCES
from shards.text import shown

if TYPE_CHECKING:
    from shards.index import Index

MAX_BLOCK = 4_608
"""Samples of a FLAC frame in the streamable subset up to 48 kHz (RFC 9639, 7)."""

_BLOCK_SIZES = {
    1: 192,
    **{code: 576 << (code - 2) for code in range(2, 6)},
    **{code: 256 << (code - 8) for code in range(8, 16)},
}
_MORE_BYTES = {6: 1, 7: 2}
"""Block size codes whose size less one follows the frame's number, in so many bytes."""


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is only read on: soundfile seeks after every read of a seekable one."""

    def seekable(self) -> bool:
        """Never, so nobody seeks."""
        return False


def read_by_range(index: Index, row: int, start: int, frames: int, fetch: Fetch) -> np.ndarray:
    """Samples `start` to `start + frames` of a FLAC track, int16 [≤ frames], by a single fetch."""
    offset, size, length, rate_hz = (
        int(index.column(name)[row]) for name in ("offset", "size", "frames", "sample_rate")
    )
    frames = max(0, min(frames, length - start))
    if not frames:
        return np.zeros(0, np.int16)
    part = byte_range(seek_table(index, row), size, rate_hz, start, frames)
    data = fetch(offset + part.start, part.stop - part.start)
    return decode_frames(data, rate_hz, start, frames)


def has_seek_tables(index: Index, shard: int) -> bool:
    """Whether a shard's payload is FLAC that was packed here."""
    return f"{SEEK}/{seek_name(shard)}" in index.manifest.get("files", ())


def seek_table(index: Index, row: int) -> np.ndarray:
    """Byte offsets in a track's payload, uint32, one for each second begun."""
    shard, begin, frames, rate_hz = (
        int(index.column(name)[row]) for name in ("shard", "seek", "frames", "sample_rate")
    )
    return tables_of(index.file(f"{SEEK}/{seek_name(shard)}"))[begin : begin - (-frames // rate_hz)]


@lru_cache(maxsize=1024)
def tables_of(path: Place) -> np.ndarray:
    """The seek tables of a shard's tracks end to end, uint32."""
    if isinstance(path, Remote):
        return np.asarray(np.load(io.BytesIO(path.read_bytes())))
    return np.asarray(np.load(path, mmap_mode="r"))


def load_tables(paths: Iterable[Place]) -> None:
    """Have the seek tables of remote shards in memory, all that lack asked for together."""
    remote = [path for path in paths if isinstance(path, Remote)]
    if remote:
        from shards.remote import together

        together(tables_of, remote)


def entries_of(path: Place, begin: int, count: int) -> np.ndarray:
    """Part of a shard's seek tables, uint32 [≤ count]; of a local file no more is read."""
    if isinstance(path, Remote):
        return tables_of(path)[begin : begin + count]
    file = SOURCES.get(path)
    preamble = file.range(0, 10)  # magic, version, length of the header: NumPy's format 1.0
    if bytes(preamble[:8]) != b"\x93NUMPY\x01\x00":
        raise OSError(f"{shown(path)} is no seek table.")
    at = 10 + int.from_bytes(preamble[8:], "little") + 4 * begin
    return np.frombuffer(file.range(at, 4 * count), "<u4")


def byte_range(table: np.ndarray, size: int, rate_hz: int, start: int, frames: int) -> slice:
    """Bytes of a payload that hold samples `start` to `start + frames`.

    Args:
        table: The track's seek table, uint32 [seconds].
        size: Of the payload in bytes.
        rate_hz: Of its samples.
        start: First sample.
        frames: Number of samples, at least 1.
    """
    # The last frame may be short and hides the stream's block size: begin no later than before it.
    first = min(start // rate_hz, max(0, len(table) - 2))
    behind = -(-(start + frames + MAX_BLOCK) // rate_hz)
    return slice(int(table[first]), int(table[behind]) if behind < len(table) else size)


def decode_frames(data: bytes | memoryview, rate_hz: int, start: int, frames: int) -> np.ndarray:
    """Samples `start` to `start + frames` of a track from a range of its mono 16-bit FLAC frames.

    Returns int16 [≤ frames]; raises ValueError for bytes that begin with no frame, and
    LibsndfileError for damaged ones.
    """
    skip = start - first_sample(data)
    if skip < 0:
        raise ValueError(f"The frames begin {-skip} samples behind sample {start}.")
    whole = io.BytesIO(stream_header(rate_hz, skip + frames + MAX_BLOCK) + bytes(data))
    with SequentialFile(whole) as sound:
        samples = sound.read(skip + frames, dtype="int16")
    return np.asarray(samples[skip:])


def first_sample(data: bytes | memoryview) -> int:
    """Number of the first sample of the FLAC frame that `data` begins with."""
    number, _ = frame_number(data)
    return number * block_size(data) if number else 0


def block_size(data: bytes | memoryview) -> int:
    """Samples of the FLAC frame that `data` begins with."""
    _, at = frame_number(data)
    code = data[2] >> 4
    if code in _MORE_BYTES:
        return int.from_bytes(data[at : at + _MORE_BYTES[code]], "big") + 1
    if code not in _BLOCK_SIZES:
        raise ValueError(f"A FLAC frame has the reserved block size code {code}.")
    return _BLOCK_SIZES[code]


def frame_number(data: bytes | memoryview) -> tuple[int, int]:
    """Number of the FLAC frame that `data` begins with, and where it ends in the frame's header.

    A frame has 11 bytes or more: silence at the end of a track is as short as that.
    """
    if len(data) < 11 or bytes(data[:2]) != b"\xff\xf8":
        raise ValueError("No FLAC frame of a stream with blocks of one size begins here.")
    return _coded_number(data, 4)


def _coded_number(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """A number coded as UTF-8 codes characters, and where it ends (RFC 9639, 9.1.5)."""
    lead = data[at]
    if lead < 0x80:
        return lead, at + 1
    more = 7 - (lead ^ 0xFF).bit_length()  # leading ones, less the lead itself
    if not 1 <= more <= 6:
        raise ValueError("A FLAC frame's number is not coded as it should be.")
    number = lead & (0x3F >> more)
    for byte in data[at + 1 : at + 1 + more]:
        number = number << 6 | byte & 0x3F
    return number, at + 1 + more


def stream_header(rate_hz: int, frames: int) -> bytes:
    """`fLaC` and a STREAMINFO of mono 16-bit samples; sizes and MD5 unknown."""
    block = (16).to_bytes(2, "big") + (65_535).to_bytes(2, "big")
    packed = rate_hz << 44 | (1 - 1) << 41 | (16 - 1) << 36 | frames
    info = block + bytes(6) + packed.to_bytes(8, "big") + bytes(16)
    return b"fLaC" + (0x80 << 24 | len(info)).to_bytes(4, "big") + info
