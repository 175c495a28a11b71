"""An object store for tests that lives in this process, counts its requests and fails on demand."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pyarrow.fs import FileSystem

from shards.place import Place, Remote


class Store:
    """moto behind a server of our own; as text the options of its URIs.

    Args:
        requests: Method and path of every request, with its query.
        fault: Given a request, what becomes of it: "" nothing, "503", or "cut" in its middle.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Silent(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def log(self, *_: Any) -> None:
                return None

        self.requests: list[str] = []
        self.fault: Callable[[str], str] = no_fault
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, True, request_handler=Silent)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __str__(self) -> str:
        address = f"127.0.0.1:{self._server.server_port}"
        return f"endpoint_override={address}&scheme=http&region=us-east-1"

    def new_bucket(self, name: str) -> str:
        """URI of an empty bucket, without options."""
        system, _ = FileSystem.from_uri(f"s3://{name}?{self}&allow_bucket_creation=true")
        system.create_dir(name)
        return f"s3://{name}"

    def close(self) -> None:
        self._server.shutdown()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING", "")
        request = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}" + f"?{query}" * bool(query)
        self.requests.append(request)
        fault = self.fault(request)
        if fault == "503":
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("503 Slow Down", [("Content-Length", "0"), ("Connection", "close")])
            return [b""]
        answer = self._app(environ, start)
        return half(answer, environ["werkzeug.socket"]) if fault == "cut" else answer


def no_fault(_: str) -> str:
    return ""


def half(answer: Iterable[bytes], connection: socket.socket) -> Iterator[bytes]:
    """The first half of a body, then the connection breaks; of one without a body nothing."""
    if body := b"".join(answer):
        yield body[: len(body) // 2]
    connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError


def tree(folder: Place) -> dict[str, bytes]:
    """Relative name → bytes of every file but the lock."""
    if isinstance(folder, Remote):
        names = [folder.below(info) for info in folder.walk()]
    else:
        names = [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()]
    return {name: (folder / name).read_bytes() for name in names if name != ".lock"}


def upload(folder: Path, into: Remote) -> None:
    """Copy a folder into a store."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ".lock":
            with open(path, "rb") as file:
                (into / str(path.relative_to(folder))).put(file)
