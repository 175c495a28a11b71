"""Which tracks of an archive a view can use, and for the others why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow.compute as pc

from shards.files import shown
from shards.filters import Condition, holds
from shards.index import Index
from shards.views.view import View


def verdicts(
    index: Index, view: View, conditions: Sequence[Condition] = (), *, duplicates: bool = False
) -> tuple[np.ndarray, list[str]]:
    """For each track 0 if it may be used, else the number of the reason; the reasons, from 1 on."""
    need = view.min_frames(index.sample_rate)
    rules = [] if duplicates else [("duplicate", _is_original(index))]
    rules += [(f"shorter than {need} samples", index.arrow("frames").to_numpy() >= need)]
    rules += [(f"not {condition.text}", holds(condition, index)) for condition in conditions]
    verdict = np.zeros(len(index), np.uint8 if len(rules) < 256 else np.int64)
    for number, (_, met) in reversed(list(enumerate(rules, 1))):  # the first reason counts
        verdict[~met] = number
    return verdict, ["", *(reason for reason, _ in rules)]


def nothing_left(indexes: Sequence[Index], view: View, left_out: Mapping[str, int]) -> str:
    """What to say, and what to do, when there is no such track."""
    rate = indexes[0].sample_rate
    longest_s = max(index.column("duration_s").max(initial=0.0) for index in indexes)
    counts = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
    return (
        f"No track of {', '.join(shown(index.path) for index in indexes)} can be used: this view "
        f"needs {view.min_frames(rate) / rate:.1f} s, the longest has {longest_s:.1f} s. Left out: "
        f"{counts or 'none'}. Take longer tracks, or a shorter view (--view.clip-s, "
        "--view.min-gap-s), or fewer conditions (--where)."
    )


def _is_original(index: Index) -> np.ndarray:
    return np.asarray(pc.binary_length(index.arrow("duplicate_of")).to_numpy() == 0)
