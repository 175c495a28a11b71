"""Whether a file ends before its container says it does; decoders fall silent and do not tell.

What each container can prove:

    wav, aiff   the form and the chunk of samples are as long as their headers say
    flac        as many samples as STREAMINFO says; most cuts fail to decode before this is asked
    ogg         the last page is whole and marked as the end of its stream
    mp3         as many bytes as a Xing, Info or VBRI header says, and a last frame that is whole;
                a file without such a header that was cut between two frames looks intact
    m4a, mp4    every top-level box is as long as its header says

Everything else proves nothing, and so do headers of streams that left their lengths open.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable

from ingest.sniff import SEARCH_BYTES, find_mpeg_frame, mpeg_frame_bytes, sniff

MAX_CHUNKS = 1_000
"""Looked at in search of the samples: a hostile file can hold millions."""

SURE_FRAMES = 3
_OGG_PAGE_BYTES = 27 + 255 + 255 * 255
_OGG_EOS = 4


def is_truncated(fd: int, *, frames: int) -> bool:
    """Whether an open file of `frames` decoded samples a channel is provably cut short."""
    size = os.fstat(fd).st_size
    start = _after_id3(fd)
    head = os.pread(fd, SEARCH_BYTES, start)
    kind = sniff(head, size - start)
    if kind == "flac":
        return _flac(head, frames)
    return _CHECKS.get(kind, _mpeg)(fd, start, size)


def _after_id3(fd: int) -> int:
    """Where the audio begins: ID3v2 tags in front (id3v2.4.0-structure, 3.1) are passed over."""
    at = 0
    for _ in range(MAX_CHUNKS):
        head = os.pread(fd, 10, at)
        if head[:3] != b"ID3" or len(head) < 10:
            break
        a, b, c, d = (byte & 0x7F for byte in head[6:])
        at += 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)
    return at


def _riff(fd: int, start: int, size: int) -> bool:
    """WAV: RIFF, RIFX and RF64, whose ds64 chunk holds the lengths of 64 bits (EBU 3306)."""
    head = os.pread(fd, 36, start)
    order = ">" if head[:4] == b"RIFX" else "<"
    if head[:4] == b"RF64" and head[12:16] == b"ds64":
        lengths: tuple[int, int] = struct.unpack("<QQ", head[20:36].ljust(16, b"\0"))
        at, _ = _find_chunk(fd, start, b"data", order)
        return start + 8 + lengths[0] > size or at + lengths[1] > size
    return _form(fd, start, size, b"data", order)


def _aiff(fd: int, start: int, size: int) -> bool:
    return _form(fd, start, size, b"SSND", ">")


def _form(fd: int, start: int, size: int, samples: bytes, order: str) -> bool:
    """An IFF form: its length and that of its chunk of samples."""
    form: int = struct.unpack(order + "I", os.pread(fd, 4, start + 4))[0]
    at, length = _find_chunk(fd, start, samples, order)
    missing_pad = at + length == size and length % 2  # many writers count it and leave it out
    cut = not _is_open(form) and start + 8 + form - missing_pad > size
    return cut or (not _is_open(length) and at + length > size)


def _find_chunk(fd: int, start: int, name: bytes, order: str) -> tuple[int, int]:
    """Where the contents of a chunk begin and how long they are said to be; (0, 0) without one."""
    at = start + 12
    for _ in range(MAX_CHUNKS):
        header = os.pread(fd, 8, at)
        if len(header) < 8:
            break
        length: int = struct.unpack(order + "I", header[4:])[0]
        if header[:4] == name:
            return at + 8, length
        at += 8 + length + length % 2
    return 0, 0


def _is_open(length: int) -> bool:
    """Whether a length says that its writer did not know it: 0 or near a limit of 31 or 32 bits."""
    return length == 0 or abs(length - (1 << 31)) <= 4_096 or length >= (1 << 32) - 4_096


def _flac(head: bytes, frames: int) -> bool:
    """STREAMINFO's total is 36 bits; 0 is unknown (RFC 9639, 8.2)."""
    return frames < int.from_bytes(head[21:26].ljust(5, b"\0"), "big") & (1 << 36) - 1


def _ogg(fd: int, start: int, size: int) -> bool:
    """The last page that begins (RFC 3533, 6) must be whole and end its stream."""
    tail = os.pread(fd, 2 * _OGG_PAGE_BYTES, max(start, size - 2 * _OGG_PAGE_BYTES))
    at = tail.rfind(b"OggS\0")
    if at < 0 or len(tail) < at + 27:
        return True
    lacing = tail[at + 27 : at + 27 + tail[at + 26]]
    length = 27 + tail[at + 26] + sum(lacing)
    return len(tail) < at + length or not tail[at + 5] & _OGG_EOS


def _mpeg(fd: int, start: int, size: int) -> bool:
    head = os.pread(fd, SEARCH_BYTES, start)
    first = find_mpeg_frame(head, size - start)
    if first < 0:
        return False
    announced = _announced_bytes(head[first : first + 256])
    return start + first + announced > size or _last_frame_is_cut(fd, start + first, size)


def _announced_bytes(frame: bytes) -> int:
    """Bytes of all MPEG frames by the header in the first of them; 0 if it does not say."""
    for name in (b"Xing", b"Info"):  # flags, then frames if bit 0, then bytes if bit 1
        at = frame.find(name, 4, 48)
        if at >= 0 and len(frame) >= at + 16 and frame[at + 7] & 2:
            at += 12 if frame[at + 7] & 1 else 8
            return int.from_bytes(frame[at : at + 4], "big")
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[46:50], "big")
    return 0


def _last_frame_is_cut(fd: int, first: int, size: int) -> bool:
    """Whether the frames run to the end of the file and the last one would go on behind it."""
    begin = max(first, size - SEARCH_BYTES)
    tail = os.pread(fd, SEARCH_BYTES, begin)
    at, frames = find_mpeg_frame(tail, size - begin), 0
    while 0 <= at < len(tail):
        length = mpeg_frame_bytes(tail[at : at + 4])
        if length == 0:  # a tag behind the audio, or the first bytes of a frame
            return len(tail) - at < 4 and tail[at] == 0xFF
        at += length
        frames += 1
    sure = begin == first or frames >= SURE_FRAMES  # a picture in a tag can look like a frame
    return sure and at > len(tail)


def _boxes(fd: int, start: int, size: int) -> bool:
    """Boxes of an ISO file (ISO 14496-12, 4.2): 32 bits of length, or 64 after a 1."""
    at = start
    for _ in range(MAX_CHUNKS):
        head = os.pread(fd, 16, at)
        if not head:
            return False
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length == 0:  # to the end of the file
            return False
        if length < 8 or len(head) < 8 or at + length > size:
            return True
        at += length
    return False


_CHECKS: dict[str, Callable[[int, int, int], bool]] = {
    "wav": _riff,
    "aiff": _aiff,
    "ogg": _ogg,
    "m4a or mp4": _boxes,
}
