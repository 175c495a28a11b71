"""wholetone: `shards.stream`, inline or by Ray."""

from __future__ import annotations

from scripts.bench.streams.common import sums
from scripts.bench.streams.corpus import VIEWS
from shards.index import Index
from shards.plan import TrainPlan
from shards.stream import stream


def batches(given):
    """Row, start and sum of each row of the batches."""
    index = Index.open(given.data / given.payload)
    crops = {"crops_per_visit": given.crops, "batch_size": given.batch_size}
    plan = TrainPlan(index, VIEWS[given.view], **(crops if given.crops > 1 else {}))
    with stream(
        plan, batch_size=given.batch_size, backend=given.backend, num_workers=given.workers
    ) as ours:
        for batch in ours:
            yield batch.row.copy(), batch.start.copy(), sums(batch.clips)
