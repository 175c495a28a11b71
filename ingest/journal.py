"""How what a repair has made takes its place: a file alone, or all files of a shard or none.

Files are made aside on a local disk. A shard that changes is first set aside in the archive, under
`.repaired-shard`; from the moment that this is whole the repair has decided, and whoever repairs
next ends it. In a folder a rename makes it whole, in an object store, which cannot rename, a last
object.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ingest.folder import REPAIRED
from ingest.shard import RECEIPTS
from shards.files import fsync_dir, publish, publishing
from shards.names import DATA, SEEK
from shards.place import Place, Remote

WORK = ".tmp-repair"
JOURNAL = REPAIRED.replace("*", "shard")
DECIDED = "decided"


@contextmanager
def aside(out: Place) -> Iterator[Path]:
    """An empty folder to make files in; where that can be, they need only be renamed."""
    if isinstance(out, Remote):
        with tempfile.TemporaryDirectory(prefix="ingest-repair-") as folder:
            yield Path(folder)
        return
    work = out / WORK
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir()
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def put_all(work: Path, names: list[str], out: Place) -> None:
    """Let all files of a shard take their places: all or, until the next repair, none."""
    if isinstance(out, Remote):
        for name in names:
            move(work / name, out / JOURNAL / name)
        publish(out / JOURNAL / DECIDED, b"\n")
    else:
        fsync_dir(work)
        os.rename(work, out / JOURNAL)
        fsync_dir(out)
        work.mkdir()
    finish_interrupted(out)


def finish_interrupted(out: Place) -> None:
    """Put the shards in their places that a repair had decided on; its folder names them."""
    journals: list[Place] = [*out.glob(REPAIRED)]
    for journal in journals:
        if isinstance(journal, Path) or (journal / DECIDED).exists():
            for folder in (DATA, SEEK, RECEIPTS):
                made: list[Place] = [*(journal / folder).glob("shard-*")]
                for file in sorted(made, key=str):
                    move(file, out / folder / file.name)
        remove(journal)


def move(source: Place, target: Place) -> None:
    """Let a file take its place so that its new name lasts; into a store it is copied."""
    if isinstance(target, Path):
        assert isinstance(source, Path)
        target.parent.mkdir(exist_ok=True)
        os.replace(source, target)
        fsync_dir(target.parent)
    elif isinstance(source, Path):
        with open(source, "rb") as file:
            target.put(file)
    else:
        with publishing(target) as copy:
            source.fetch(copy)


def remove(folder: Place) -> None:
    """Delete a folder and all below."""
    if isinstance(folder, Path):
        shutil.rmtree(folder)
    else:
        folder.delete_below()
