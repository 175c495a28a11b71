"""A store to test with: moto behind a proxy that is slow, counts, and fails on demand."""

import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from shards.place import Remote, place

STALL_S = 15
"""Longer than any client waits for the rest of a body."""


class Proxy(ThreadingHTTPServer):
    """Passes reads on to moto, each with the fault that `fault` says to the request, "" for none.

    "503"     an error, nothing else
    "cut"     half of the body, then the connection breaks
    "short"   half of the body, and a header that says that this is all
    "stall"   half of the body, then nothing for a long time
    "garbage" a body of the right length that holds something else

    Args:
        behind: Host and port of moto.
        latency_s: Before each answer.
        remember: Keep every object in memory: moto needs more CPU than a benchmark can spare.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, behind: str, *, latency_s: float = 0.0, remember: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.latency_s = behind, latency_s
        self.memory: dict[str, bytes] | None = {} if remember else None
        self.fault: Callable[[str], str] = lambda request: ""
        self.requests: list[str] = []
        self.sent_bytes = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def options(self) -> str:
        """Of the URIs that lead here."""
        return options(f"127.0.0.1:{self.server_port}")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients give up: that is the point."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65_537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        request = f"{self.command} {self.path}"
        if "Range" in self.headers:
            request += f" {self.headers['Range']}"
        self.server.requests.append(request)
        fault = self.server.fault(request)
        time.sleep(self.server.latency_s)
        if fault == "503":
            return self._answer(503, {}, b"")
        status, headers, data = self._remembered() or self._passed_on()
        self.server.sent_bytes += len(data)
        if fault == "short":
            data = data[: len(data) // 2]
        if fault == "garbage":
            data = bytes(255 - byte for byte in data)
        self._answer(status, headers, data, half=fault in ("cut", "stall"))
        if fault == "stall":
            time.sleep(STALL_S)

    def _remembered(self) -> tuple[int, dict[str, str], bytes] | None:
        """HEAD or a range of an object that is in memory."""
        if self.server.memory is None or self.command not in ("GET", "HEAD") or "?" in self.path:
            return None
        if self.path not in self.server.memory:
            whole = HTTPConnection(self.server.behind, timeout=30)
            whole.request("GET", self.path)  # moto checks no signatures
            answer = whole.getresponse()
            data = answer.read()
            whole.close()
            if answer.status != 200:
                return None
            self.server.memory[self.path] = data
        data = self.server.memory[self.path]
        if self.command == "HEAD":
            return 200, {"Content-Length": str(len(data))}, b""
        first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        return 206, {}, data[int(first) : int(last or len(data)) + 1]

    def _passed_on(self) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection(self.server.behind, timeout=30)
        connection.request(self.command, self.path, headers=dict(self.headers.items()))
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, dict(answer.getheaders()), data

    def _answer(
        self, status: int, headers: dict[str, str], data: bytes, *, half: bool = False
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = headers["Content-Length"] if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if half else data)
        self.wfile.flush()
        self.close_connection = half


def options(address: str) -> str:
    """Of the URIs that lead to a store at an address."""
    return f"endpoint_override={address}&scheme=http&region=us-east-1"


def upload(folder: Path, address: str, bucket: str) -> Remote:
    """Copy a folder into a new bucket of the store at an address."""
    from pyarrow.fs import FileSystem

    system, _ = FileSystem.from_uri(f"s3://{bucket}?{options(address)}&allow_bucket_creation=true")
    system.create_dir(bucket)
    into = place(f"s3://{bucket}/shards?{options(address)}")
    assert isinstance(into, Remote)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != ".lock":
            with open(path, "rb") as file:
                (into / str(path.relative_to(folder))).put(file)
    return into
