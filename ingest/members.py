"""What somebody else's tar holds, by its headers alone: nothing is extracted or decoded here.

Tars may lie. A header that cannot be true, an end without its mark, anything that two readers could
understand in two ways refuses the whole tar, for what stands behind it cannot be trusted either
(`tarfile` would silently stop there). Members that are no regular files, and names that lead
elsewhere, are refused one by one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from tarfile import BLOCKSIZE, HeaderError, TarInfo

HEADER_BYTES = 1 << 20
"""Of an extended header: a name has a thousandth of that."""

_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PK\x03\x04": "zip",
}
_REGULAR, _FOLDER = frozenset({b"0", b"\0", b"7"}), b"5"
_IRREGULAR = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
}
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"x", b"g", b"L", b"K"
_RECORD = re.compile(rb"(\d{1,7}) ([^=\n]+)=")
"""Head of a PAX record: its length, then what it is about (POSIX.1-2024, pax, extended header)."""

_HUGE = 8 << 30
"""From here on a size does not fit into the old field, and PAX has to say it."""


class BadTar(Exception):
    """A tar that cannot be trusted: code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(code, message)
        self.code, self.message = code, message


@dataclass(frozen=True)
class Entry:
    """A member of a tar.

    Args:
        name: As the tar has it.
        offset: Of the member's first byte.
        size: In bytes.
        irregular: What it is instead of a regular file, else "".
    """

    name: bytes
    offset: int
    size: int
    irregular: str


def entries(fd: int) -> Iterator[Entry]:
    """Files of an open tar, one after the other; raises `BadTar` where it stops making sense."""
    end = os.fstat(fd).st_size
    _check_magic(os.pread(fd, 6, 0))
    at, said = 0, dict[str, bytes]()
    while True:
        block = os.pread(fd, BLOCKSIZE, at)
        if len(block) < BLOCKSIZE:
            raise BadTar("truncated", f"ends at byte {at} without the mark of its end")
        if not block.strip(b"\0"):
            _check_end(fd, at, end, dangling=bool(said))
            return
        info = _header(block, at)
        size = _size(info, said, at, end)
        behind = at + BLOCKSIZE + -(-size // BLOCKSIZE) * BLOCKSIZE
        if info.type in (_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK):
            said |= _extended(fd, info, at, size)
        else:
            name = said.pop("path", os.fsencode(info.name))
            said.clear()
            if info.type != _FOLDER:
                yield Entry(name, at + BLOCKSIZE, size, _irregular(info, size, at))
        at = behind


def _check_magic(head: bytes) -> None:
    for magic, what in _COMPRESSED.items():
        if head.startswith(magic):
            raise BadTar("compressed", f"is compressed ({what}): its members have no place; unpack")


def _check_end(fd: int, at: int, end: int, *, dangling: bool) -> None:
    """Behind the mark of the end only zeros may follow, or readers would hide what is there."""
    if dangling:
        raise BadTar("damaged", f"ends at byte {at}, where a member was announced")
    if os.pread(fd, HEADER_BYTES, at).strip(b"\0") or end - at > HEADER_BYTES:
        raise BadTar("damaged", f"goes on behind its end at byte {at}")


def _header(block: bytes, at: int) -> TarInfo:
    try:
        return TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except HeaderError as error:
        code = "damaged" if at else "not_a_tar"
        raise BadTar(code, f"has no valid header at byte {at} ({error})") from None


def _size(info: TarInfo, said: dict[str, bytes], at: int, end: int) -> int:
    """Bytes of a member, which must lie in the tar and be beyond dispute."""
    size = info.size
    if "size" in said:
        if not said["size"].isdigit() or len(said["size"]) > 18:
            raise BadTar("damaged", f"has no number for a size at byte {at}")
        size = int(said["size"])
        if size != info.size and size < _HUGE:
            raise BadTar("damaged", f"says {info.size} and {size} bytes of the member at {at}")
    left = end - at - BLOCKSIZE
    if not 0 <= size <= left:
        raise BadTar("damaged", f"claims {size} bytes for the member at byte {at}, {left} are left")
    return size


def _irregular(info: TarInfo, size: int, at: int) -> str:
    """What a member is if it is no regular file."""
    if info.type in _REGULAR:
        return ""
    if info.type not in _IRREGULAR or size:
        kind = "a sparse file" if info.type == b"S" else f"a member of type {info.type!r}"
        raise BadTar("damaged", f"holds {kind} with {size} bytes at byte {at}; repack it plainly")
    return _IRREGULAR[info.type]


def _extended(fd: int, info: TarInfo, at: int, size: int) -> dict[str, bytes]:
    """What an extended header says of the member behind it."""
    if size > HEADER_BYTES:
        raise BadTar("damaged", f"has a header of {size} bytes at byte {at}")
    data = os.pread(fd, size, at + BLOCKSIZE)
    if info.type == _GNU_LINK:
        return {}
    if info.type == _GNU_NAME:
        return {"path": data.split(b"\0", 1)[0]}
    records = _records(data, at)
    if any(name.startswith("GNU.sparse") for name in records):
        raise BadTar("damaged", f"holds a sparse file at byte {at}; repack it plainly")
    told = {name: value for name, value in records.items() if name in ("path", "size")}
    if told and info.type == _PAX_GLOBAL:
        raise BadTar("damaged", f"gives all members one name or size at byte {at}")
    return told


def _records(data: bytes, at: int) -> dict[str, bytes]:
    """Records `length name=value` and a line break, end to end."""
    records: dict[str, bytes] = {}
    place = 0
    while place < len(data) and data[place]:
        head = _RECORD.match(data, place)
        stop = place + int(head[1]) if head else 0
        if not head or stop <= head.end() or stop > len(data) or data[stop - 1] != ord("\n"):
            raise BadTar("damaged", f"has a PAX header that does not add up at byte {at}")
        records[head[2].decode("utf-8", "replace")] = data[head.end() : stop - 1]
        place = stop
    return records
