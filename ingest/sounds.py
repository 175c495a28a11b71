"""Open files as sound: soundfile reads what it can, PyAV the rest where it is installed."""

from __future__ import annotations

import os

import numpy as np
import soundfile

from ingest.formats import AvSound
from ingest.rejection import Rejection
from ingest.sniff import INSTALL, is_installed

UNSUPPORTED = frozenset({1, 3, 4})
"""libsndfile's errors for formats and encodings it does not read (sndfile.h, SF_ERR_*)."""


class SequentialFile(soundfile.SoundFile):  # type: ignore[misc]
    """A sound file that is only read on.

    soundfile seeks after every read of a seekable file. That changes samples of MP3 files, whose
    decoder starts anew, and fails on streams without a length.
    """

    def seekable(self) -> bool:
        """Never, so nobody seeks."""
        return False

    def next_block(self, frames: int) -> np.ndarray:
        """Up to `frames` samples of every channel, float32 [n, channels]; n = 0 at the end."""
        try:
            block: np.ndarray = self.read(frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise _rejection(error) from error
        return block


def open_sound(fd: int) -> SequentialFile | AvSound:
    """An open file as sound, which leaves the file open when it is closed."""
    try:
        return SequentialFile(fd, closefd=False)
    except soundfile.LibsndfileError as error:
        if error.code not in UNSUPPORTED:
            raise _rejection(error) from error
        if not is_installed():
            raise _rejection(error, hint=f"; {INSTALL} may read it") from error
    os.lseek(fd, 0, os.SEEK_SET)
    return AvSound(fd)


def _rejection(error: soundfile.LibsndfileError, *, hint: str = "") -> Rejection:
    """What libsndfile says, unless it says what is not so: it blames the file's name for MPEG."""
    said = str(error.error_string).removeprefix("Error : ")
    reason = "no whole MPEG frames" if "possibly a pipe" in said else said
    code = "unsupported" if error.code in UNSUPPORTED else "corrupt"
    return Rejection("decode", code, f"does not decode: {reason}{hint}")
