"""Beats as the most probable path of a hidden Markov model over tempo and phase.

States are those of Krebs, Böck and Widmer (2015, ISMIR, sec. 3): one a frame of each interval
between two beats, so that a state moves to the next in every frame and the tempo changes at beats
alone. The observation model is that of Böck, Krebs and Widmer (2014, ISMIR). Nothing is pruned:
the path is the best there is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from shards.errors import InputError

CERTAIN = 1 - 1e-5
"""Largest activation believed, and one minus the smallest: a logarithm is taken of it."""


def decode_beats(
    activation: np.ndarray,
    *,
    rate_hz: float,
    min_bpm: float = 55.0,
    max_bpm: float = 215.0,
    transition_lambda: float = 100.0,
    observation_lambda: int = 16,
) -> np.ndarray:
    """Beats in seconds [m] of activations [N]; each is the highest frame of its passage of states.

    Args:
        activation: Probability of a beat in each frame; without any above zero there is no beat.
        rate_hz: Frames a second.
        min_bpm: Slowest tempo.
        max_bpm: Fastest tempo.
        transition_lambda: How much tempo likes to stay, λ of exp(-λ · |to / from - 1|).
        observation_lambda: The first 1/λ of an interval is a beat.
    """
    if not np.isfinite(activation).all():
        raise InputError("Beats want finite activations: the head that gave these has diverged.")
    if not (activation > 0).any():
        return np.empty(0)
    states = state_space(rate_hz, min_bpm, max_bpm, transition_lambda, observation_lambda)
    likely = np.clip(activation.astype(np.float64), 1 - CERTAIN, CERTAIN)
    others = np.log((1 - likely) / (observation_lambda - 1))
    path = best_path(states, np.stack([others, np.log(likely)], axis=1))
    edges = np.flatnonzero(np.diff(states.is_beat[path], prepend=0, append=0))
    frames = [begin + activation[begin:end].argmax() for begin, end in edges.reshape(-1, 2)]
    return np.array(frames, np.float64) / rate_hz


@dataclass(frozen=True, eq=False)
class StateSpace:
    """S states, the frames of K intervals one after another, shortest interval first.

    Args:
        first: Number of each interval's first state [K].
        last: Of its last [K].
        is_beat: int8 [S], 1 where a beat is heard.
        log_change: Of the probability of interval `to` after interval `of`, [to, of].
    """

    first: np.ndarray
    last: np.ndarray
    is_beat: np.ndarray
    log_change: np.ndarray


@lru_cache(maxsize=8)
def state_space(
    rate_hz: float,
    min_bpm: float,
    max_bpm: float,
    transition_lambda: float,
    observation_lambda: int,
) -> StateSpace:
    """The states of all intervals of whole frames between two tempi."""
    shortest, longest = round(60 * rate_hz / max_bpm), round(60 * rate_hz / min_bpm)
    if not 0 < shortest <= longest:
        raise InputError(
            f"Want tempi with an interval of a frame or more, slowest first; got {min_bpm:g} to "
            f"{max_bpm:g} bpm at {rate_hz:g} frames a second."
        )
    interval = np.arange(shortest, longest + 1)
    last = np.cumsum(interval) - 1
    is_beat = np.concatenate([np.arange(n) * observation_lambda < n for n in interval])
    change = np.exp(-transition_lambda * np.abs(interval[:, None] / interval - 1))
    change[change <= np.spacing(1)] = 0
    with np.errstate(divide="ignore"):  # what never happens has a logarithm of -∞
        log_change = np.log(change / change.sum(axis=0))
    return StateSpace(last - interval + 1, last, is_beat.astype(np.int8), log_change)


def best_path(states: StateSpace, log_density: np.ndarray) -> np.ndarray:
    """The most probable states [N], all equally likely before the first frame (Viterbi, 1967).

    Args:
        states: Where one can be.
        log_density: Of each frame if no beat is heard in it and if one is, [N, 2].
    """
    num_frames, num_intervals = len(log_density), len(states.first)
    each = np.arange(num_intervals)
    came_of = np.empty((num_frames, num_intervals), np.int16)  # interval before one begun here
    score = np.full(len(states.is_beat), -np.log(len(states.is_beat)))
    ahead = np.empty_like(score)
    for t in range(num_frames):
        begun = score[states.last] + states.log_change
        came_of[t] = begun.argmax(axis=1)
        ahead[1:] = score[:-1]
        ahead[states.first] = begun[each, came_of[t]]
        ahead += log_density[t].take(states.is_beat)
        score, ahead = ahead, score
    return _walk_back(states, came_of, int(score.argmax()))


def _walk_back(states: StateSpace, came_of: np.ndarray, state: int) -> np.ndarray:
    """States [N] that end in `state`, an interval at a time."""
    path = np.empty(len(came_of), np.int64)
    end = len(path)
    while end > 0:
        interval = int(np.searchsorted(states.last, state))
        begin = end - 1 - (state - int(states.first[interval]))
        passage = np.arange(states.first[interval], state + 1)
        path[max(begin, 0) : end] = passage[max(-begin, 0) :]
        state = int(states.last[came_of[begin, interval]]) if begin >= 0 else state
        end = begin
    return path
