"""Ranges of a remote file through the node's cache, block by block."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shards.cache import TRAILER_BYTES, Cache, Claim
from shards.text import shown
from shards.traffic import Traffic

BLOCK_BYTES = (128 << 10) - TRAILER_BYTES
"""What the cache keeps or removes at once; with its trailer it fills its place on a disk.

Clips of 4 s touched for the first time cost 2.0 times their bytes with 64 KiB, 2.5 with 128, 3.3
with 256, and a cache of 1 TiB has 8 million files.
"""

MAX_BLOCKS = 64
"""Of a request."""

WAIT_S, LOOK_S = 60.0, 0.01
"""How long another process is trusted to bring a block, and how often we look."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of one file.

    Args:
        cache: Where they are kept.
        sha256: Of the file.
        size: Of the file in bytes.
        ask: Begin and end of a range → its bytes from the store.
        traffic: Counts what came from the cache.
    """

    cache: Cache
    sha256: str
    size: int
    ask: Callable[[int, int], memoryview]
    traffic: Traffic

    def read(self, begin: int, end: int) -> memoryview:
        """Bytes `begin` to `end`; around what is missing, all blocks of its unit are fetched."""
        first, behind = begin // BLOCK_BYTES, -(-end // BLOCK_BYTES)
        have: dict[int, memoryview] = {}
        until = time.monotonic() + WAIT_S
        while missing := [number for number in range(first, behind) if number not in have]:
            for number in missing:
                if (block := self.cache.read(self._name(number))) is not None:
                    have[number] = block
                    self.traffic.cached += len(block)
            lacking = [number for number in missing if number not in have]
            if time.monotonic() > until:
                have |= self._fetch(lacking, {})
            elif claims := self._claim(lacking):
                have |= self._fetch(claims, claims)
            elif lacking:
                time.sleep(LOOK_S)  # others are at it
        whole = b"".join(have[number] for number in range(first, behind))
        return memoryview(whole)[begin - first * BLOCK_BYTES : end - first * BLOCK_BYTES]

    def _claim(self, lacking: list[int]) -> dict[int, Claim]:
        """Claims on what is lacking, and on what else its units lack."""
        unit = max(1, self.cache.unit_bytes // BLOCK_BYTES)
        last = -(-self.size // BLOCK_BYTES)
        wanted = {
            number
            for block in lacking
            for number in range(block // unit * unit, min(last, (block // unit + 1) * unit))
        }
        claims = {number: self.cache.claim(self._name(number)) for number in sorted(wanted)}
        return {number: claim for number, claim in claims.items() if claim is not None}

    def _fetch(self, numbers: Iterable[int], claims: dict[int, Claim]) -> dict[int, memoryview]:
        """Blocks from the store by as few requests as possible; what is claimed is kept."""
        have: dict[int, memoryview] = {}
        try:
            for run in runs(numbers):
                begin, end = run[0] * BLOCK_BYTES, min(self.size, (run[-1] + 1) * BLOCK_BYTES)
                data = self.ask(begin, end)
                for i, number in enumerate(run):
                    have[number] = data[i * BLOCK_BYTES : (i + 1) * BLOCK_BYTES]
                    if number in claims:
                        self._keep(claims[number], have[number])
        finally:
            for claim in claims.values():
                claim.give_up()
        return have

    def _keep(self, claim: Claim, block: memoryview) -> None:
        try:
            claim.fill(block)
        except OSError as error:
            warnings.warn(
                f"The cache {shown(self.cache.folder)} cannot be written ({error.strerror}): "
                "what it lacks is read from the store every time.",
                stacklevel=2,
            )

    def _name(self, number: int) -> str:
        return _name(self.sha256, number)


def forget(cache: Cache, sha256: str, begin: int, end: int) -> None:
    """Drop from the cache what it has of a range of a file."""
    for number in range(begin // BLOCK_BYTES, -(-end // BLOCK_BYTES)):
        cache.remove(_name(sha256, number))


def _name(sha256: str, number: int) -> str:
    return f"{sha256[:32]}/{number}"


def runs(numbers: Iterable[int]) -> list[list[int]]:
    """Ascending numbers as runs of neighbours, at most `MAX_BLOCKS` each."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1 and len(found[-1]) < MAX_BLOCKS:
            found[-1].append(number)
        else:
            found.append([number])
    return found
