"""Beats: from activations to times (decoder, peaks), and times against the truth (scores)."""

from evaluate.beats.decoder import decode_beats
from evaluate.beats.peaks import pick_peaks

DECODERS = {
    "dbn": decode_beats,  # Krebs, Böck and Widmer, 2015: the best path through tempo and phase
    "peaks": pick_peaks,  # Foscarin, Schlüter and Widmer, 2024: every high local maximum
}
"""Name → activation [N] and `rate_hz` → beats in seconds [m]."""

__all__ = ["DECODERS", "decode_beats", "pick_peaks"]
