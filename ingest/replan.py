"""A lost plan made again: the JSON from the table, the table from receipts and sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ingest.build import scan_place
from ingest.ledger import Ledger, number_of
from ingest.plan import Plan, plan_paths, write_plan
from ingest.scan import Rejected
from ingest.settings import Settings
from ingest.shard import RECEIPTS, receipt_of
from shards.errors import InputError
from shards.files import publish, sha256_file, shown
from shards.place import Place
from shards.sealed import carried_facts, comes_again, read_sealed, vouching_bytes


def plan_again(out: Place, audio_dir: Place, work: Path, generation: int, ledger: Ledger) -> None:
    """Write both files of a plan below `work`, as they were, or say why that cannot be."""
    table, vouches = plan_paths(out, generation)
    made = plan_paths(work, generation)
    facts = _facts_of(vouches) or carried_facts(table)
    if facts is None:
        raise InputError("neither of its two files can be read")
    entry = ledger.entries.get(table.name)
    if table.exists() and (comes_again(table) or (entry and sha256_file(table) == entry.sha256)):
        publish(made[0], table.read_bytes())
        publish(made[1], vouching_bytes(table, facts))
    else:
        write_plan(work, _from_receipts(out, audio_dir, generation, facts))
    for path in made:
        entry = ledger.entries.get(path.name)
        if entry and sha256_file(path) != entry.sha256:
            raise InputError("the sources are not the ones that were planned")


def _facts_of(vouches: Place) -> dict[str, Any] | None:
    try:
        facts = read_sealed(vouches)
    except InputError:
        return None
    del facts["sha256"]
    return facts


def _from_receipts(out: Place, audio_dir: Place, generation: int, facts: dict[str, Any]) -> Plan:
    """The plan whose shards hold what the receipts say, of the sources as they are."""
    scan = scan_place(audio_dir, without=out, known={})
    found = {source.key: source for source in scan.sources}
    sources, shards = [], []
    for number in _numbers(out, generation, facts["first_shard"]):
        receipt = receipt_of(out, number)
        for key in sorted(row["key"] for row in receipt["rows"] + receipt["rejected"]):
            if key not in found:
                raise InputError(f"sources are missing below {shown(audio_dir)}")
            sources.append(found[key])
            shards.append(number)
    return Plan(
        generation=generation,
        first_shard=facts["first_shard"],
        settings=Settings(**facts["settings"]),
        created_by=facts["created_by"],
        sources=sources,
        shards=shards,
        rejected=[Rejected(**row) for row in facts["rejected"]],
        others=facts["others"],
    )


def _numbers(out: Place, generation: int, first: int) -> list[int]:
    """Shards of a generation: from its first to the first of the next."""
    after = carried_facts(plan_paths(out, generation + 1)[0])
    end = after["first_shard"] if after else None
    numbers = sorted(number_of(path.name) for path in (out / RECEIPTS).glob("shard-*.json"))
    return [number for number in numbers if first <= number and (end is None or number < end)]
