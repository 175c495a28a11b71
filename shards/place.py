"""Where archives lie: a folder, or a folder of an object store with the same few words.

`Remote` knows what `Path` is asked for here, over `pyarrow.fs` (s3://, gs://, abfs://, hdfs://).
Nothing is renamed there: an object appears whole when its upload ends, or not at all.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from shards.errors import InputError

if TYPE_CHECKING:
    from pyarrow import NativeFile
    from pyarrow.fs import FileInfo, FileSystem

COPY_BYTES = 8 << 20


class Remote:
    """A file or folder of an object store; folders are only what names have in common."""

    def __init__(self, system: FileSystem, path: str, scheme: str) -> None:
        self._system, self._path, self._scheme = system, path, scheme

    def __truediv__(self, name: str | os.PathLike[str]) -> Remote:
        return Remote(self._system, posixpath.join(self._path, os.fspath(name)), self._scheme)

    def __str__(self) -> str:
        return f"{self._scheme}://{self._path}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def name(self) -> str:
        """Last part."""
        return posixpath.basename(self._path)

    @property
    def stem(self) -> str:
        """Last part without its suffix."""
        return posixpath.splitext(self.name)[0]

    @property
    def parent(self) -> Remote:
        """All but the last part."""
        return Remote(self._system, posixpath.dirname(self._path), self._scheme)

    def resolve(self) -> Remote:
        """Itself: there are no links."""
        return self

    def info(self) -> FileInfo:
        """What the store says: type, size, mtime_ns."""
        return self._system.get_file_info(self._path)

    def exists(self) -> bool:
        """Whether there is an object, or one below."""
        return self.is_file() or self.is_dir()

    def is_file(self) -> bool:
        """Whether there is an object."""
        return bool(self.info().is_file)

    def is_dir(self) -> bool:
        """Whether there are objects below."""
        from pyarrow.fs import FileType

        return bool(self.info().type == FileType.Directory)

    def read_bytes(self) -> bytes:
        """The whole object; FileNotFoundError without one."""
        with self._system.open_input_stream(self._path) as stream:
            return bytes(stream.read())

    def open(self) -> NativeFile:
        """The object for reads anywhere in it (`read_at`), each a request; opening is one too."""
        return self._system.open_input_file(self._path)

    def read_range(self, offset: int, size: int) -> bytes:
        """Part of the object."""
        with self.open() as file:
            return bytes(file.read_at(size, offset))

    def fetch(self, into: BinaryIO) -> None:
        """Copy the object into an open file."""
        with self._system.open_input_stream(self._path) as stream:
            while block := stream.read(COPY_BYTES):
                into.write(block)

    def put(self, file: BinaryIO) -> None:
        """Upload an open file from its begin; the object appears when all of it is there."""
        file.seek(0)
        stream = self._system.open_output_stream(self._path)
        while block := file.read(COPY_BYTES):
            stream.write(block)
        stream.close()  # not on an error: closing would publish what was sent so far

    def walk(self) -> Iterator[FileInfo]:
        """All objects below, at any depth."""
        from pyarrow.fs import FileSelector

        select = FileSelector(self._path, recursive=True, allow_not_found=True)
        yield from (info for info in self._system.get_file_info(select) if info.is_file)

    def below(self, info: FileInfo) -> str:
        """Name of an object relative to this folder."""
        return str(info.path).removeprefix(self._path).lstrip("/")

    def iterdir(self) -> Iterator[Remote]:
        """What lies directly below."""
        from pyarrow.fs import FileSelector

        select = FileSelector(self._path, allow_not_found=True)
        for info in self._system.get_file_info(select):
            yield Remote(self._system, info.path, self._scheme)

    def glob(self, pattern: str) -> Iterator[Remote]:
        """What lies directly below and has such a name."""
        return (item for item in self.iterdir() if fnmatch.fnmatchcase(item.name, pattern))

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object."""
        try:
            self._system.delete_file(self._path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, **_: Any) -> None:
        """Nothing: folders come with their objects."""


Place = Path | Remote


def place(text: str | os.PathLike[str] | Remote) -> Place:
    """A folder by its path, or one of an object store by its URI.

    Options of the store follow a question mark, as `pyarrow.fs.FileSystem.from_uri` takes them:
    `s3://bucket/music?endpoint_override=localhost:9000&scheme=http`.
    """
    if isinstance(text, Remote):
        return text
    uri = os.fspath(text)
    if "://" not in uri:
        return Path(uri)
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem

    try:
        system, path = FileSystem.from_uri(uri)
    except (ArrowException, OSError, ValueError) as error:
        raise InputError(f"{uri}: {error}") from error
    scheme = uri.partition("://")[0]
    return Path(path) if scheme == "file" else Remote(system, path.rstrip("/"), scheme)


def size_of(file: Place) -> int:
    """Bytes of a file or object; FileNotFoundError if there is none."""
    if isinstance(file, Path):
        return file.stat().st_size
    info = file.info()
    if not info.is_file:
        raise FileNotFoundError(str(file))
    return int(info.size)


def read_range(file: Place, offset: int, size: int) -> bytes:
    """Part of a file or object, fewer bytes past its end."""
    if isinstance(file, Remote):
        return file.read_range(offset, size)
    with open(file, "rb") as stream:
        stream.seek(offset)
        return stream.read(size)
