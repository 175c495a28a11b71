"""Beats: from activations to times (decoder, peaks), and times against the truth (scores)."""

from evaluate.beats.decoder import decode_beats
from evaluate.beats.peaks import pick_peaks

DECODERS = {
    "dbn": decode_beats,  # Krebs, Böck and Widmer, 2015: the best path through tempo and phase
    "peaks": pick_peaks,  # Foscarin, Schlüter and Widmer, 2024: every high local maximum
}
"""Name → activation [N] and `rate_hz` → beats in seconds [m]."""

MIN_RATE_HZ = 10.0
"""Tokens a second below which beats are not judged: a frame must fit into the 70 ms of a hit."""

__all__ = ["DECODERS", "MIN_RATE_HZ", "decode_beats", "pick_peaks"]
