"""What a folder holds that its archive has not seen: the sources of the next generation.

A source is settled once it is packed, or refused for what it is. One that could not be read, or
that changed while it was, is tried again; so is one that was refused and has changed since.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ingest.plan import Plan
from ingest.scan import Scan, Source

PASSING = frozenset({"missing", "unreadable", "changed"})
"""Reasons that lie in the moment, not in the file."""


@dataclass
class Verdicts:
    """What became of every key: packed, or the code it was refused with."""

    packed: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)

    def settled(self, key: str) -> bool:
        """Whether nothing would come out differently today."""
        return key in self.packed or self.refused.get(key, "missing") not in PASSING


@dataclass(frozen=True)
class News:
    """What is new in a folder.

    Args:
        scan: Its sources are those to pack now, its rejected files those not listed before.
        changed: Packed tracks whose source is another file now; the archive keeps what it has.
    """

    scan: Scan
    changed: int

    def __bool__(self) -> bool:
        return bool(self.scan.sources or self.scan.rejected)


def planned(plans: list[Plan]) -> dict[bytes, Source]:
    """Every source as its latest plan knew it."""
    return {source.raw: source for plan in plans for source in plan.sources}


def news(plans: list[Plan], found: Scan, verdicts: Verdicts, *, limit: int = 0) -> News:
    """What the plans do not know, or know as something that should be tried again."""
    known = planned(plans)
    sources, changed = [], 0
    for source in found.sources:
        before = known.get(source.raw)
        same = before is not None and before == source
        if before is not None and source.key in verdicts.packed:
            changed += not same
        elif not (same and verdicts.settled(source.key)):
            sources.append(source)
    if limit:
        sources = sources[: max(0, limit - len(known))]
    listed = verdicts.packed | verdicts.refused.keys()
    rejected = [r for r in found.rejected if r.key not in listed]
    return News(replace(found, sources=sources, rejected=rejected), changed)
