"""Title, artist, album and genre of a file: short, printable, normalised, "" where unknown."""

import unicodedata
from typing import BinaryIO

from tinytag import TinyTag

FIELDS = ("title", "artist", "album", "genre")
MAX_BYTES = 1_024


def read_tags(file: BinaryIO, filename: str) -> dict[str, str]:
    """Cleaned tags of an open audio file; one whose tags cannot be read has none."""
    try:
        tag = TinyTag.get(filename=filename, file_obj=file, duration=False)
    except Exception:  # whatever a parser of hostile tags may raise, the audio counts for more
        return dict.fromkeys(FIELDS, "")
    return {name: clean(getattr(tag, name)) for name in FIELDS}


def clean(text: object) -> str:
    """Text in NFC without control, bidirectional, surrogate and unassigned characters, ≤ 1 KiB."""
    if not isinstance(text, str):
        return ""
    text = " ".join(text[:MAX_BYTES].split())
    kept = "".join(c for c in text if unicodedata.category(c)[0] != "C")
    normal = unicodedata.normalize("NFC", " ".join(kept.split()))
    return normal.encode()[:MAX_BYTES].decode("utf-8", "ignore").strip()
