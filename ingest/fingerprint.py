"""Acoustic fingerprint: what a track sounds like, in less than a KiB; runs in a worker process.

The loudest points of the spectrogram survive codecs, gain and resampling (Wang, ISMIR 2003, whose
landmarks are pairs of them). Three that follow each other in one band, their frequencies and the
time between them, make a landmark; where the track begins does not matter. Of a track's thousands
of landmarks the 160 with the smallest hash are kept, a min-hash sketch: the share that two sketches
have in common estimates the share that the tracks have in common (Broder, 1997). Every hash keeps
its time, since landmarks of the same recording also agree on one offset.

Only what lies below 2 kHz counts, at 4 kHz: less to compute, and codecs spare it. Decisions compare
integers, levels in steps of 0.19 dB. What remains of floating point is soxr and the FFT: another
build of either may put a level one step off and change a few landmarks, not the match.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
import soxr

from ingest.fft import rfft
from ingest.sketch import SIZE, encode
from shards.draw import mix

RATE_HZ = 4_000
WINDOW = 512  # 128 ms, 7.8 Hz a bin
HOP = 128  # 32 ms: at half of that overlap, an offset of half a hop loses most landmarks
BINS = WINDOW // 2 + 1
BANDS = (8, 32, 64, 128, BINS)
NEAR_BINS, NEAR_FRAMES = 6, 8  # a peak has no louder point within ±47 Hz and ±256 ms
AHEAD = 4  # a landmark takes two of the next four peaks of its band
MAX_FRAMES = 127  # 4 s from its first peak to its last
TIME_STEP = 4  # frames; coarser than a frame, as peaks move by one between two encodes
FLOOR = 64  # magnitude of a sine of amplitude 0.5: below it stands the rounding to int16
FRAME_BITS = 24  # 6 days
LEVEL_SHIFT = 19  # keeps 4 bits of a float32's mantissa: 16 levels an octave of power

BLOCK = 1 << 16
"""Means resampled at once: fixed, so that the caller's blocks do not matter."""

FRAMES = 256
"""Frames transformed at once: fixed for the same reason, and they fit a core's cache."""

# A Hann window in integers, which every machine computes alike.
HANN = np.round(4_096 * np.hanning(WINDOW + 1)[:-1]).astype(np.float32) / np.float32(4_096)


class Fingerprint:
    """Fingerprint of int16 samples that arrive in blocks."""

    def __init__(self, sample_rate: int) -> None:
        # Means of neighbours are a rough low-pass, but they halve soxr's work.
        self._mean_of = max(1, sample_rate // (2 * RATE_HZ))
        rate_hz = sample_rate / self._mean_of
        self._resampler = soxr.ResampleStream(rate_hz, RATE_HZ, 1, "float32", "MQ")
        self._weights = np.full(self._mean_of, 1 / self._mean_of, np.float32)
        self._block = BLOCK * self._mean_of
        self._samples: list[np.ndarray] = []  # not resampled yet
        self._waiting = 0
        self._signal = np.zeros(WINDOW // 2, np.float32)  # of the frame that comes next, and on
        self._levels = np.zeros((NEAR_FRAMES, BINS), np.int16)  # around the peaks that come next
        self._frame = 0
        self._peaks: list[np.ndarray] = []

    def add(self, samples: np.ndarray) -> None:
        """Take the next samples, int16 [n]."""
        self._samples.append(samples)
        self._waiting += len(samples)
        if self._waiting < self._block:
            return
        samples = np.concatenate(self._samples)
        whole = len(samples) // self._block * self._block
        for start in range(0, whole, self._block):
            self._resample(samples[start : start + self._block], last=False)
        self._samples, self._waiting = [samples[whole:]], len(samples) - whole

    def result(self) -> bytes:
        """The fingerprint, once all samples are in."""
        rest = np.concatenate([np.zeros(0, np.int16), *self._samples])
        self._resample(rest, last=True)
        self._signal = np.concatenate([self._signal, np.zeros(WINDOW, np.float32)])
        self._transform((len(self._signal) - WINDOW) // HOP + 1)
        self._find_peaks(np.zeros((NEAR_FRAMES, BINS), np.int16))
        return encode(*sketch(np.concatenate(self._peaks, axis=1)))

    def _resample(self, samples: np.ndarray, *, last: bool) -> None:
        whole = samples[: len(samples) // self._mean_of * self._mean_of].astype(np.float32)
        means = whole.reshape(-1, self._mean_of) @ self._weights
        more = self._resampler.resample_chunk(means, last=last)
        self._signal = np.concatenate([self._signal, more])
        while len(self._signal) >= (FRAMES - 1) * HOP + WINDOW:
            self._transform(FRAMES)

    def _transform(self, num_frames: int) -> None:
        """Levels of the next frames."""
        strides = (HOP * self._signal.itemsize, self._signal.itemsize)
        windows = np.ndarray((num_frames, WINDOW), np.float32, self._signal, 0, strides)
        parts = rfft(windows * HANN).view(np.float32)
        np.square(parts, out=parts)
        power = parts[:, ::2] + parts[:, 1::2]
        self._signal = self._signal[num_frames * HOP :]
        self._find_peaks(level(power))

    def _find_peaks(self, levels: np.ndarray) -> None:
        """Take levels [frames, bins] and note the peaks of frames with neighbours on both sides."""
        levels = np.concatenate([self._levels, levels])
        frames, bins = peaks(levels)
        self._peaks.append(np.stack([frames + self._frame, bins]))
        self._frame += max(0, len(levels) - 2 * NEAR_FRAMES)
        self._levels = levels[-2 * NEAR_FRAMES :]


def level(power: np.ndarray) -> np.ndarray:
    """Power, float32 [frames, bins], as int16 steps of its logarithm; bins below the bands are 0.

    The bits of a positive float, read as an integer, grow with its logarithm.
    """
    levels = (power.view(np.int32) >> LEVEL_SHIFT).astype(np.int16)
    levels[:, : BANDS[0]] = 0
    return levels


FLOOR_LEVEL = int(level(np.full((1, BINS), FLOOR**2, np.float32))[0, -1])


def peaks(levels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frames and bins of the peaks; frame 0 is the first that has its neighbours before it."""
    if len(levels) <= 2 * NEAR_FRAMES:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    # In one flat array a frame's last bins have the next one's first as neighbours: those are 0.
    flat = np.zeros(levels.size + 2 * NEAR_BINS, np.int16)
    flat[NEAR_BINS:-NEAR_BINS] = levels.ravel()
    across = running_max(flat, 2 * NEAR_BINS + 1).reshape(levels.shape)
    highest = running_max(across, 2 * NEAR_FRAMES + 1)
    here = levels[NEAR_FRAMES:-NEAR_FRAMES]
    frames, bins = np.divmod(np.flatnonzero((here == highest) & (here > FLOOR_LEVEL)), BINS)
    value = here[frames, bins]
    # Of a plateau only the first point counts.
    first = value > levels[NEAR_FRAMES - 1 + frames, bins]
    first &= value > here[frames, bins - 1]
    return frames[first], bins[first]


def running_max(values: np.ndarray, width: int) -> np.ndarray:
    """The largest of every `width` neighbours along the first axis, [n - width + 1, …]."""
    span = 1
    while span < width:
        step = min(span, width - span)
        values = np.maximum(values[:-step], values[step:])
        span += step
    return values


def sketch(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest hashes of all landmarks, ascending, and the frame where each first occurs."""
    band = np.searchsorted(BANDS, points[1], side="right")
    points = points[:, np.argsort(band, kind="stable")]  # in each band by time
    band = np.sort(band)
    found = np.concatenate(
        [
            landmarks(points[0], points[1], band, first, second)
            for first, second in combinations(range(1, AHEAD + 1), 2)
        ]
    )
    kept = _smallest(found)
    return kept >> FRAME_BITS, kept & ((1 << FRAME_BITS) - 1)


def landmarks(
    frames: np.ndarray, bins: np.ndarray, band: np.ndarray, first: int, second: int
) -> np.ndarray:
    """Each peak with the `first` and the `second` after it: hash << FRAME_BITS | frame, int64.

    Args:
        frames: Of peaks that are sorted by band, then by time, [peaks]; so are bins and band.
    """
    count = max(0, len(frames) - second)
    to_second = frames[second:] - frames[:count]
    start = np.flatnonzero((band[second:] == band[:count]) & (to_second <= MAX_FRAMES))
    packed = bins[start]
    for value, bits in (
        (bins[start + first], 9),
        (bins[start + second], 9),
        ((frames[start + first] - frames[start]) // TIME_STEP, 5),
        (to_second[start] // TIME_STEP, 5),
    ):
        packed = (packed << bits) | value
    hashes = (mix(packed) >> 32) & 0xFFFFFFFF
    return np.asarray((hashes << FRAME_BITS) | frames[start])


def _smallest(found: np.ndarray) -> np.ndarray:
    """The landmarks with the `SIZE` smallest different hashes, each where it first occurs."""
    some = 4 * SIZE  # sorting all of them would take longer than finding them
    while True:
        part = np.partition(found, some)[:some] if some < len(found) else found
        part = np.sort(part)
        kept = part[np.diff(part >> FRAME_BITS, prepend=-1) > 0][:SIZE]
        if len(kept) == SIZE or some >= len(found):
            return kept
        some *= 4
