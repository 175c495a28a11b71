"""Sound: what an archive gives when asked for a track or a part of one."""

from __future__ import annotations

import base64
import html
import io
import wave
from dataclasses import dataclass

import numpy as np

from shards.index import Track
from shards.text import shown

PLAYER_S = 120.0
"""Seconds of sound that a notebook's page carries at most."""


@dataclass(frozen=True, repr=False)
class Sound:
    """Samples of a track, all of them or from `start_s` on, and what is known of the track.

    Args:
        samples: int16 [n], mono.
        sample_rate: In Hz.
        start_s: Where in the track the first sample stands.
        track: Key, title, artist, licence, and where the bytes lie.
    """

    samples: np.ndarray
    sample_rate: int
    start_s: float
    track: Track

    @property
    def waveform(self) -> np.ndarray:
        """Samples as float32 [n] in [-1, 1)."""
        return self.samples.astype(np.float32) / np.float32(32_768)

    @property
    def duration_s(self) -> float:
        """Length of these samples."""
        return len(self.samples) / self.sample_rate

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"Sound({', '.join(self._facts())})"

    def _repr_html_(self) -> str:
        """Facts and a player, for a notebook."""
        facts = html.escape(" · ".join(self._facts()))
        data = base64.b64encode(self._wav()).decode()
        cut = f"<br>The player has the first {PLAYER_S:g} s." if self.duration_s > PLAYER_S else ""
        player = f'<audio controls preload="none" src="data:audio/wav;base64,{data}"></audio>'
        return f"<div>{facts}<br>{player}{cut}</div>"

    def _facts(self) -> list[str]:
        """What it is, in words that are safe to print."""
        track = self.track
        name = shown(track.title or track.source)
        by = f" by {shown(track.artist)}" if track.artist else ""
        part = f"{self.duration_s:.2f} s"
        if len(self) != track.frames:
            part += f" from {self.start_s:.2f} s of {track.duration_s:.2f} s"
        rate = f"{self.sample_rate} Hz"
        licence = [shown(track.licence)] if track.licence else []
        return [f"row {track.row}", f"{name!r}{by}", part, rate, *licence]

    def _wav(self) -> bytes:
        """The samples as a WAV file, cut to what a page should carry."""
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setparams((1, 2, self.sample_rate, 0, "NONE", ""))
            part = self.samples[: round(PLAYER_S * self.sample_rate)]
            writer.writeframes(part.astype("<i2").tobytes())
        return file.getvalue()
