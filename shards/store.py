"""Folders of an object store, with the words of `Path`.

`Remote` knows what `Path` is asked for here, over `pyarrow.fs` (s3://, gs://, abfs://, hdfs://).
Nothing is renamed there: an object appears whole when its upload ends, or not at all. `pyarrow`
asks a store that fails or does not answer again, some 30 times, before there is an error.
"""

from __future__ import annotations

import copy
import ctypes
import errno
import fnmatch
import os
import posixpath
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import parse_qsl, urlencode

from shards.errors import StoreError

if TYPE_CHECKING:
    from pyarrow import Buffer, NativeFile
    from pyarrow.fs import FileInfo, FileSystem

COPY_BYTES = 8 << 20

REQUESTS = 16
"""At a time: a request waits some 20 ms for its first byte."""

Fetch = Callable[[int, int], bytes]
"""Offset and size of a range → its bytes, fewer past the end, from wherever they lie."""

_SHOWN_OPTIONS = frozenset({"region", "scheme", "endpoint_override"})
"""Options of a URI that are no secret."""

_DENIED = re.compile(r"ACCESS_DENIED|HTTP status 40[13]|PermissionDenied")
_NOWHERE = re.compile(r"NO_SUCH_(KEY|BUCKET)|HTTP status 404")


class Remote:
    """A file or folder of an object store; folders are only what names have in common.

    Args:
        system: The store.
        path: Bucket and name.
        scheme: Of its URI.
        options: Of its URI, what stands behind the question mark.
    """

    def __init__(self, system: FileSystem, path: str, scheme: str, options: str = "") -> None:
        self._system, self._path, self._scheme, self._options = system, path, scheme, options

    def __truediv__(self, name: str | os.PathLike[str]) -> Remote:
        return self._at(posixpath.join(self._path, os.fspath(name)))

    def __str__(self) -> str:
        return f"{self._scheme}://{self._path}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and self.uri == other.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    @property
    def uri(self) -> str:
        """What to type to come here again; no secret stands in it."""
        options = [(k, v) for k, v in parse_qsl(self._options) if k in _SHOWN_OPTIONS]
        return f"{self}?{urlencode(options, safe=':/')}" if options else str(self)

    @property
    def name(self) -> str:
        """Last part."""
        return posixpath.basename(self._path)

    @property
    def stem(self) -> str:
        """Last part without its suffix."""
        return posixpath.splitext(self.name)[0]

    @property
    def suffix(self) -> str:
        """What the stem lacks."""
        return posixpath.splitext(self.name)[1]

    @property
    def parent(self) -> Remote:
        """All but the last part."""
        return self._at(posixpath.dirname(self._path))

    def resolve(self) -> Remote:
        """Itself: there are no links."""
        return self

    def info(self) -> FileInfo:
        """What the store says: type, size, mtime_ns."""
        with self._asking():
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
        with self._asking(), self._system.open_input_stream(self._path) as stream:
            return bytes(stream.read())

    def blocks(self) -> Iterator[Buffer]:
        """The object from begin to end, a few MiB at a time."""
        with self._asking(), self._system.open_input_stream(self._path) as stream:
            while block := stream.read_buffer(COPY_BYTES):
                yield block

    def open(self) -> NativeFile:
        """The object for reads anywhere in it (`read_at`), each a request; opening is one too."""
        with self._asking():
            return self._system.open_input_file(self._path)

    @contextmanager
    def ranges(self) -> Iterator[Fetch]:
        """Reads anywhere in the object, from any thread; each is a request."""
        with self.open() as file:
            end = file.size()

            def fetch(offset: int, size: int) -> bytes:
                with self._asking():
                    return bytes(file.read_at(size, offset)) if offset < end else b""

            yield fetch

    def fetch(self, into: BinaryIO) -> None:
        """Copy the object into an open file."""
        for block in self.blocks():
            into.write(block)

    def put(self, file: BinaryIO) -> None:
        """Upload an open file from its begin; the object appears when all of it is there."""
        file.seek(0)
        with self._asking():
            stream = self._system.open_output_stream(self._path)
            try:
                while block := file.read(COPY_BYTES):
                    stream.write(block)
                stream.close()
            except BaseException:
                _abandon(stream)
                raise

    def walk(self) -> Iterator[FileInfo]:
        """All objects below, at any depth."""
        yield from (info for info in self._list(recursive=True) if info.is_file)

    def below(self, info: FileInfo) -> str:
        """Name of an object relative to this folder."""
        return str(info.path).removeprefix(self._path).lstrip("/")

    def iterdir(self) -> Iterator[Remote]:
        """What lies directly below."""
        for info in self._list(recursive=False):
            yield self._at(info.path)

    def glob(self, pattern: str) -> Iterator[Remote]:
        """What lies directly below and has such a name."""
        return (item for item in self.iterdir() if fnmatch.fnmatchcase(item.name, pattern))

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object."""
        try:
            with self._asking():
                self._system.delete_file(self._path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def delete_below(self) -> None:
        """Delete all objects below."""
        with self._asking():
            if self._system.type_name == "gcs":  # whose delete_dir misses an object of the folder
                self._system.delete_dir_contents(self._path, missing_dir_ok=True)
            else:
                self._system.delete_dir(self._path)

    def mkdir(self, **_: Any) -> None:
        """Nothing: folders come with their objects."""

    def _at(self, path: str) -> Remote:
        """Another place of the same store."""
        there = copy.copy(self)
        there._path = path
        return there

    def _list(self, *, recursive: bool) -> list[FileInfo]:
        from pyarrow.fs import FileSelector

        with self._asking():
            select = FileSelector(self._path, recursive=recursive, allow_not_found=True)
            return list(self._system.get_file_info(select))

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Errors of the store get a name, and a kind that no one takes for damage."""
        try:
            yield
        except FileNotFoundError:
            raise self._error(errno.ENOENT) from None
        except OSError as error:
            if error.errno is not None:  # of a file here
                raise
            for number, kind in ((errno.EACCES, _DENIED), (errno.ENOENT, _NOWHERE)):
                if kind.search(str(error)):
                    raise self._error(number) from error
            raise StoreError(
                f"{self}: the store fails or does not answer ({error}). "
                "Check it and the network, then run the same command again."
            ) from error

    def _error(self, number: int) -> OSError:
        return OSError(number, os.strerror(number), str(self))


class Listed(Remote):
    """A folder of an object store as it was at one moment: names and sizes cost no more requests.

    Contents are still read from the store; what is written after that moment is not seen.
    """

    def __init__(self, folder: Remote) -> None:
        from pyarrow.fs import FileInfo, FileType

        super().__init__(folder._system, folder._path, folder._scheme, folder._options)
        self._infos = {info.path: info for info in folder._list(recursive=True)}
        if self._infos:
            self._infos[self._path] = FileInfo(self._path, FileType.Directory)

    def info(self) -> FileInfo:
        """What the store said."""
        from pyarrow.fs import FileInfo, FileType

        return self._infos.get(self._path) or FileInfo(self._path, FileType.NotFound)

    def _list(self, *, recursive: bool) -> list[FileInfo]:
        below = f"{self._path}/"
        found = [info for path, info in self._infos.items() if path.startswith(below)]
        return [info for info in found if recursive or "/" not in info.path[len(below) :]]


def _abandon(upload: NativeFile) -> None:
    """Keep an upload that failed for ever: pyarrow would end it with its last reference.

    What was sent so far would then stand in the store as if it were whole.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(upload))
