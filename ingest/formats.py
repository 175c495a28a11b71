"""Sound that soundfile does not read, by PyAV (FFmpeg), where the extra `formats` is installed.

FFmpeg takes a third of a second to load and few folders need it: a decoder is started without, and
started again with it when it meets such a file, because in its sandbox it can load nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ingest.rejection import Rejection

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame

DEMUXERS = (
    "aac,ac3,aiff,amr,ape,asf,au,caf,dsf,flac,iff,matroska,webm,mov,mp4,m4a,3gp,3g2,mj2,mp3,mpc,"
    "mpc8,ogg,tta,w64,wav,wv"
)
OPTIONS = {"format_whitelist": DEMUXERS, "protocol_whitelist": "none"}
"""Neither play lists nor references to other files: only what lies in the file itself."""


class NotLoadedError(Exception):
    """A file needs PyAV in a process that can no longer load it."""


class AvSound:
    """The first audio stream of an open file, which stays open when this is closed.

    Rate and channels are those of the first decoded frame: some codecs announce others.
    """

    may_load = True
    """Whether this process can load PyAV; a locked one cannot."""

    def __init__(self, fd: int) -> None:
        if not AvSound.may_load and "av" not in sys.modules:
            raise NotLoadedError
        with ExitStack() as stack:
            file = stack.enter_context(open(fd, "rb", closefd=False))
            self._parts = _decoded(file)
            stack.callback(self._parts.close)
            self._next = next(self._parts, None)
            self._stack = stack.pop_all()
        if self._next is None:
            self._stack.close()
            raise Rejection("decode", "empty", "decodes to no samples")
        self.samplerate: int = self._next.sample_rate
        self.channels: int = self._next.layout.nb_channels

    def __enter__(self) -> AvSound:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def next_block(self, frames: int) -> np.ndarray:
        """About `frames` samples of every channel, float32 [n, channels]; n = 0 at the end."""
        parts = [np.zeros((0, self.channels), np.float32)]
        missing = frames
        while self._next is not None and missing > 0:
            parts.append(self._samples(self._next))
            missing -= len(parts[-1])
            self._next = next(self._parts, None)
        return np.concatenate(parts)

    def _samples(self, frame: AudioFrame) -> np.ndarray:
        """One frame of the codec as float32 [n, channels]."""
        if (frame.sample_rate, frame.layout.nb_channels) != (self.samplerate, self.channels):
            raise Rejection("decode", "changes", "changes its rate or its channels on the way")
        data: np.ndarray = frame.to_ndarray()
        samples = data.T if frame.format.is_planar else data.reshape(-1, self.channels)
        if samples.dtype == np.uint8:
            return (samples.astype(np.float32) - 128) / 128
        if samples.dtype.kind == "i":
            return np.ldexp(samples.astype(np.float32), 1 - 8 * samples.dtype.itemsize)
        return samples.astype(np.float32)


def _decoded(file: BinaryIO) -> Generator[AudioFrame, None, None]:
    """Frames of the first audio stream."""
    import av

    try:
        with av.open(file, "r", container_options=OPTIONS, metadata_errors="replace") as container:
            if not container.streams.audio:
                raise Rejection("decode", "no_audio", "holds no audio stream")
            stream = container.streams.audio[0]
            stream.codec_context.thread_count = 1
            yield from container.decode(stream)
    except av.FFmpegError as error:
        message = f"does not decode: {error.strerror}"
        raise Rejection("decode", "corrupt", message) from error
