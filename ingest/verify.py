"""verify_archive: which files of an archive are missing or damaged, and what that means.

    size     every file is there with its size; manifest and labels are whole
    sha256   … and every byte is what was written
    decode   … and every track decodes to its samples, tars hold nothing else, facts and seek
             tables fit

Any cut is found at level size already, any changed bit of any file at level sha256.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ingest.build import readers
from ingest.catalog import check_index
from ingest.contents import check_shard
from ingest.faults import DAMAGED, WHOLE, Report, fault_of
from ingest.ledger import MISSING, Entry, Ledger, number_of, read_ledger
from ingest.plan import plan_paths, read_plans
from ingest.shard import RECEIPTS, receipt_name, receipt_of
from shards.errors import InputError
from shards.files import read_parquet, sha256_file, shown
from shards.index import FINGERPRINTED, fingerprint
from shards.names import DATA, SEEK
from shards.place import Place, listed, place, size_of
from shards.progress import Progress

LEVELS = ("size", "sha256", "decode")
EXAMPLES = 3
MIB = 1 << 20


def verify_archive(
    shards: Place | str,
    *,
    level: str = "sha256",
    subset: tuple[int, int] = (1, 1),
    num_workers: int | None = None,
) -> Report:
    """Look at every file of an archive.

    Args:
        shards: Folder of the archive.
        level: size, sha256 or decode; each looks closer than the one before.
        subset: (i, n) reads only the i-th of n parts of the shards; of the others the size counts.
        num_workers: Files that are read at once, by default one a core, of a store some more.
    """
    out = listed(place(shards))
    if level not in LEVELS or not 1 <= subset[0] <= subset[1]:
        got = f"{level} and {subset[0]}/{subset[1]}"
        raise InputError(f"Want a level of {LEVELS} and a part from 1/n to n/n, got {got}.")
    ledger = read_ledger(out)
    if ledger.foreign and level == "decode":
        raise InputError("Tars that were not packed here are verified at level size or sha256.")
    wrong = dict(ledger.broken)
    sized = {name for name, entry in ledger.entries.items() if entry.bytes is not None}
    passed_over = sized if level == "size" else _other_parts(ledger, subset)
    to_read = [name for name in ledger.entries if name not in passed_over]
    decoded: set[int] = set()
    with ThreadPoolExecutor(num_workers or readers(out), "verify") as threads:
        wrong |= _look(out, ledger, to_read, threads)
        if level != "size" and not ledger.foreign:
            decoded = _to_decode(out, ledger, wrong, to_read, everything=level == "decode")
            _decode(out, ledger, decoded, wrong, threads)
    if level == "decode":
        _compare_index(out, ledger, wrong)
    wrong |= dict.fromkeys(_strays(out, ledger), "belongs to no part of the archive")
    faults = [fault_of(out, name, why, ledger) for name, why in sorted(wrong.items())]
    return Report(
        missing=[fault for fault in faults if fault.why == MISSING],
        damaged=[fault for fault in faults if fault.why != MISSING],
        unfinished=_unfinished(out, ledger),
        files=len(ledger.entries) + len(ledger.broken) + (ledger.manifest is not None),
        read=len(to_read),
        decoded_tracks=sum(ledger.entries[ledger.shards[number]].tracks for number in decoded),
    )


def part_of(text: str) -> tuple[int, int]:
    """The part that "3/10" means."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text, re.ASCII)
    if not match:
        raise InputError(f"--subset: want a part such as 3/10, got {shown(text)!r}.")
    return int(match[1]), int(match[2])


def _other_parts(ledger: Ledger, subset: tuple[int, int]) -> set[str]:
    """Shards that are not in the part that is read; every other file is in all parts."""
    part, parts = subset
    return {name for number, name in ledger.shards.items() if number % parts != part - 1}


def _look(
    out: Place, ledger: Ledger, to_read: list[str], threads: ThreadPoolExecutor
) -> dict[str, str]:
    """Name of a file → what is wrong with its size or its bytes."""
    read = set(to_read)
    names = list(ledger.entries)
    wrong: dict[str, str] = {}
    mib = 0.0
    looks = threads.map(
        lambda name: file_fault(out / name, ledger.entries[name], name in read), names
    )
    with Progress("verifying", total=len(names), unit="files") as progress:
        for name, why in zip(names, looks, strict=True):
            mib += (ledger.entries[name].bytes or 0) / MIB * (name in read)
            progress.update(mib=f"{mib:.0f}", faults=len(wrong))
            if why:
                wrong[name] = why
    return wrong


def file_fault(path: Place, entry: Entry, read: bool) -> str:
    """What is wrong with a file, "" if nothing."""
    try:
        if not path.is_file():
            return MISSING
        size = size_of(path)
        if entry.bytes not in (None, size):
            return f"has {size} bytes, want {entry.bytes}"
        if read and sha256_file(path) != entry.sha256:
            return "has other bytes than were written"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return ""


def _to_decode(
    out: Place, ledger: Ledger, wrong: dict[str, str], to_read: list[str], *, everything: bool
) -> set[int]:
    """Shards to look into: all that were read, or the damaged ones, to say which tracks are lost.

    Only with a whole receipt: it says where the tracks lie.
    """
    names = [name for name in to_read if name.startswith(f"{DATA}/")]
    names = [name for name in names if (everything or name in wrong) and wrong.get(name) != MISSING]
    numbers = {number_of(name) for name in names}
    receipts = {number: f"{RECEIPTS}/{receipt_name(number)}" for number in numbers}
    return {n for n in numbers if receipts[n] not in wrong and (out / receipts[n]).is_file()}


def _decode(
    out: Place,
    ledger: Ledger,
    numbers: Iterable[int],
    wrong: dict[str, str],
    threads: ThreadPoolExecutor,
) -> None:
    """Look into shards, and say more of what is wrong with them."""
    numbers = sorted(numbers)
    checks = threads.map(lambda number: check_shard(out, number, receipt_of(out, number)), numbers)
    total = sum(ledger.entries[ledger.shards[number]].tracks for number in numbers)
    with Progress("decoding", total=total, unit="tracks") as progress:
        for number, found in zip(numbers, checks, strict=True):
            tar, seek = ledger.shards[number], f"{SEEK}/{Path(ledger.shards[number]).stem}.npy"
            progress.update(ledger.entries[tar].tracks)
            said = [why for why in (wrong.get(tar), *found.tar[:1]) if why]
            if found.tracks:
                said.append(_tracks(found.tracks, ledger.entries[tar].tracks))
            elif tar in wrong:
                said.append(WHOLE)
            if said:
                wrong[tar] = "; ".join(said)
            if found.seek and seek not in wrong:
                wrong[seek] = found.seek[0]


def _tracks(faults: dict[str, str], total: int) -> str:
    """Damaged tracks of a shard, a few by name."""
    named = [f"{source} {why}" for source, why in list(faults.items())[:EXAMPLES]]
    more = [f"{len(faults) - EXAMPLES} more"] if len(faults) > EXAMPLES else []
    return f"{len(faults)} of its {total} {DAMAGED} ({', '.join(named + more)})"


def _compare_index(out: Place, ledger: Ledger, wrong: dict[str, str]) -> None:
    """Whether the index holds what the receipts say; both have the bytes that were written."""
    manifest = ledger.manifest
    if manifest is None or any(name.startswith((RECEIPTS, "plan", "index")) for name in wrong):
        return
    plans = read_plans(out)[: len(manifest["generations"])]
    name = manifest["generations"][-1]["index"]
    facts = read_parquet(out / name, list(FINGERPRINTED))
    if why := check_index(out, plans, manifest):
        wrong[name] = why
    elif fingerprint(facts) != manifest["fingerprint"]:
        wrong[name] = "has another fingerprint than the manifest says"


def _strays(out: Place, ledger: Ledger) -> list[str]:
    """Files among shards, receipts and seek tables that nobody vouches for; loaders take them."""
    known = {*ledger.entries, *ledger.broken}
    begun = _unfinished(out, ledger)
    end = max(ledger.shards, default=-1) + 1
    strays = []
    for folder in (DATA, SEEK, RECEIPTS):
        there: list[Place] = [*(out / folder).glob("*")]
        for path in sorted(there, key=str):
            name = f"{folder}/{path.name}"
            lost_manifest = ledger.manifest is None and number_of(name) >= 0
            of_begun = begun and number_of(name) >= end
            if not (name in known or path.name.startswith(".tmp-") or lost_manifest or of_begun):
                strays.append(name)
    return strays


def _unfinished(out: Place, ledger: Ledger) -> bool:
    """Whether a generation was begun that the manifest does not know."""
    generations = len(ledger.manifest["generations"]) if ledger.manifest else 0
    return ledger.manifest is not None and plan_paths(out, generations)[1].exists()
