"""Sources in, payloads out, in order: as many decoders as cores, each with one file at a time."""

from __future__ import annotations

import os
import queue
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from ingest import asis
from ingest.answers import parse
from ingest.inputs import Inputs
from ingest.payload import COPY
from ingest.rejection import Rejection
from ingest.scan import Rejected, Source, shown_path
from ingest.settings import Settings
from shards.errors import LACKING
from shards.files import shown
from shards.process import DECODER, STALL_S, Worker, deadline_of

WINDOW = 64
"""Tracks that may be decoded ahead of the one that is written next."""


@dataclass
class Decoded:
    """A track's facts, and its payload in a file without a name.

    Args:
        seek: Where in the payload each second begins, uint32 [seconds], empty for a WAV.
        fingerprint: Of the music, b"" for none.
    """

    source: Source
    facts: dict[str, Any]
    payload: IO[bytes]
    seconds: float
    seek: np.ndarray
    fingerprint: bytes


Outcome = Decoded | Rejected


class Pool:
    """`num_workers` processes, some of them started ahead, that turn sources into payload."""

    def __init__(
        self,
        inputs: Inputs,
        scratch_dir: Path,
        settings: Settings,
        *,
        num_workers: int,
        ahead: Sequence[Worker] = (),
        command: tuple[str, ...] = DECODER,
        stall_s: float = STALL_S,
        deadline_s: float | None = None,
    ) -> None:
        self._inputs = inputs
        self._scratch_dir = scratch_dir
        self._settings = settings
        self._deadline_s = deadline_s or deadline_of(settings.max_seconds, stall_s=stall_s)
        more = num_workers - len(ahead)
        new = [Worker(parse, command, stall_s=stall_s) for _ in range(more)]
        self._workers = [*ahead[:num_workers], *new]
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        # PDEATHSIG follows the thread that started a process: these threads live as long as we do.
        self._threads = ThreadPoolExecutor(num_workers, "decoder")

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()
        self._threads.shutdown(cancel_futures=True)
        for worker in self._workers:
            worker.close()

    def decode(self, sources: Iterable[Source]) -> Iterator[Outcome]:
        """The outcome of every source, in order, some of them decoded ahead."""
        window = max(WINDOW, 4 * len(self._workers))
        ahead: deque[Future[Outcome]] = deque()
        for source in sources:
            ahead.append(self._threads.submit(self._decode, source))
            if len(ahead) >= window:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def _decode(self, source: Source) -> Outcome:
        """One source, which must still be what was planned before and after."""
        try:
            fd = self._inputs.open(source)
        except OSError as error:
            if error.errno in LACKING:
                raise
            code = "missing" if isinstance(error, FileNotFoundError) else "unreadable"
            return _reject(source, "scan", code, error.strerror or str(error))
        try:
            if not self._inputs.is_still(source, fd):
                return _reject(source, "scan", "changed", "changed since the build was planned")
            outcome = self._kept(self._ask(source, fd), fd)
            if isinstance(outcome, Decoded) and not self._inputs.is_still(source, fd):
                outcome.payload.close()
                return _reject(source, "decode", "changed", "changed while it was read")
            return outcome
        except Rejection as why:
            return _reject(source, **vars(why))
        finally:
            os.close(fd)

    def _kept(self, outcome: Outcome, fd: int) -> Outcome:
        """The outcome of an open source, with its own bytes as payload if it is to be a copy.

        No decoder has ever had the file that they are copied to.
        """
        if isinstance(outcome, Rejected) or self._settings.codec != COPY:
            return outcome
        outcome.payload.close()
        with ExitStack() as stack:
            payload = stack.enter_context(self._scratch())
            asis.copy(fd, payload, sha256=outcome.facts["source_sha256"])
            stack.pop_all()
        return replace(outcome, payload=payload)

    def _scratch(self) -> IO[bytes]:
        """A file without a name."""
        return tempfile.TemporaryFile(prefix=".tmp-", dir=self._scratch_dir)

    def _ask(self, source: Source, fd: int) -> Outcome:
        """What a worker makes of an open source."""
        name = shown_path(os.path.basename(source.raw))
        request = {"name": name, "settings": self._settings.as_dict()}
        with ExitStack() as stack:
            payload = stack.enter_context(self._scratch())
            worker = self._idle.get()
            try:
                answer = worker.ask(request, fd, payload.fileno(), deadline_s=self._deadline_s)
            finally:
                self._idle.put(worker)
            if "facts" in answer:
                stack.pop_all()  # whoever writes the shard closes the payload
                return self._decoded(source, payload, **answer)
        if "failed" in answer:
            return self._failed(source, **answer["failed"])
        return _reject(source, **answer["rejected"])

    def _failed(self, source: Source, where: str, errno: int, message: str) -> Rejected:
        """A source that cannot be read is its own loss; an unwritable payload ends all."""
        if where == "sink":
            raise OSError(errno, message, str(self._scratch_dir))
        return _reject(source, "decode", "unreadable", message)

    def _decoded(
        self,
        source: Source,
        payload: IO[bytes],
        facts: dict[str, Any],
        seek: list[int],
        fingerprint: str,
    ) -> Decoded:
        return Decoded(
            source,
            facts,
            payload,
            seconds=facts["frames"] / self._settings.sample_rate,
            seek=np.array(seek, np.uint32),
            fingerprint=bytes.fromhex(fingerprint),
        )


def _reject(source: Source, stage: str, code: str, message: str) -> Rejected:
    return Rejected(shown_path(source.raw), stage, code, shown(message))
