"""The tar writer of webdataset without the rest of its package.

The package loads torch (two seconds, 450 MiB); the module that writes tars needs none of it.
"""

from __future__ import annotations

import hashlib
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from webdataset.writer import TarWriter

PACKAGE = "webdataset"

PIECE_BYTES = 1 << 20
"""Copied at a time; tarfile takes 10 KiB, a hundred times as many calls."""


@cache
def tar_writer() -> type[TarWriter]:
    """The class `webdataset.writer.TarWriter`, from the package itself if that is loaded."""
    if PACKAGE in sys.modules:
        return _imported()
    spec = find_spec(PACKAGE)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    stand_in = ModuleType(PACKAGE)
    stand_in.__path__ = list(spec.submodule_search_locations)
    sys.modules[PACKAGE] = stand_in
    try:
        return _imported()
    finally:  # whoever imports the package later gets all of it
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
            del sys.modules[name]


class Hashed:
    """A file that a tar is written to from front to back: how many bytes, and their hash."""

    name = None  # of its tar

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.bytes = 0

    def write(self, data: bytes) -> int:
        """Bytes taken: all."""
        self.sha256.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def close(self) -> None:
        """The file stays open: whoever publishes it closes it."""


def in_large_pieces(tar: TarWriter, file: Hashed) -> TarWriter:
    """The same writer, which copies large members faster; the bytes are the same.

    It writes to the file itself, not to a buffer that is cut into blocks of 10 KiB.
    """
    tar.tarstream.copybufsize = PIECE_BYTES
    tar.tarstream.fileobj = file
    return tar


def _imported() -> type[TarWriter]:
    writer: type[TarWriter] = import_module(f"{PACKAGE}.writer").TarWriter
    return writer
