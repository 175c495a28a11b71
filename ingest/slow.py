"""What people are told of archives that keep original bytes."""

from __future__ import annotations

from typing import Any

from ingest.payload import COPY


def called(codec: str) -> str:
    """What the payload of an archive is."""
    return "original files" if codec == COPY else codec


def slow(manifest: dict[str, Any]) -> list[str]:
    """A line where tracks are decoded again whenever they are read, else none."""
    count = num_slow(manifest)
    if not count:
        return []
    return [
        f"slow: {count} of {manifest['tracks']} tracks are decoded by a sandboxed decoder at each "
        f"visit; {REMEDIES[bool(manifest.get('foreign'))]} packs them for fast reading"
    ]


REMEDIES = {
    True: "`ingest build-shards` on the originals",
    False: "`ingest build-shards` with --codec flac into a new --out",
}
"""What to type, by whether the tars are of others."""


def num_slow(manifest: dict[str, Any]) -> int:
    """Tracks that are decoded at each visit; the first archives had none and do not say so."""
    return int(manifest.get("sandboxed", 0))
