"""A damaged file of a label set made again, from the other one and the table both came from."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from ingest.labels.add import make_again
from ingest.labels.kinds import NoLabels
from shards.errors import InputError
from shards.files import sha256_file
from shards.index import Index
from shards.labels import label_paths
from shards.names import LABELS
from shards.place import Place
from shards.sealed import carried_facts, comes_again, read_sealed, vouched_bytes, vouching_bytes

AGAIN = "run `ingest labels` again"


def labels_again(
    out: Place, name: str, bad: Collection[str], files: tuple[Place, ...]
) -> tuple[str, bytes | None, str]:
    """File of a label set, its bytes as they were or None, and why there are none.

    Args:
        out: Folder of the archive.
        name: Of the label set.
        bad: Files that are missing or damaged.
        files: Tables from which label sets were made.
    """
    table, vouches = label_paths(out, name)
    of_table, of_facts = f"{LABELS}/{table.name}", f"{LABELS}/{vouches.name}"
    if of_facts not in bad:
        try:
            return of_table, *_table_again(out, vouches, files)
        except (InputError, NoLabels) as error:
            return of_table, None, f"{error}; {AGAIN}"
    facts = carried_facts(table)
    if facts and comes_again(table):
        return of_facts, vouching_bytes(table, facts), ""
    return of_facts, None, f"its table does not prove to be whole; {AGAIN}"


def _table_again(out: Place, vouches: Place, files: tuple[Place, ...]) -> tuple[bytes | None, str]:
    """A label table from the file it came from, if that is given and nothing has changed."""
    info = read_sealed(vouches)
    sha256 = info.pop("sha256")
    for file in files:
        if sha256_file(file) == info["source"]["sha256"]:
            data = vouched_bytes(make_again(Index.open(out), file, info), info)
            same = hashlib.sha256(data).hexdigest() == sha256
            return (data, "") if same else (None, f"the archive has grown since; {AGAIN}")
    return None, "the table that it came from was not given"
