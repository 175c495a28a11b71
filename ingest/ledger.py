"""What the files of an archive must be, by whoever vouches for them.

The manifest vouches for everything but itself and the labels, and seals itself. Where it is lost,
receipts and plans, which are sealed too, vouch for tars, seek tables and plans. A label set's JSON
file is sealed and vouches for its table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.catalog import TABLES
from ingest.plan import PLAN_INFO, plan_paths, read_plan
from ingest.shard import RECEIPTS, receipt_name, receipt_of
from shards.errors import InputError
from shards.files import shown
from shards.labels import label_paths
from shards.manifest import read_manifest
from shards.names import DATA, LABELS, MANIFEST, SEEK, seek_name, shard_name
from shards.place import Place
from shards.sealed import read_sealed

MISSING = "is missing"


@dataclass(frozen=True)
class Entry:
    """What a file must be; its size where that is known, and the tracks in it or told of by it."""

    bytes: int | None
    sha256: str
    tracks: int = 0


@dataclass(frozen=True)
class Ledger:
    """All entries by name, and what is wrong with files that should vouch for themselves."""

    manifest: dict[str, Any] | None
    entries: dict[str, Entry] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def shards(self) -> dict[int, str]:
        """Number → name of every tar."""
        if self.manifest is not None:
            return {n: shard["name"] for n, shard in enumerate(self.manifest["shards"])}
        names = [name for name in self.entries if name.startswith(f"{DATA}/")]
        return {number_of(name): name for name in names}

    @property
    def foreign(self) -> bool:
        """Whether the tars are of others, wherever they lie."""
        return self.manifest is not None and bool(self.manifest.get("foreign"))


def number_of(name: str) -> int:
    """Number of the shard that a tar, a seek table or a receipt belongs to, -1 for other files."""
    number = Path(name).stem.removeprefix("shard-")
    return int(number) if number.isdecimal() and number.isascii() else -1


def read_ledger(out: Place) -> Ledger:
    """The ledger of an archive; `InputError` for a folder that is none."""
    manifest, broken = None, {}
    if not (out / MANIFEST).exists() and ((out / PLAN_INFO).exists() or (out / RECEIPTS).is_dir()):
        broken[MANIFEST] = MISSING
    elif (why := _seal(out / MANIFEST)) and (out / MANIFEST).exists():
        broken[MANIFEST] = why
    else:
        manifest = read_manifest(out)
    ledger = Ledger(manifest, broken=broken)
    if manifest is None:
        _from_receipts(out, ledger)
        _from_plans(out, ledger)
    else:
        _from_manifest(out, manifest, ledger)
    _from_labels(out, ledger)
    return ledger


def _from_manifest(out: Place, manifest: dict[str, Any], ledger: Ledger) -> None:
    tracks = {}
    for number, shard in enumerate(manifest["shards"]):
        tracks[number] = shard["tracks"]
        ledger.entries[shard["name"]] = Entry(shard["bytes"], shard["sha256"], shard["tracks"])
    for name, file in manifest["files"].items():
        own = tracks.get(number_of(name), manifest["tracks"])
        ledger.entries[name] = Entry(file["bytes"], file["sha256"], own)
    for name in manifest["files"] if ledger.foreign else ledger.entries:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise InputError(f"{shown(out / MANIFEST)} names a file outside: {shown(name)}.")


def _from_receipts(out: Place, ledger: Ledger) -> None:
    receipts: list[Place] = [*(out / RECEIPTS).glob("shard-*.json")]
    for path in sorted(receipts, key=str):
        number = number_of(path.name)
        if why := _seal(path):
            ledger.broken[f"{RECEIPTS}/{path.name}"] = why
            continue
        receipt = receipt_of(out, number)
        tracks = len(receipt["rows"])
        tar = Entry(receipt["bytes"], receipt["sha256"], tracks)
        ledger.entries[f"{DATA}/{shard_name(number)}"] = tar
        if "seek" in receipt:
            ledger.entries[f"{SEEK}/{seek_name(number)}"] = Entry(**receipt["seek"], tracks=tracks)


def _from_plans(out: Place, ledger: Ledger) -> None:
    for generation in range(num_generations(out)):
        table, vouches = plan_paths(out, generation)
        if why := _seal(vouches):
            ledger.broken[vouches.name] = why
        else:
            ledger.entries[table.name] = Entry(None, read_sealed(vouches)["sha256"])
            _expect_receipts(out, generation, ledger)


def _expect_receipts(out: Place, generation: int, ledger: Ledger) -> None:
    """Note the receipts of a plan that are missing."""
    try:
        plan = read_plan(out, generation)
    except InputError:  # it will be found damaged
        return
    for number in range(plan.first_shard, plan.end_shard):
        name = f"{RECEIPTS}/{receipt_name(number)}"
        if not (out / name).exists():
            ledger.broken[name] = MISSING


def _from_labels(out: Place, ledger: Ledger) -> None:
    stems = {path.stem for kind in ("json", "parquet") for path in (out / LABELS).glob(f"*.{kind}")}
    for stem in sorted(stems):
        table, vouches = label_paths(out, stem)
        if why := _seal(vouches):
            ledger.broken[f"{LABELS}/{vouches.name}"] = why
        else:
            info = read_sealed(vouches)
            ledger.entries[f"{LABELS}/{table.name}"] = Entry(
                None, info["sha256"], sum(info["counts"].values())
            )


def num_generations(out: Place) -> int:
    """Generations of an archive without its manifest: an index is written when all is packed."""
    index = Path(TABLES["index"])
    numbers = [
        path.stem.removeprefix(f"{index.stem}-")
        for path in out.glob(f"{index.stem}-*{index.suffix}")
    ]
    return 1 + max((int(n) for n in numbers if n.isdecimal() and n.isascii()), default=0)


def _seal(path: Place) -> str:
    """What is wrong with a sealed file, "" if nothing."""
    if not path.is_file():
        return MISSING
    try:
        read_sealed(path)
    except (InputError, OSError) as error:
        return str(error).removeprefix(f"{shown(path)} ").rstrip(".")
    return ""
