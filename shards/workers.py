"""Worker processes that fill a ring: a queue of tasks, and one thread that hands them out.

A worker gets its next task before it has ended the one it has, so it never waits for this process;
whoever is free takes what comes next, so a slow task holds up nobody. What a dead worker had is
done again by another, a worker that stands still is killed.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path

from shards.decode import Decoder
from shards.filler import Done, Task
from shards.located import Report
from shards.process import ending
from shards.ring import Ring

COMMAND = (sys.executable, "-P", "-m", "shards.worker")
DEADLINE_S = 120.0
"""A task of half a second that takes so long stands still; slow stores have their own limits."""

ATTEMPTS = 3
"""A worker can be killed from outside, so a crash is believed when it happens three times."""

DEPTH = 2
"""Tasks that a worker has at a time: one to do, one to go on with."""

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Workers:
    """`num_workers` processes, started at once and again after each death."""

    def __init__(
        self,
        decoder: Decoder,
        ring: Ring,
        *,
        num_workers: int,
        deadline_s: float = DEADLINE_S,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        self._brief = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as we do
        pickle.dump((decoder, ring.shape), self._brief)
        self._brief.flush()
        fds = ring.fd, self._brief.fileno()
        self._workers = [_Worker(command, fds) for _ in range(num_workers)]
        self._deadline_s = deadline_s
        self._queue: deque[Task] = deque()
        self._done: deque[Done] = deque()
        self._deaths: Counter[int] = Counter()  # number of a task → workers it has cost
        self._error: BaseException | None = None
        self._closing = False
        self._change = threading.Condition()
        self._bell, self._ring_bell = Pipe(duplex=False)
        # It starts the processes, which are killed when the thread ends that started them.
        self._thread = threading.Thread(target=self._run, name="workers", daemon=True)
        self._thread.start()

    def submit(self, task: Task) -> None:
        """Take a task, without waiting for anything."""
        with self._change:
            self._queue.append(task)
        self._ring_bell.send_bytes(b"!")

    def wait(self, timeout_s: float) -> list[Done]:
        """Tasks done since the last call; none only if none was done in time."""
        with self._change:
            self._change.wait_for(lambda: self._done or self._error, timeout_s)
            if self._error is not None:
                raise self._error
            done = [*self._done]
            self._done.clear()
            return done

    def close(self) -> None:
        """End all processes; nothing writes into the ring any more when this returns."""
        if self._closing:
            return
        self._closing = True
        self._ring_bell.send_bytes(b"!")
        self._thread.join()
        for file in (self._bell, self._ring_bell, self._brief):
            file.close()

    def _run(self) -> None:
        """The thread: what it does not survive is raised by whoever waits."""
        try:
            for worker in self._workers:
                worker.start()
            while not self._closing:
                self._hand_out()
                self._listen()
        except BaseException as error:
            with self._change:
                self._error = error
                self._change.notify_all()
        finally:
            for worker in self._workers:
                worker.close()

    def _hand_out(self) -> None:
        """First to those who have nothing to do, then one more to each."""
        for depth in range(1, DEPTH + 1):
            for worker in self._workers:
                with self._change:
                    if len(worker.tasks) >= depth or not self._queue:
                        continue
                    task = self._queue.popleft()
                worker.give(task)

    def _listen(self) -> None:
        """Wait for an answer, a death, a call or a deadline."""
        owner: dict[object, _Worker] = {worker.channel: worker for worker in self._workers}
        heard = [self._bell, *(worker.channel for worker in self._workers)]
        for ready in wait(heard, timeout=self._deadline_s / 4):
            if ready is self._bell:
                self._bell.recv_bytes()
                continue
            worker = owner[ready]
            try:
                self._take(worker.answer())
            except (EOFError, ConnectionError):
                self._bury(worker, worker.end())
        for worker in self._workers:
            if worker.tasks and time.monotonic() - worker.since_s > self._deadline_s:
                worker.kill()
                self._bury(worker, f"stood still for {self._deadline_s:g} s, {worker.end()}")

    def _take(self, done: Done | None) -> None:
        if done is None:  # it has started
            return
        with self._change:
            self._done.append(done)
            self._change.notify_all()

    def _bury(self, worker: _Worker, how: str) -> None:
        """Give what a dead worker had to others, and start it again."""
        tasks = [*worker.tasks]
        worker.tasks.clear()
        if tasks:
            self._deaths[tasks[0].number] += 1
            if self._deaths[tasks[0].number] == ATTEMPTS:
                raise RuntimeError(_gave_up(tasks[0], how))
        elif worker.failed_starts == ATTEMPTS:
            raise RuntimeError(f"A worker process does not start: {how}.")
        with self._change:
            self._queue.extendleft(reversed(tasks))
        worker.start()


class _Worker:
    """One process, the tasks that it has, and since when it has had the first of them."""

    def __init__(self, command: tuple[str, ...], fds: tuple[int, int]) -> None:
        self._command, self._fds = command, fds
        self._log = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - lives as long as we do
        self.tasks: deque[Task] = deque()
        self.failed_starts = 0
        self.since_s = 0.0
        self.channel: Connection
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """A new process; it reads its first task when it is ready."""
        self.channel, theirs = Pipe()
        root = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        self._log.truncate(0)
        with theirs:
            fds = theirs.fileno(), *self._fds
            self._process = subprocess.Popen(
                [*self._command, *map(str, fds), str(os.getpid())],
                pass_fds=fds,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the trainer, which ends its workers
            )
        self.failed_starts += 1  # until it says that it is ready

    def give(self, task: Task) -> None:
        """One more task."""
        if not self.tasks:
            self.since_s = time.monotonic()
        self.tasks.append(task)
        with suppress(ConnectionError):  # it has died, which is noticed where it should answer
            self.channel.send((task.number, task.rows, task.at))

    def answer(self) -> Done | None:
        """A task that it has done; None when it has started. Raises what it could not mend."""
        said = self.channel.recv()
        if said is None:
            self.failed_starts = 0
            return None
        number, answer = said
        if not isinstance(answer, Report):
            raise answer
        assert self.tasks.popleft().number == number
        self.since_s = time.monotonic()
        return Done(number, answer)

    def end(self) -> str:
        """Make sure that the process has ended; how it did, with the last line it printed."""
        if self._process is None:
            return "not started"
        self.channel.close()
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._process = None
        return ending(code, self._log)

    def kill(self) -> None:
        """Whatever it does: it holds nothing that could be lost."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self.end()
        self._log.close()


def _gave_up(task: Task, how: str) -> str:
    rows = [int(row) for row in task.rows["row"]]
    some = ", ".join(map(str, rows[:20])) + (", …" if len(rows) > 20 else "")
    return (
        f"A task made {ATTEMPTS} worker processes die ({how}). It reads the tracks in rows {some}. "
        "Run `ingest verify` on the archive, and look at the machine's log for lack of memory."
    )
