"""Heads on frames, trained together: every pass over the tokens serves all configurations.

A pass takes every track of train once, by ascending row, which is no order of the music's, and of
each as many random crops as fill it; then all heads look at whole tracks of valid.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from evaluate.beats.peaks import pick_peaks
from evaluate.beats.scores import COLUMNS, beat_results
from evaluate.frame_heads import FrameConfiguration, FrameHead, TokenScaler, activation
from evaluate.protocols.protocol import Terms
from evaluate.token_tracks import TokenTrack, TokenTracks

Truth = dict[int, np.ndarray]
"""Index row → its beats in seconds, ascending."""

NEIGHBOURS = 1
"""Frames to either side of a beat that are learnt as beats too (Ma et al., 2023, sec. 3.2)."""

SHUFFLED_BATCHES = 4
"""Batches at least whose crops are mixed: one alone might hold crops of a single long track."""


@dataclass(frozen=True)
class FrameSchedule:
    """How long to train.

    Args:
        max_epochs: Passes of the longest training.
        patience: Passes in a row without a gain on valid until a configuration stops.
        min_gain: What counts as a gain: so much more of F, or so much less, in part, of the loss.
        batch_size: Crops a step.
        crop_s: Length of a crop in seconds.
    """

    max_epochs: int = 100
    patience: int = 5
    min_gain: float = 0.01
    batch_size: int = 8
    crop_s: float = 10.0


@dataclass(frozen=True, eq=False)
class TrainedHead:
    """The head of a configuration as it was when it did best on valid, by its peaks or its loss.

    Whose peaks are right early need not be sure of anything yet, and a decoder that weighs
    probabilities wants it to be.

    Args:
        network: The head.
        f70: Mean F-measure of its peaks on valid, at 70 ms.
        loss: On valid.
        epochs: Passes until then.
    """

    network: FrameHead
    f70: float
    loss: float
    epochs: int

    @property
    def configuration(self) -> FrameConfiguration:
        """Of its network."""
        return self.network.configuration


def frame_grid(num_layers: int, heads: Sequence[str] = ("mlp",)) -> tuple[FrameConfiguration, ...]:
    """The sum of all layers, and each layer alone (the sweep of Ma et al., 2023)."""
    layers = (None, *range(num_layers)) if num_layers > 1 else (0,)
    return tuple(FrameConfiguration(head, layer) for head in heads for layer in layers)


def train_frame_heads(
    configurations: Sequence[FrameConfiguration],
    tracks: TokenTracks,
    train: Truth,
    valid: Truth,
    *,
    schedule: FrameSchedule | None = None,
    terms: Terms | None = None,
) -> list[TrainedHead]:
    """Heads of each configuration, each stopped on its own: alone they would come out the same.

    Two of each, kept by F-measure and by loss; one where both were best after the same pass.
    """
    schedule, terms = schedule or FrameSchedule(), terms or Terms()
    rows, luck = np.array(sorted(train)), np.random.default_rng(terms.seed)
    scaler = TokenScaler.fit(tracks.of(rows))
    runs = [_Run(configuration, scaler, terms) for configuration in configurations]
    alive = runs
    for epoch in range(1, schedule.max_epochs + 1):
        for batch in batches(tracks.of(rows), train, tracks.rate_hz, schedule, luck):
            for run in alive:
                run.descend(*batch)
        _look(alive, tracks, valid, epoch, schedule.min_gain)
        alive = [run for run in alive if epoch - run.marked < schedule.patience]
        if not alive:
            break
    return [head for run in runs for head in run.trained()]


def batches(
    visited: Iterable[TokenTrack],
    truth: Truth,
    rate_hz: float,
    schedule: FrameSchedule,
    luck: np.random.Generator,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Random crops of tracks: tokens [B, K, n, D], labels [B, n], which frames count [B, n]."""
    length = max(1, round(schedule.crop_s * rate_hz))
    held: list[Crop] = []
    for track in visited:
        held += _crops(track, truth[track.row], length, rate_hz, luck)
        if len(held) >= SHUFFLED_BATCHES * schedule.batch_size:
            yield from _dealt(held, schedule.batch_size, luck)
            held = []
    yield from _dealt(held, schedule.batch_size, luck)


Crop = tuple[np.ndarray, np.ndarray, np.ndarray]


def _crops(
    track: TokenTrack, times_s: np.ndarray, length: int, rate_hz: float, luck: np.random.Generator
) -> list[Crop]:
    """As many random crops as fill the track; a shorter track is filled up with frames of no count.

    A crop is tokens [K, n, D], labels [n] and which frames count [n].
    """
    num_frames = len(track.mask)
    labels = beat_frames(times_s, num_frames, rate_hz)
    short = max(0, length - num_frames)
    if short:
        tokens = np.pad(track.tokens, ((0, 0), (0, short), (0, 0)))
        return [(tokens, np.pad(labels, (0, short)), np.pad(track.mask, (0, short)))]
    starts = luck.integers(num_frames - length + 1, size=round(num_frames / length))
    spans = [slice(start, start + length) for start in starts]
    return [(track.tokens[:, span], labels[span], track.mask[span]) for span in spans]


def _dealt(
    crops: list[Crop], size: int, luck: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    order = luck.permutation(len(crops))
    for first in range(0, len(crops), size):
        some = [crops[i] for i in order[first : first + size]]
        tokens, labels, mask = (
            torch.from_numpy(np.stack(part)) for part in zip(*some, strict=True)
        )
        yield tokens, labels, mask


def beat_frames(
    times_s: np.ndarray, num_frames: int, rate_hz: float, *, neighbours: int = NEIGHBOURS
) -> np.ndarray:
    """Labels float32 [N]: 1 in the frame nearest to a beat and in its neighbours."""
    frames = np.round(times_s * rate_hz).astype(np.int64)
    frames = (frames[:, None] + np.arange(-neighbours, neighbours + 1)).ravel()
    labels = np.zeros(num_frames, np.float32)
    labels[frames[(frames >= 0) & (frames < num_frames)]] = 1
    return labels


def _look(
    alive: list[_Run], tracks: TokenTracks, valid: Truth, epoch: int, min_gain: float
) -> None:
    """Let every head hear valid, and keep what it has learnt if it did better than before."""
    heard: list[list[tuple[float, float, int]]] = [[] for _ in alive]
    for track in tracks.of(np.array(sorted(valid))):
        for run, mine in zip(alive, heard, strict=True):
            mine.append(_heard(run.head.logits(track), track, valid[track.row], tracks.rate_hz))
    for run, mine in zip(alive, heard, strict=True):
        f70, loss, frames = np.array(mine).T
        run.keep(float(f70.mean()), float(loss.sum() / frames.sum()), epoch)
        run.mark(epoch, min_gain)


def _heard(
    logits: np.ndarray, track: TokenTrack, times_s: np.ndarray, rate_hz: float
) -> tuple[float, float, int]:
    """F-measure of a track's peaks at 70 ms, the sum of its frames' losses, how many frames."""
    found = pick_peaks(activation(logits, track.mask), rate_hz=rate_hz)
    f70 = beat_results([times_s], [found])[0, COLUMNS.index("f70")]
    labels = beat_frames(times_s, len(logits), rate_hz)  # what was learnt, or all would overshoot
    loss = np.logaddexp(0, logits) - labels * logits
    return float(f70), float(loss[track.mask].sum()), int(track.mask.sum())


@dataclass(frozen=True, eq=False)
class _Best:
    """Weights after the pass that was best by some measure, higher is better."""

    measure: tuple[float, float]
    f70: float
    loss: float
    epoch: int
    state: dict[str, Tensor]


class _Run:
    """A head on its way, and the best it has been."""

    def __init__(
        self, configuration: FrameConfiguration, scaler: TokenScaler, terms: Terms
    ) -> None:
        self.new = partial(FrameHead, configuration, scaler, seed=terms.seed)
        self.head, self.device = self.new().to(terms.device), terms.device
        self.descent = torch.optim.Adam(self.head.parameters(), lr=configuration.learning_rate)
        self.best: dict[str, _Best] = {}
        self.mark_f70, self.mark_loss, self.marked = 0.0, math.inf, 0

    def descend(self, tokens: Tensor, labels: Tensor, mask: Tensor) -> None:
        """One step of Adam down the mean cross-entropy of the frames that count."""
        self.head.train()
        logits = self.head(tokens.to(self.device))
        loss = F.binary_cross_entropy_with_logits(
            logits, labels.to(self.device), weight=mask.to(logits), reduction="sum"
        )
        self.descent.zero_grad()
        (loss / mask.sum().clamp_min(1)).backward()  # type: ignore[no-untyped-call]
        self.descent.step()

    def keep(self, f70: float, loss: float, epoch: int) -> None:
        """Remember the weights if they find beats better than before, or at a lower loss."""
        for name, measure in (("f70", (f70, -loss)), ("loss", (-loss, f70))):
            if name not in self.best or measure > self.best[name].measure:
                state = {key: w.clone() for key, w in self.head.state_dict().items()}
                self.best[name] = _Best(measure, f70, loss, epoch, state)

    def mark(self, epoch: int, min_gain: float) -> None:
        """Take note of the last pass by which it had gained what counts."""
        f70, loss = self.best["f70"].f70, self.best["loss"].loss
        if f70 > self.mark_f70 + min_gain or loss < self.mark_loss * (1 - min_gain):
            self.mark_f70, self.mark_loss, self.marked = f70, loss, epoch

    def trained(self) -> list[TrainedHead]:
        """The best it has been."""
        heads = []
        for best in {best.epoch: best for best in self.best.values()}.values():
            network = self.new().to(self.device).eval()
            network.load_state_dict(best.state)
            heads.append(TrainedHead(network, best.f70, best.loss, best.epoch))
        return heads
