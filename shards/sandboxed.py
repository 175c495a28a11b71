"""Tracks whose archive keeps the original bytes: decoded as a whole, in a sandbox, at each visit.

An original (mp3, ogg, m4a, FLAC of another rate) is untrusted however often it is read, and few of
its formats can be sought in exactly. So the program that measured it decodes it again, with the
same code, locked in the same way, and hands over int16 samples. The last tracks are kept, so that
several windows of one cost one decoding. That is slow all the same: packed as FLAC, a track is
decoded once for good.
"""

from __future__ import annotations

import atexit
import os
import tempfile
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from shards.answers import has_form
from shards.answers import parse as parse_answer
from shards.errors import DamagedTrack
from shards.files import shown
from shards.member import payload_of
from shards.place import Place
from shards.process import DECODER, STALL_S, Worker, cores, deadline_of

KEPT_BYTES = 128 << 20
"""Of decoded samples, in each process; the last track is kept however long it is."""

SPARE_S = 1.0
"""A track that goes on for longer than its index row says is not decoded to its end."""


@dataclass(frozen=True)
class Original:
    """Where a payload lies, and what the archive says that it decodes to."""

    shard: Place
    offset: int
    size: int
    frames: int
    rate_hz: int

    def __str__(self) -> str:
        return f"{shown(self.shard)} at byte {self.offset}"


class WholeTrack:
    """An original, decoded: any number of windows is read of it."""

    def __init__(self, original: Original) -> None:
        self.frames = original.frames
        self._samples = _decoders().samples(original)

    def read(self, start: int, frames: int) -> np.ndarray:
        """Samples [frames] int16 from `start` on, fewer past the end."""
        return self._samples[start : start + max(0, frames)].copy()

    def __enter__(self) -> WholeTrack:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Decoders:
    """As many decoder processes as threads that ask at once, at most one a core."""

    def __init__(
        self,
        command: tuple[str, ...] = DECODER,
        *,
        kept_bytes: int = KEPT_BYTES,
        stall_s: float = STALL_S,
    ) -> None:
        self._command, self._stall_s, self._kept_bytes = command, stall_s, kept_bytes
        # PDEATHSIG follows the thread that started a process: these live as long as we do.
        self._threads = ThreadPoolExecutor(cores(), "decoder")
        self._own = threading.local()
        self._benches: list[_Bench] = []
        self._lock = threading.Lock()
        self._kept: OrderedDict[Original, Future[np.ndarray]] = OrderedDict()
        self._bytes = 0

    def samples(self, original: Original) -> np.ndarray:
        """All samples of a track, int16 [frames], not to be written to; or `DamagedTrack`."""
        with self._lock:
            future = self._drop(original) or self._threads.submit(self._decode, original)
            self._keep(original, future)
        try:
            return future.result()
        except BaseException:
            with self._lock:
                if self._kept.get(original) is future:
                    self._drop(original)
            raise

    def _keep(self, original: Original, future: Future[np.ndarray]) -> None:
        """Put a track last in the line, and let go of those that are first in it."""
        self._kept[original] = future
        self._bytes += 2 * original.frames
        while self._bytes > self._kept_bytes and len(self._kept) > 1:
            self._drop(next(iter(self._kept)))

    def _drop(self, original: Original) -> Future[np.ndarray] | None:
        future = self._kept.pop(original, None)
        if future is not None:
            self._bytes -= 2 * original.frames
        return future

    def _decode(self, original: Original) -> np.ndarray:
        if not hasattr(self._own, "bench"):
            self._own.bench = _Bench(Worker(parse, self._command, stall_s=self._stall_s))
            self._benches.append(self._own.bench)
        samples: np.ndarray = self._own.bench.decode(original, stall_s=self._stall_s)
        return samples

    def close(self) -> None:
        """End all processes; whoever still waits gets `DamagedTrack`."""
        for bench in self._benches:
            bench.worker.stop()
        self._threads.shutdown(cancel_futures=True)
        for bench in self._benches:
            bench.close()


class _Bench:
    """A decoder process with the two files that go to and fro: an original, and its samples.

    The decoder gets a copy of the payload and never the shard. The samples are copied, too: a
    decoder that a file took over could cut short what we have mapped.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        # Without buffers of ours: the decoder moves the place in both files.
        self._source = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
        self._sink = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115

    def decode(self, original: Original, *, stall_s: float) -> np.ndarray:
        """Samples of an original, int16 [frames]."""
        self._fetch(original)
        seconds = original.frames / original.rate_hz + SPARE_S
        answer = self.worker.ask(
            {"read": {"sample_rate": original.rate_hz, "max_seconds": seconds}},
            self._source.fileno(),
            self._sink.fileno(),
            deadline_s=deadline_of(seconds, stall_s=stall_s),
        )
        if "read" not in answer:
            raise _failed(original, **answer)
        self._sink.seek(0)
        samples = np.fromfile(self._sink, "<i2", original.frames + 1)
        self._sink.truncate(0)
        if len(samples) != original.frames:
            raise DamagedTrack(f"{original}: {len(samples)} samples, want {original.frames}")
        samples.flags.writeable = False
        return samples.astype(np.int16, copy=False)

    def _fetch(self, original: Original) -> None:
        """Let the source be the payload alone."""
        self._source.truncate(0)
        self._source.seek(0)
        with payload_of(original.shard, original.offset, original.size) as payload:
            if len(payload) != original.size:
                raise DamagedTrack(f"{original}: {len(payload)} bytes, want {original.size}")
            left = payload
            while left:
                left = left[self._source.write(left) :]

    def close(self) -> None:
        """End the process."""
        self.worker.close()
        self._source.close()
        self._sink.close()


def parse(line: bytes) -> dict[str, Any]:
    """An answer to the question for samples that has the form of one."""
    return parse_answer(line, is_result=lambda answer: has_form(answer, {"read": int}))


def _failed(original: Original, **answer: dict[str, Any]) -> Exception:
    """Why there are no samples; a full disk is not the track's fault."""
    said = answer.get("rejected") or answer["failed"]
    if said.get("where") == "sink":
        return OSError(said["errno"], said["message"], tempfile.gettempdir())
    return DamagedTrack(f"{original}: {shown(said['message'])}")


_ours: Decoders | None = None
_lock = threading.Lock()
_of_parents: list[Decoders] = []
"""Never collected: their processes and files are our parent's to end."""


def _decoders() -> Decoders:
    """Those of this process, started when first needed."""
    global _ours
    with _lock:
        if _ours is None:
            _ours = Decoders()
        return _ours


def _forget() -> None:
    """In a process that was forked off: two that talk to one decoder would mix their tracks."""
    global _ours, _lock
    if _ours is not None:
        _of_parents.append(_ours)
    _ours, _lock = None, threading.Lock()


@atexit.register
def _close() -> None:
    if _ours is not None:
        _ours.close()


os.register_at_fork(after_in_child=_forget)
