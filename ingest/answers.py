"""What a decoder may answer; one that a file took over can send anything."""

from __future__ import annotations

import json
from typing import Any

from ingest.tags import FIELDS, clean

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
REJECTED: dict[str, type] = {"stage": str, "code": str, "message": str}
FAILED: dict[str, type] = {"where": str, "errno": int, "message": str}


class Nonsense(ValueError):
    """A line that is no answer."""


def parse(line: bytes) -> dict[str, Any]:
    """An answer that has the form of one; anything else is `Nonsense`."""
    try:
        answer = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise Nonsense(str(error)) from None
    if not isinstance(answer, dict) or not _is_known(answer):
        raise Nonsense("has not the form of an answer")
    return answer


def _refuse(constant: str) -> None:
    raise Nonsense(f"{constant} is no number")


def _is_known(answer: dict[str, Any]) -> bool:
    if "facts" in answer:
        return answer.keys() == {"facts", "seek", "fingerprint"} and _is_track(**answer)
    for name, form in (("rejected", REJECTED), ("failed", FAILED)):
        if name in answer:
            return answer.keys() == {name} and _has_form(answer[name], form)
    return answer.keys() <= {"ready", "sandbox", "denied", "beat"}


def _is_track(facts: Any, seek: Any, fingerprint: Any) -> bool:
    return (
        _has_form(facts, FACTS)
        and facts["frames"] > 0
        and all(clean(facts[name]) == facts[name] for name in FIELDS)
        and all(_is_hex(facts[name], 64) for name in ("pcm_sha256", "source_sha256"))
        and isinstance(seek, list)
        and all(type(offset) is int and 0 <= offset < 1 << 32 for offset in seek)
        and isinstance(fingerprint, str)
        and _is_hex(fingerprint, len(fingerprint) + len(fingerprint) % 2)
    )


def _has_form(value: Any, form: dict[str, type]) -> bool:
    """Exactly these names, exactly these types."""
    return isinstance(value, dict) and {k: type(v) for k, v in value.items()} == form


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and set(text) <= set("0123456789abcdef")
