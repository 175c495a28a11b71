"""The one reader of `labels/`: test targets open for a written selection and nothing else.

A label set is two files, `NAME.parquet` (key, target, group, split) and `NAME.json` (kind, classes,
metric, split rule, counts). Labels lie beside the index, never in it: adding or changing one
touches neither a shard nor the stream. What targets are as arrays stands in `shards.targets`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards.errors import InputError
from shards.files import read_parquet, sha256_file, shown
from shards.index import Index
from shards.manifest import to_repair
from shards.names import LABELS
from shards.place import Place, Remote, place, size_of
from shards.remote import stored
from shards.sealed import read_sealed, write_vouched
from shards.targets import EVENT_CELLS, KEYS, spread_by, targets_of

SPLITS = ("train", "valid", "test")
KINDS = {
    "class": pa.string(),
    "tags": pa.list_(pa.string()),
    "number": pa.float64(),
    "key": pa.string(),
    "group": pa.string(),
    "beats": EVENT_CELLS,
    "segments": EVENT_CELLS,
}
"""Kind → type of a cell."""

METRICS = {
    "class": "accuracy",
    "tags": "roc_auc",
    "number": "r2",
    "key": "key_score",
    "group": "map",
    "beats": "f70",
    "segments": "window_accuracy",
}
"""Kind → the metric that counts first."""


def label_schema(kind: str) -> pa.Schema:
    """Columns of a label set of this kind."""
    return pa.schema(
        [
            ("key", pa.string()),
            ("target", KINDS[kind]),
            ("group", pa.string()),
            ("split", pa.string()),
        ]
    )


def label_names(shards_dir: Place | str) -> list[str]:
    """Names of an archive's label sets, sorted."""
    return sorted(path.stem for path in (place(shards_dir) / LABELS).glob("*.json"))


def write_labels(shards_dir: Place, name: str, table: pa.Table, info: dict[str, Any]) -> None:
    """Publish a label set; the Parquet file first, then the JSON file that vouches for it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise InputError(
            f"{shown(name)!r} cannot name labels: want letters, digits, '_', '-', '.'."
        )
    if info["kind"] not in KINDS or table.schema != label_schema(info["kind"]):
        raise InputError(f"Labels {name}: want the columns of kind {info['kind']!r}.")
    unknown = set(table["split"].to_pylist()) - set(SPLITS)
    if unknown:
        raise InputError(f"Labels {name}: splits are {SPLITS}, got {sorted(unknown)}.")
    _check_targets(name, info["kind"], table)
    (shards_dir / LABELS).mkdir(exist_ok=True)
    path, vouches = label_paths(shards_dir, name)
    write_vouched(path, vouches, table, {**info, "name": name})


def _check_targets(name: str, kind: str, table: pa.Table) -> None:
    """Refuse keys that are none, and pieces whose versions might be parted."""
    if kind == "key" and (unknown := set(table["target"].to_pylist()) - set(KEYS)):
        wanted = f"{KEYS[0]!r} … {KEYS[-1]!r}"
        raise InputError(f"Labels {name}: keys are {wanted}, got {sorted(unknown)}.")
    for column in ("group", "split") if kind == "group" else ():
        pairs = table.group_by(["target", column]).aggregate([])
        parted = len(pairs) - len(pairs["target"].unique())
        if parted:
            raise InputError(
                f"Labels {name}: versions of a piece want one {column}, {parted} pieces have more."
            )


def label_paths(shards_dir: Place, name: str) -> tuple[Place, Place]:
    """Table of a label set, and the file that vouches for it."""
    folder = shards_dir / LABELS
    return folder / f"{name}.parquet", folder / f"{name}.json"


class Labels:
    """A label set of an archive.

    `classes` are those of classes, tags, keys and segments; `names` is what stands for the numbers
    in targets, the same but for groups, whose pieces are too many to be called classes.
    """

    def __init__(self, index: Index, info: dict[str, Any], table: pa.Table) -> None:
        self.info = info
        self.name = str(info["name"])
        self.kind = str(info["kind"])
        self.classes = list(info["classes"])
        row = pc.index_in(table["key"], value_set=index.arrow("key"))
        self._table = table.filter(row.is_valid())
        self._rows = np.asarray(row.drop_null().to_numpy(), np.int64)
        self._splits = self._table["split"].to_numpy()
        self._groups = self._table["group"].to_numpy()
        self.names = self.classes
        if self.kind == "group":
            self.names = sorted(self._table["target"].unique().to_pylist())

    @classmethod
    def open(cls, index: Index, name: str) -> Labels:
        """A label set by name; `InputError` says which there are, or that a file is damaged."""
        names = label_names(index.path)
        if name not in names:
            raise InputError(
                f"No labels {shown(name)!r} in {shown(index.path)}; there are {names}."
            )
        path, vouches = label_paths(index.path, name)
        info = read_sealed(vouches, remedy=to_repair(index.path))
        return cls(index, info, _vouched(index, path, info.get("sha256")))

    def rows(self, split: str) -> np.ndarray:
        """Index rows of a split, ascending, int64 [n]; rows are no targets, so test is open."""
        return np.asarray(self._rows[self._of(split)])

    def groups(self, split: str) -> np.ndarray:
        """Group of each row: tracks of one group are never parted."""
        return np.asarray(self._groups[self._of(split)])

    def targets(self, split: str) -> np.ndarray:
        """Targets in the order of `rows`, an array as `shards.targets` says of each kind."""
        if split == "test":
            raise InputError("Test targets open through test_targets, for a written selection.")
        return self._values(self._of(split))

    def test_targets(self, selection_file: Path) -> tuple[np.ndarray, str]:
        """Test targets, and the SHA-256 of the selection that was fixed before they were read."""
        try:
            written = selection_file.read_bytes()
        except FileNotFoundError:
            raise InputError(f"No selection at {shown(selection_file)}: choose first.") from None
        selection = json.loads(written)
        wanted = {"label": self.name, "label_sha256": self.info["sha256"]}
        found = {key: selection.get(key) for key in wanted}
        if found != wanted or not selection.get("chosen"):
            raise InputError(
                f"{shown(selection_file)} chooses nothing for labels {self.name!r} as they are: "
                f"want {wanted} and 'chosen', got {found}."
            )
        return self._values(self._of("test")), hashlib.sha256(written).hexdigest()

    def folds(self, count: int, *, seed: int = 0) -> list[Labels]:
        """The same targets under `count` other splits, so that every track is held out once.

        In fold i the i-th part of the groups is test, the next part valid, the rest train. Each
        fold is a label set of its own: a selection opens the test targets of one fold only.
        """
        groups, group_of_track = np.unique(self._groups, return_inverse=True)
        if count < 3 or len(groups) < count:
            raise InputError(
                f"Labels {self.name}: {len(groups)} groups do not make {count} folds; "
                "want at least 3 folds and a group for each."
            )
        part = self._deal(group_of_track, count, np.random.default_rng(seed))
        folds = []
        for i in range(count):
            fold = copy.copy(self)
            is_test, is_valid = part == i, part == (i + 1) % count
            fold._splits = np.where(is_test, "test", np.where(is_valid, "valid", "train"))
            name = f"{self.info['sha256']}, fold {i} of {count}, seed {seed}"
            fold.info = {**self.info, "sha256": hashlib.sha256(name.encode()).hexdigest()}
            folds.append(fold)
        return folds

    def _deal(self, group_of_track: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """Part [n] of each track: groups in the order of their targets, dealt like cards.

        So classes, ranges and rare tags spread over all parts (`shards.targets.spread_by`).
        """
        values = spread_by(self.kind, self._values(np.arange(len(self._rows))), len(self.names))
        num_groups = int(group_of_track.max()) + 1
        first = np.full(num_groups, np.inf)
        np.minimum.at(first, group_of_track, values)
        order = np.lexsort((rng.random(num_groups), first))
        rounds = -(-num_groups // count)
        cards = np.concatenate([rng.permutation(count) for _ in range(rounds)])
        part_of_group = np.empty(num_groups, np.int64)
        part_of_group[order] = cards[:num_groups]
        return np.asarray(part_of_group[group_of_track])

    def _of(self, split: str) -> np.ndarray:
        if split not in SPLITS:
            raise InputError(f"Splits are {SPLITS}, got {split!r}.")
        places = np.flatnonzero(self._splits == split)
        return places[np.argsort(self._rows[places], kind="stable")]

    def _values(self, places: np.ndarray) -> np.ndarray:
        cells = self._table["target"].take(pa.array(places)).to_pylist()
        return targets_of(self.kind, cells, self.names)


def _vouched(index: Index, path: Place, sha256: str | None) -> pa.Table:
    """A table with this hash; of a store it is read once, and kept in the index's cache."""
    try:
        if sha256 and isinstance(path, Remote):
            facts = {"bytes": size_of(path), "sha256": sha256}
            return read_parquet(stored(path, facts, index.cache))
        if sha256 and sha256_file(path) == sha256:
            return read_parquet(path)
    except FileNotFoundError:
        pass
    raise InputError(f"{shown(path)} is missing or damaged: run `ingest labels` again.")
