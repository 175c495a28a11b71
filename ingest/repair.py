"""repair_archive: what is missing or damaged comes back with the bytes it had.

    plan      from the JSON it carries, or from receipts and sources
    shard     from its whole tracks, and the sources of those that are damaged (see salvage.py)
    tables    from plans and receipts, as every build makes them; the manifest last
    labels    from the facts that the table carries, or from the table they came from

Whatever is whole stays untouched. What is restored is compared with what the archive vouches for
before it takes its place, so a repair that is killed has done part of its work and nothing else.
Where bytes cannot be the same (another version of the encoder), the samples must be. A shard with
tracks that nothing can restore stays as it is, unless it was asked to drop them.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path

from ingest.card import write_card
from ingest.catalog import commit
from ingest.faults import Fault, Report
from ingest.folder import last_manifest
from ingest.journal import aside, finish_interrupted, move, put_all
from ingest.labels.again import labels_again
from ingest.ledger import Ledger, num_generations, number_of, read_ledger
from ingest.lock import locked
from ingest.plan import Plan, plan_paths, read_plan
from ingest.replan import plan_again
from ingest.salvage import copied, encoded, make_again, shard_of
from ingest.scan import Rejected
from ingest.shard import RECEIPTS, receipt_name
from ingest.verify import verify_archive
from shards.errors import InputError
from shards.files import publish, sha256_file, shown
from shards.manifest import read_manifest
from shards.names import DATA, LABELS, SEEK, seek_name, shard_name
from shards.place import Place, listed, place
from shards.progress import Progress


@dataclass
class Repaired:
    """What a repair found and did.

    Args:
        report: What was wrong before.
        restored: Files that have their old bytes again, or would have them after a dry run.
        changed: Files that are whole again with other bytes, and why.
        left: What is still wrong.
        lost: Tracks that nothing could restore: what their sources are now.
    """

    report: Report
    restored: list[str] = field(default_factory=list)
    changed: dict[str, str] = field(default_factory=dict)
    left: list[Fault] = field(default_factory=list)
    lost: list[Rejected] = field(default_factory=list)


@dataclass(frozen=True)
class Options:
    """How to repair.

    Args:
        labels: Tables that label sets were made of.
        drop_lost: Take tracks that cannot be restored out of the archive.
        limit: Shards to repair at most; 0 repairs all.
        dry_run: Make everything aside, compare, and change nothing.
    """

    labels: tuple[Place, ...] = ()
    drop_lost: bool = False
    limit: int = 0
    dry_run: bool = False


def repair_archive(
    shards: Place | str, audio_dir: Place | str, options: Options | None = None
) -> Repaired:
    """Repair what `verify_archive` finds, from the archive itself and from its sources."""
    out, audio_dir = place(shards), place(audio_dir)
    if read_ledger(listed(out)).foreign:
        raise InputError(f"{shown(out)} was not packed here: run `ingest index` again.")
    if not audio_dir.is_dir():
        raise InputError(f"{shown(audio_dir)} is not a folder. Want the one that was packed.")
    with locked(out):
        finish_interrupted(out)
        report = verify_archive(out)
        with aside(out) as work:
            repair = Repair(out, audio_dir, work, options or Options(), report)
            repair.run()
            if not (repair.options.dry_run or repair.done.left):
                write_card(out, read_manifest(out))
    return repair.done


class Repair:
    """One repair, step by step; each step goes on where the one before it failed."""

    def __init__(
        self, out: Place, audio_dir: Place, work: Path, options: Options, report: Report
    ) -> None:
        self.out, self.audio_dir, self.work, self.options = out, audio_dir, work, options
        self.ledger: Ledger = read_ledger(listed(out))
        self.bad = {fault.file: fault for fault in report.faults}
        self.done = Repaired(report)
        self.plans: dict[int, Plan] = {}

    def run(self) -> None:
        """Plans first, for everything else is made from them."""
        manifest = self.ledger.manifest
        generations = len(manifest["generations"]) if manifest else num_generations(self.out)
        for generation in range(generations):
            self.plan(generation)
        self.shards()
        self.tables(generations)
        self.labels()
        done = {*self.done.restored, *self.done.changed}
        self.done.left += [fault for name, fault in self.bad.items() if name not in done]

    def plan(self, generation: int) -> None:
        """Bring back both files of a plan."""
        paths = plan_paths(self.out, generation)
        damaged = [path.name for path in paths if path.name in self.bad]
        try:
            if damaged:
                plan_again(self.out, self.audio_dir, self.work, generation, self.ledger)
                for name in damaged:
                    self.put(name)
            where: Place = self.work if damaged and self.options.dry_run else self.out
            self.plans[generation] = read_plan(where, generation)
        except InputError as error:
            for name in damaged:
                self.explain(name, str(error))

    def shards(self) -> None:
        """Bring back tars, seek tables and receipts."""
        damaged: dict[int, list[str]] = defaultdict(list)
        known = {*self.ledger.entries, *self.ledger.broken}
        for name in self.bad:
            if name in known and name.split("/")[0] in (DATA, SEEK, RECEIPTS):
                damaged[number_of(name)].append(name)
        todo = sorted(damaged)[: self.options.limit or None]
        with Progress("repairing", total=len(todo), unit="shards") as progress:
            for number in todo:
                self.shard(number, damaged[number])
                progress.update()

    def shard(self, number: int, damaged: list[str]) -> None:
        """Bring back one shard, if possible byte by byte."""
        plan = next((p for p in self.plans.values() if number in p.slices()), None)
        if plan is None:
            for name in damaged:
                self.explain(name, "its plan is lost")
            return
        shard = shard_of(self.out, plan, number)
        seek = f"{SEEK}/{seek_name(number)}"
        lost: list[Rejected] = []
        for keep in [encoded] if seek in self.bad else [copied, encoded]:
            self.clear()
            lost = make_again(shard, self.audio_dir, self.work, keep)
            if self.is_as_before(number, lost):
                for name in self.files_of(number):
                    if name in damaged or not same_bytes(self.work / name, self.out / name):
                        self.put(name)
                return
            if lost:  # then the other way to keep whole tracks changes nothing
                break
        self.done.lost += lost
        if lost and not self.options.drop_lost:
            for name in damaged:
                self.explain(name, f"{len(lost)} of its tracks cannot be restored")
            return
        why = f"{len(lost)} tracks were dropped" if lost else "the same samples, encoded anew"
        self.put_all(self.files_of(number), why)

    def files_of(self, number: int) -> list[str]:
        """Files that were made for a shard, its receipt last."""
        names = [f"{DATA}/{shard_name(number)}", f"{SEEK}/{seek_name(number)}"]
        made = [name for name in names if (self.work / name).exists()]
        return [*made, f"{RECEIPTS}/{receipt_name(number)}"]

    def is_as_before(self, number: int, lost: list[Rejected]) -> bool:
        """Whether a shard that was made again is what the archive vouches for.

        Where nothing vouches for it, it must at least have lost no track.
        """
        names = self.files_of(number)
        entries = {name: self.ledger.entries[name] for name in names if name in self.ledger.entries}
        same = all(sha256_file(self.work / n) == entry.sha256 for n, entry in entries.items())
        return same and (bool(entries) or not lost)

    def clear(self) -> None:
        """An empty folder to make a shard in."""
        shutil.rmtree(self.work)
        for folder in (DATA, SEEK, RECEIPTS):
            (self.work / folder).mkdir(parents=True)

    def tables(self, generations: int) -> None:
        """Bring back index, rejected inputs, fingerprints and manifest."""
        tables = [name for name in self.bad if "/" not in name and not name.startswith("plan")]
        if not (tables or self.done.changed):
            return
        if self.options.dry_run:
            self.done.restored += tables
            return
        before = last_manifest(self.out)
        try:
            plans = [self.plans[generation] for generation in range(generations)]
            after = commit(self.out, plans, before)
        except (InputError, KeyError):
            for name in tables:
                self.explain(name, "what it is made from is damaged itself")
            return
        for name in tables:
            known = before["files"] if before else {}
            self.restored(name, same=known.get(name) in (None, after["files"].get(name)))

    def labels(self) -> None:
        """Bring back label sets."""
        bad = {name for name in self.bad if name.startswith(f"{LABELS}/")}
        for stem in sorted({Path(name).stem for name in bad}):
            name, data, why = labels_again(self.out, stem, bad, self.options.labels)
            if data is None:
                self.explain(name, why)
            else:
                self.write(name, data)

    def write(self, name: str, data: bytes) -> None:
        """Publish a file that is proved to be as it was."""
        if not self.options.dry_run:
            publish(self.out / name, data)
        self.done.restored.append(name)

    def put(self, name: str) -> None:
        """Let a file that was made again take its place."""
        if not self.options.dry_run:
            move(self.work / name, self.out / name)
        self.restored(name, same=True)

    def put_all(self, names: list[str], why: str) -> None:
        """Let all files of a shard take their places: all or, until the next repair, none."""
        if not self.options.dry_run:
            put_all(self.work, names, self.out)
        self.done.changed |= dict.fromkeys(names, why)

    def restored(self, name: str, *, same: bool) -> None:
        """Note that a file is whole again."""
        if same:
            self.done.restored.append(name)
        else:
            self.done.changed[name] = "the same rows, written by other versions"

    def explain(self, name: str, why: str) -> None:
        """Say of a file why it stays damaged."""
        self.bad[name] = replace(self.bad[name], why=f"{self.bad[name].why}; {why}")


def same_bytes(a: Place, b: Place) -> bool:
    """Whether two files are there and equal."""
    return a.is_file() and b.is_file() and sha256_file(a) == sha256_file(b)
