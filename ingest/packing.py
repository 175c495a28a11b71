"""Sources to shards, on this machine: decoders in processes of their own, one writer."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from ingest.inputs import inputs_of
from ingest.plan import Slice
from ingest.pool import Outcome, Pool
from ingest.progress import Tally
from ingest.scan import Rejected
from ingest.shard import write_shard
from shards.names import DATA
from shards.place import Place
from shards.process import Worker


def pack(
    audio_dir: Place,
    out: Place,
    todo: dict[int, Slice],
    num_workers: int,
    tally: Tally,
    *,
    ahead: Sequence[Worker] = (),
) -> None:
    """Pack and publish shards one after another; decoders work ahead, across shards."""
    settings = next(iter(todo.values())).settings
    scratch_dir = out / DATA if isinstance(out, Path) else Path(tempfile.gettempdir())
    num_workers = min(num_workers, sum(len(part.sources) for part in todo.values()))
    inputs = inputs_of(audio_dir)
    with Pool(inputs, scratch_dir, settings, num_workers=num_workers, ahead=ahead) as pool:
        sources = itertools.chain.from_iterable(part.sources for part in todo.values())
        outcomes = counted(pool.decode(sources), tally)
        for number, part in todo.items():
            of_shard = itertools.islice(outcomes, len(part.sources))
            write_shard(out, number, part, of_shard)


def counted(outcomes: Iterator[Outcome], tally: Tally) -> Iterator[Outcome]:
    """The same outcomes, each told to the tally."""
    for outcome in outcomes:
        if isinstance(outcome, Rejected):
            tally.refused()
        else:
            tally.packed(outcome.seconds)
        yield outcome
