"""What a decoder may answer to a track that is to be packed."""

from __future__ import annotations

from typing import Any

from ingest.tags import FIELDS, clean
from shards.answers import has_form
from shards.answers import parse as parse_answer

FACTS: dict[str, type] = {
    "frames": int,
    "pcm_sha256": str,
    "peak_db": float,
    "rms_db": float,
    "silence_ratio": float,
    "clipped_ratio": float,
    "truncated": bool,
    **dict.fromkeys(FIELDS, str),
    "source_rate": int,
    "source_channels": int,
    "source_sha256": str,
}


def parse(line: bytes) -> dict[str, Any]:
    """An answer that has the form of one; anything else is `Nonsense`."""
    return parse_answer(line, is_result=_is_packed)


def _is_packed(answer: dict[str, Any]) -> bool:
    return answer.keys() == {"facts", "seek", "fingerprint"} and _is_track(**answer)


def _is_track(facts: Any, seek: Any, fingerprint: Any) -> bool:
    return (
        has_form(facts, FACTS)
        and facts["frames"] > 0
        and all(clean(facts[name]) == facts[name] for name in FIELDS)
        and all(_is_hex(facts[name], 64) for name in ("pcm_sha256", "source_sha256"))
        and isinstance(seek, list)
        and all(type(offset) is int and 0 <= offset < 1 << 32 for offset in seek)
        and isinstance(fingerprint, str)
        and _is_hex(fingerprint, len(fingerprint) + len(fingerprint) % 2)
    )


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and set(text) <= set("0123456789abcdef")
