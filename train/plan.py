"""From the flags of a run to its plan."""

from __future__ import annotations

from collections.abc import Sequence

from shards.cache import node_cache
from shards.index import Index
from shards.order import window_shards_for
from shards.plan import TrainPlan
from shards.select import select
from shards.views.view import View
from train.config import Run


def plan_of(run: Run, view: View, *, where: Sequence[str] = ()) -> TrainPlan:
    """What stands at each position of a run, under its conditions and these."""
    cache = node_cache(run.cache, run.cache_gib, windowed=run.order == "windowed")
    indexes = [Index.open(path, cache=cache) for path in run.index]
    tracks = select(indexes, view, where=(*run.where, *where), duplicates=run.duplicates)
    window_shards = run.window_shards
    if run.window_gib:
        window_shards = window_shards_for(tracks.shard_bytes, run.window_gib * 2**30)
    return TrainPlan(
        tracks,
        view,
        seed=run.seed,
        order=run.order,
        window_shards=window_shards,
        crops_per_visit=run.crops_per_visit,
        batch_size=run.batch_size,
        weights=run.weights,
    )
