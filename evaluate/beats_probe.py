"""The judge of beats: heads on tokens, a decoder, the best of both on valid; then test opens.

Order of events: heads see train, and stop by valid; head and decoder are chosen on valid; beats of
the test tracks are found; the choice is written; only then does `Labels.test_targets` open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evaluate.beats import DECODERS
from evaluate.beats.scores import BEAT_SCORES, beat_results
from evaluate.frame_heads import FrameConfiguration, activation
from evaluate.frame_probe import FrameSchedule, TrainedHead, Truth, frame_grid, train_frame_heads
from evaluate.grouped_cv import OutOfFold, out_of_fold
from evaluate.metrics import METRICS
from evaluate.probe import asked_for, selection_path
from evaluate.protocols.protocol import Terms
from evaluate.results import plain
from evaluate.token_tracks import TokenTracks
from evaluate.verdict import Other, Verdict
from shards.files import write_json
from shards.labels import SPLITS, Labels
from shards.targets import Events

BEAT_METRICS = tuple(BEAT_SCORES)
"""Names in METRICS; the first is primary."""

PRIMARY = BEAT_METRICS[0]

PAPER = "Ma et al. (2023), music2vec and musicHuBERT, beat tracking"

DEVIATIONS = (
    "Tokens are standardised by train, in every layer.",
    "Training stops by F at 70 ms of picked peaks on valid and by the loss; the paper is silent.",
    "Layer, weights and decoder are chosen on valid; the paper decodes with the DBN alone.",
    "F is the mean over tracks at 70 ms; the paper's text says 20 ms, its code 70 ms and pooled.",
)


@dataclass(frozen=True)
class Trial:
    """A head and a decoder, and how they did on valid.

    Args:
        head: Number of the head.
        decoder: Name in DECODERS.
        scores: Metric → score on valid.
    """

    head: int
    decoder: str
    scores: dict[str, float]


def judge_beats(
    labels: Labels,
    tracks: TokenTracks,
    *,
    encoder: str,
    folder: Path,
    configurations: Sequence[FrameConfiguration] = (),
    schedule: FrameSchedule | None = None,
    terms: Terms | None = None,
) -> Verdict:
    """Train, choose, write the choice to `folder`, find the test tracks' beats, then open test.

    Args:
        labels: Of kind beats.
        tracks: Tokens of all its tracks.
        encoder: Id of the contender.
        folder: Of selections.
        configurations: Heads to train; `frame_grid` of the encoder's layers if empty.
        schedule: How long to train.
        terms: Seed and device.
    """
    terms = terms or Terms()
    rows = {split: labels.rows(split) for split in SPLITS}
    train, valid = (_truth(labels, split) for split in ("train", "valid"))
    grid = configurations or frame_grid(_num_layers(tracks, rows))
    heads = train_frame_heads(grid, tracks, train, valid, schedule=schedule, terms=terms)
    trials = try_decoders(heads, tracks, valid)
    fixed = choice_and_sweep(trials, heads)
    found = find_beats(fixed, heads, tracks, rows["test"])
    path = selection_path(folder, labels.name, encoder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, plain(selection(labels, tracks, encoder, heads, trials, fixed, terms.seed)))
    events, sha256 = labels.test_targets(path)
    judged = tracks.known(rows["test"])
    truth = [one.start_s for one in events[judged]]
    results = [beat_results(truth, one) for one in found]
    return Verdict(
        label=labels.name,
        encoder=encoder,
        kind=labels.kind,
        metrics=BEAT_METRICS,
        rows=rows["test"][judged],
        groups=labels.groups("test")[judged],
        outputs=results[0],
        targets=events[judged],
        counts={split: int(tracks.known(some).sum()) for split, some in rows.items()},
        embeddings=tracks.id,
        chosen=facts(fixed[0], heads),
        valid_score=fixed[0].scores[PRIMARY],
        grid_size=len(trials),
        selection_sha256=sha256,
        constant=scores(beat_results(truth, metronome(train, truth)))[PRIMARY],
        others=others(fixed, heads, results),
    )


def cross_validate_beats(
    labels: Labels,
    tracks: TokenTracks,
    *,
    encoder: str,
    folder: Path,
    num_folds: int = 5,
    configurations: Sequence[FrameConfiguration] = (),
    schedule: FrameSchedule | None = None,
    terms: Terms | None = None,
) -> OutOfFold:
    """Beats of every track, found by a head that saw no track of its group; see `grouped_cv`."""
    terms = terms or Terms()
    verdicts = [
        judge_beats(
            fold,
            tracks,
            encoder=f"{encoder}-fold{i}",
            folder=folder,
            configurations=configurations,
            schedule=schedule,
            terms=terms,
        )
        for i, fold in enumerate(labels.folds(num_folds, seed=terms.seed))
    ]
    return out_of_fold(labels, verdicts)


def objection(train: Sequence[Events], valid: Sequence[Events]) -> str:
    """Why these beats can teach nothing, "" if they can."""
    empty = [
        name
        for name, some in (("train", train), ("valid", valid))
        if not any(len(one) > 1 for one in some)
    ]
    return f"no two beats in a track of {' and '.join(empty)}" if empty else ""


def _num_layers(tracks: TokenTracks, rows: dict[str, np.ndarray]) -> int:
    """Layers that tokens have; `InputError` if there is a split of which nothing can be read."""
    return int(min(tracks.first(some).tokens.shape[0] for some in rows.values()))


def _truth(labels: Labels, split: str) -> Truth:
    events = zip(labels.rows(split).tolist(), labels.targets(split), strict=True)
    return {row: one.start_s for row, one in events}


def try_decoders(heads: Sequence[TrainedHead], tracks: TokenTracks, valid: Truth) -> list[Trial]:
    """Every head with every decoder on valid."""
    blank = [Trial(i, decoder, {}) for i in range(len(heads)) for decoder in DECODERS]
    rows = np.array(sorted(valid))
    found = find_beats(blank, heads, tracks, rows)
    truth = [valid[row] for row in rows[tracks.known(rows)].tolist()]
    return [
        Trial(trial.head, trial.decoder, scores(beat_results(truth, times_s)))
        for trial, times_s in zip(blank, found, strict=True)
    ]


def find_beats(
    trials: Sequence[Trial], heads: Sequence[TrainedHead], tracks: TokenTracks, rows: np.ndarray
) -> list[list[np.ndarray]]:
    """Beats in seconds that each trial finds in each readable track of rows [n]; one pass."""
    found: list[list[np.ndarray]] = [[] for _ in trials]
    for track in tracks.of(rows):
        heard = {
            head: activation(heads[head].network.logits(track), track.mask)
            for head in {trial.head for trial in trials}
        }
        for trial, mine in zip(trials, found, strict=True):
            mine.append(DECODERS[trial.decoder](heard[trial.head], rate_hz=tracks.rate_hz))
    return found


def choice_and_sweep(trials: Sequence[Trial], heads: Sequence[TrainedHead]) -> list[Trial]:
    """The best on valid, then the best of each other decoder and of each other configuration."""

    def best(some: Iterable[Trial]) -> Trial:
        return max(some, key=lambda trial: (trial.scores[PRIMARY], -heads[trial.head].loss))

    def configuration(trial: Trial) -> FrameConfiguration:
        return heads[trial.head].configuration

    chosen = best(trials)
    mine = [trial for trial in trials if configuration(trial) == configuration(chosen)]
    beside = [
        best(trial for trial in mine if trial.decoder == decoder)
        for decoder in DECODERS
        if decoder != chosen.decoder
    ]
    for other in dict.fromkeys(head.configuration for head in heads):
        if other != configuration(chosen):
            beside.append(best(trial for trial in trials if configuration(trial) == other))
    return [chosen, *beside]


def scores(results: np.ndarray) -> dict[str, float]:
    """All metrics of per-track results [n, 9]."""
    return {name: METRICS[name].score(results, results) for name in BEAT_METRICS}


def facts(trial: Trial, heads: Sequence[TrainedHead]) -> dict[str, Any]:
    """A trial in plain values."""
    head = heads[trial.head]
    return {
        "title": f"{head.configuration.title}, {trial.decoder}",
        **asdict(head.configuration),
        "decoder": trial.decoder,
        "epochs": head.epochs,
        "valid_score": trial.scores[PRIMARY],
        "head_sha256": head.network.sha256,
    }


def others(
    fixed: Sequence[Trial], heads: Sequence[TrainedHead], results: Sequence[np.ndarray]
) -> tuple[Other, ...]:
    """What was fixed beside the choice, with its scores on test."""
    return tuple(
        Other(
            title=str(facts(trial, heads)["title"]),
            series=_series(trial, fixed[0], heads),
            facts=facts(trial, heads),
            valid_score=trial.scores[PRIMARY],
            scores=scores(found),
        )
        for trial, found in zip(fixed[1:], results[1:], strict=True)
    )


def _series(trial: Trial, chosen: Trial, heads: Sequence[TrainedHead]) -> str:
    alike = heads[trial.head].configuration == heads[chosen.head].configuration
    return "decoder" if alike else "layer"


def selection(
    labels: Labels,
    tracks: TokenTracks,
    encoder: str,
    heads: Sequence[TrainedHead],
    trials: Sequence[Trial],
    fixed: Sequence[Trial],
    seed: int,
) -> dict[str, Any]:
    """What is fixed before test targets open; its SHA-256 stands beside the score."""
    return {
        **asked_for(labels, encoder, tracks.id),
        "protocol": {"name": "beats", "paper": PAPER, "deviations": DEVIATIONS},
        "selects_on_test": False,
        "metric": PRIMARY,
        "seed": seed,
        "chosen": facts(fixed[0], heads),
        "beside": [facts(trial, heads) for trial in fixed[1:]],
        "grid": [{**facts(trial, heads), "valid_scores": trial.scores} for trial in trials],
    }


def metronome(train: Truth, truth: Sequence[np.ndarray]) -> list[np.ndarray]:
    """What one would answer without listening: the usual tempo of train, for as long as needed."""
    period_s = float(np.median(np.concatenate([np.diff(times_s) for times_s in train.values()])))
    return [np.arange(0, times_s.max(initial=0) + period_s / 2, period_s) for times_s in truth]
