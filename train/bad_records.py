"""bad_records.jsonl: what could not be decoded, one line each, once each however often resumed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from shards.bad import BadRecord
from train.log import reopen


def bad_records_path(out: Path, process: int) -> Path:
    """Where a process of a run lists them."""
    return out / (f"bad_records-{process}.jsonl" if process else "bad_records.jsonl")


class BadRecords:
    """The list, open for appending; what it says of positions from `seen` on is drawn again."""

    def __init__(self, path: Path, seen: int) -> None:
        self._file = reopen(path, lambda record: record["position"] < seen)

    def add(self, record: BadRecord) -> None:
        """One more, on the disk at once: the next may be the one too many."""
        self._file.write(json.dumps(asdict(record), ensure_ascii=False) + "\n")
        self._file.flush()

    def __enter__(self) -> BadRecords:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
