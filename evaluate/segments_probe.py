"""The judge of segments: the class of the event that covers most of a window, for every window.

To a protocol each window is a track of its own; splits are by track all the same, and scores count
by track. Windows without an event teach nothing and are not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluate.embeddings import Embeddings
from evaluate.metrics import METRICS
from evaluate.probe import embeddings_id, known_rows, selection, selection_path
from evaluate.protocols.linear import Linear
from evaluate.protocols.protocol import Decision, Protocol, Terms
from evaluate.results import plain
from evaluate.samples import Samples
from evaluate.segments_scores import SEGMENT_SCORES, segment_results
from evaluate.tasks import TASKS
from evaluate.verdict import Other, Verdict
from shards.errors import InputError
from shards.files import write_json
from shards.labels import SPLITS, Labels
from shards.targets import Events

SEGMENT_METRICS = tuple(SEGMENT_SCORES)
"""Names in METRICS; the first is primary."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The windows of the tracks of a split.

    Args:
        vectors: Feature's name → float32 [m, …].
        rows: Index row of each window's track [m].
        start_s: Where each begins [m].
    """

    vectors: dict[str, np.ndarray]
    rows: np.ndarray
    start_s: np.ndarray

    @classmethod
    def of(cls, features: Mapping[str, Embeddings], rows: np.ndarray, hop_s: float) -> Windows:
        """All windows that could be read of known rows [n], ascending."""
        vectors = {name: one.of_windows(rows) for name, one in features.items()}
        if not all(np.isfinite(x).all() for x, _ in vectors.values()):
            raise InputError(
                "The encoder gives NaN or infinity for windows: its training diverged. Train with "
                "a lower --lr."
            )
        first = next(iter(features.values()))
        assert first.window is not None
        number = first.window[np.isin(first.rows, rows) & (first.windows > 0)]
        _, owner = next(iter(vectors.values()))
        return cls({name: x for name, (x, _) in vectors.items()}, rows[owner], number * hop_s)

    def classes(self, rows: np.ndarray, events: np.ndarray, window_s: float) -> list[np.ndarray]:
        """Classes of the windows of each of the tracks `rows` [n] with `Events` [n]; -1 is none."""
        starts = self.by_track(rows, self.start_s)
        pairs = zip(events, starts, strict=True)
        return [segment_classes(one, start_s, window_s) for one, start_s in pairs]

    def by_track(self, rows: np.ndarray, values: np.ndarray) -> list[np.ndarray]:
        """Values [m] of all windows as those of each of the tracks `rows` [n]."""
        return [values[self.rows == row] for row in rows]

    def samples(self, classes: np.ndarray | None) -> Samples:
        """Each window as a track of its own, with its class [m]; those of none are left out."""
        kept = np.arange(len(self.rows)) if classes is None else np.flatnonzero(classes >= 0)
        vectors = {name: x[kept] for name, x in self.vectors.items()}
        targets = None if classes is None else classes[kept]
        return Samples(vectors, np.arange(len(kept)), self.rows[kept], targets)


def judge_segments(
    labels: Labels,
    features: Mapping[str, Embeddings],
    *,
    window_s: float,
    hop_s: float,
    encoder: str,
    folder: Path,
    protocol: Protocol | None = None,
    terms: Terms | None = None,
) -> Verdict:
    """Choose, write the choice to `folder`, predict the windows of test, then open its targets.

    Args:
        labels: Of kind segments.
        features: Name of a feature → vectors of windows, all that the protocol asked for.
        window_s: Length of these windows.
        hop_s: From start to start.
        encoder: Id of the contender.
        folder: Of selections.
        protocol: `linear` if None; one that selects on test is refused.
        terms: Seed and device.
    """
    protocol, terms = protocol or Linear(), terms or Terms()
    if protocol.selects_on_test:
        raise InputError(f"Protocol {protocol.name} selects on test and judges no segments.")
    rows = known_rows(labels, features)
    windows = {split: Windows.of(features, rows[split], hop_s) for split in SPLITS}
    train, valid = (
        windows[s].samples(_true_classes(labels, windows[s], rows[s], s, window_s))
        for s in ("train", "valid")
    )
    task = TASKS["class"](train.known_targets, len(labels.classes))
    decision = protocol.decide(task, train, valid, terms)
    test = windows["test"].samples(None)
    found = [candidate.predict(test).argmax(axis=1) for candidate in decision.candidates]
    found.append(task.constant(len(test.rows)).argmax(axis=1))
    path = selection_path(folder, labels.name, encoder)
    folder.mkdir(parents=True, exist_ok=True)
    fixed = selection(labels, features, encoder, task, protocol, decision, terms.seed)
    write_json(path, plain(fixed))
    events, sha256 = labels.test_targets(path)
    judged = np.isin(labels.rows("test"), rows["test"])
    truth = windows["test"].classes(rows["test"], events[judged], window_s)
    results = [segment_results(truth, windows["test"].by_track(rows["test"], x)) for x in found]
    return Verdict(
        label=labels.name,
        encoder=encoder,
        kind=labels.kind,
        metrics=SEGMENT_METRICS,
        rows=rows["test"],
        groups=labels.groups("test")[judged],
        outputs=results[0],
        targets=events[judged],
        counts={split: len(some) for split, some in rows.items()},
        embeddings=embeddings_id(features),
        chosen=decision.chosen.facts,
        valid_score=decision.chosen.valid_score,
        grid_size=len(decision.trials),
        selection_sha256=sha256,
        constant=scores(results[-1])[SEGMENT_METRICS[0]],
        others=_others(decision, results[1:-1]),
    )


def _others(decision: Decision, results: Sequence[np.ndarray]) -> tuple[Other, ...]:
    """Scores of what was fixed beside the choice."""
    return tuple(
        Other(one.title, one.series, one.facts, one.candidate.valid_score, scores(found))
        for one, found in zip(decision.beside, results, strict=True)
    )


def scores(results: np.ndarray) -> dict[str, float]:
    """All metrics of per-track results [n, 2]."""
    return {name: METRICS[name].score(results, results) for name in SEGMENT_METRICS}


def _true_classes(
    labels: Labels, windows: Windows, rows: np.ndarray, split: str, window_s: float
) -> np.ndarray:
    """Classes [m] of the windows of a split that is open."""
    events = labels.targets(split)[np.isin(labels.rows(split), rows)]
    classes = np.concatenate([np.empty(0, np.int64), *windows.classes(rows, events, window_s)])
    if not (classes >= 0).any():
        raise InputError(
            f"Labels {labels.name!r}: want windows of {window_s:g} s in {split} that lie in a "
            f"segment, none of {len(classes)} does."
        )
    return classes


def segment_classes(events: Events, start_s: np.ndarray, window_s: float) -> np.ndarray:
    """Class [m] of the event that covers most of each window, the earlier of two; -1 without one.

    Args:
        events: Of a track.
        start_s: Where its windows begin, [m].
        window_s: Length of all of them.
    """
    if not len(events):
        return np.full(len(start_s), -1)
    begin = np.maximum(start_s[:, None], events.start_s)
    end = np.minimum(start_s[:, None] + window_s, events.end_s)
    covered = (end - begin).clip(0)
    longest = covered.argmax(axis=1)
    return np.where(covered.max(axis=1) > 0, events.value[longest], -1)


def objection(train: Sequence[Events], valid: Sequence[Events]) -> str:
    """Why these segments can teach nothing, "" if they can."""
    classes = len(np.unique(np.concatenate([one.value for one in train])))
    if classes < 2:
        return f"want segments of at least 2 classes in train, got {classes}"
    return "" if any(len(one) for one in valid) else "no segment in valid"
