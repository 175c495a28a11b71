"""Who is judged: the encoder, itself untrained, and statistics of sound that nobody trained."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from evaluate.baselines import ChromaStatistics, LogMelStatistics, MfccStatistics, untrained
from evaluate.beats import MIN_RATE_HZ
from evaluate.embed import Embedder, window_frames
from evaluate.results import Contender
from shards.index import Index

STATISTICS = {
    "log-mel": ("Log-mel statistics", LogMelStatistics),
    "mfcc": ("MFCC statistics", MfccStatistics),
    "chroma": ("Chroma statistics", ChromaStatistics),
}
"""Id → title and class of what is computed from sound without weights."""

Entrant = tuple[Contender, Embedder]


def contenders(encoder: nn.Module, index: Index, *, seed: int, device: str) -> list[Entrant]:
    """The encoder, itself untrained, and statistics over the same windows."""
    trained: Any = encoder.to(device)
    origin: Any = untrained(trained, seed=seed)
    entrants = [
        _entrant("trained", "Trained encoder", trained),
        _entrant("untrained", "Untrained encoder", origin.to(device)),
    ]
    window = window_frames(trained, index)
    for id_, (title, build) in STATISTICS.items():
        statistics: Any = build(sample_rate=index.sample_rate, clip_frames=window)
        entrants.append(_entrant(id_, title, statistics.to(device)))
    return entrants


def with_frames(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Those that give tokens in time, enough of them for beats."""
    return [one for one in entrants if (_rate_hz(one[1]) or 0.0) >= MIN_RATE_HZ]


def _rate_hz(encoder: Embedder) -> float | None:
    rate_hz: float | None = getattr(encoder, "frame_rate_hz", None)
    return rate_hz


def _entrant(id_: str, title: str, network: Any) -> Entrant:
    weights = sum(weight.numel() for weight in network.parameters())
    return Contender(id_, title, network.name, network.dim, weights), network
