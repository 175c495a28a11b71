"""What a file is, judged by its first bytes; names only tell what it claims to be."""

import struct
from collections.abc import Callable
from importlib.util import find_spec

READABLE = frozenset({"wav", "flac", "ogg", "mp3", "aiff"})
"""Kinds that are read wherever they are found."""

INSTALL = 'pip install "wholetone[formats]"'
"""Lets files of all other kinds be read whose names claim that they are audio: many hold video."""

HEAD_BYTES = 4_096
SEARCH_BYTES = 65_536
"""How far a file that claims to be MPEG audio is searched for its first frames."""

MPEG_EXTENSIONS = frozenset({".mp3", ".mp2", ".mp1", ".mpga"})
AUDIO_EXTENSIONS = MPEG_EXTENSIONS | frozenset(
    [
        *(".wav", ".wave", ".bwf", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".oggflac", ".spx"),
        *(".aif", ".aiff", ".aifc", ".afc", ".m4a", ".m4b", ".mp4a", ".aac", ".wma", ".ape", ".wv"),
        *(
            ".caf",
            ".au",
            ".weba",
            ".webm",
            ".snd",
            ".w64",
            ".mka",
            ".mpc",
            ".tta",
            ".dsf",
            ".dff",
            ".ac3",
            ".amr",
        ),
    ]
)

_MAGIC = (
    # offset, bytes, kind; kinds outside READABLE are recognised to be named in the message
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),  # some FLAC files start like this as well: the decoder finds out
    (4, b"ftyp", "m4a or mp4"),
    (0, bytes.fromhex("3026b2758e66cf11"), "wma"),
    (0, b"MAC ", "ape"),
    (0, b"wvpk", "wavpack"),
    (0, b"caff", "caf"),
    (0, b".snd", "au"),
    (0, b"riff\x2e\x91\xcf\x11", "w64"),
    (0, bytes.fromhex("1a45dfa3"), "matroska"),
    (0, b"MPCK", "musepack"),
    (0, b"MP+", "musepack"),
    (0, b"DSD ", "dsf"),
    (0, b"FRM8", "dff"),
    (0, b"TTA1", "tta"),
    (0, b"\x0b\x77", "ac3"),
    (0, b"#!AMR", "amr"),
)

_BITRATES_KBPS = {
    # (MPEG 1, layer): indices 1 to 14
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def sniff(head: bytes, size: int) -> str:
    """Kind of audio that starts with `head` in a file of `size` bytes, "" if none is recognised."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return "wav"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "aiff"
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind
    if _frames_start_at(head, 0, size):
        return "mp3"
    return "aac" if _adts_frames_start(head, size) else ""


def kind_of(read: Callable[[int], bytes], size: int, extension: str) -> str:
    """Kind of audio in a file, "" if none; `read` gives so many bytes from its begin."""
    kind = sniff(read(HEAD_BYTES), size)
    if not kind and extension in MPEG_EXTENSIONS:
        kind = "mp3" if find_mpeg_frame(read(SEARCH_BYTES), size) >= 0 else ""
    return kind


def is_installed() -> bool:
    """Whether PyAV, which reads what is not in `READABLE`, is there; it is not loaded."""
    return find_spec("av") is not None


def find_mpeg_frame(head: bytes, size: int) -> int:
    """Where MPEG audio frames start, -1 if nowhere: leading junk is common in old files."""
    at = head.find(b"\xff")
    while at >= 0 and not _frames_start_at(head, at, size):
        at = head.find(b"\xff", at + 1)
    return at


def _frames_start_at(head: bytes, at: int, size: int) -> bool:
    """A valid frame header that is followed by another or by the end of the file."""
    length = mpeg_frame_bytes(head[at : at + 4])
    if length == 0:
        return False
    following = at + length
    return following >= size or mpeg_frame_bytes(head[following : following + 4]) > 0


def _adts_frames_start(head: bytes, size: int) -> bool:
    """An ADTS header (ISO 13818-7, 6.2) that is followed by another or by the end of the file."""
    if len(head) < 6 or not _is_adts(head[:2]):
        return False
    following = int.from_bytes(head[3:6], "big") >> 5 & 0x1FFF
    return following > 6 and (following >= size or _is_adts(head[following : following + 2]))


def _is_adts(header: bytes) -> bool:
    return len(header) == 2 and header[0] == 0xFF and header[1] & 0xF6 == 0xF0


def mpeg_frame_bytes(header: bytes) -> int:
    """Length of the MPEG audio frame with this 4-byte header (ISO 11172-3, 2.4.2.3); 0 if none."""
    if len(header) < 4:
        return 0
    (bits,) = struct.unpack(">I", header)
    version, layer = bits >> 19 & 3, 4 - (bits >> 17 & 3)
    bitrate, rate, padding = bits >> 12 & 15, bits >> 10 & 3, bits >> 9 & 1
    if bits >> 21 != 0x7FF or version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0
    bits_per_s = 1000 * _BITRATES_KBPS[version == 3, layer][bitrate - 1]
    rate_hz = (44_100, 48_000, 32_000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    if layer == 1:
        return int(12 * bits_per_s // rate_hz + padding) * 4
    samples = 72 if layer == 3 and version != 3 else 144
    return int(samples * bits_per_s // rate_hz + padding)
