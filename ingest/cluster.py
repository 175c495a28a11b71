"""Shards as tasks of a Ray cluster: the same bytes, packed wherever there is a core.

A shard is a pure function of its slice of the plan, and publishes itself, so a task may run
anywhere, twice, or again after its node is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ingest.packing import pack
from ingest.plan import Slice
from ingest.progress import Tally
from shards.place import Place
from shards.ray_backend import run_tasks


@dataclass(frozen=True)
class Task:
    """One shard, for a process somewhere."""

    audio_dir: Place
    out: Place
    number: int
    part: Slice
    num_workers: int

    def __call__(self) -> Tally:
        """Pack the shard and publish it; what it came to."""
        tally = Tally()
        pack(self.audio_dir, self.out, {self.number: self.part}, self.num_workers, tally)
        return tally


def pack_on_cluster(
    audio_dir: Place, out: Place, todo: dict[int, Slice], *, address: str, num_workers: int
) -> Iterator[Tally]:
    """Pack shards on the Ray cluster at `address`; what each came to, as they are done.

    The wholetone package must be installed on the nodes, which see both places by the same names.
    """
    tasks = {
        f"shard {number}": Task(audio_dir, out, number, part, num_workers)
        for number, part in todo.items()
    }
    yield from run_tasks(tasks, address=address, num_cpus=num_workers)
