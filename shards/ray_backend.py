"""The only module that imports ray: it does the work, the order is ours.

One pipeline a rank over one local Ray a node. Ray Data gets tables of plan rows, one table a task,
and gives back decoded clips in the same order. The traps that each setting avoids are named beside
it (Ray 2.60, found by running it).
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pyarrow as pa

from shards.batch import Batch
from shards.decode import Decoder
from shards.errors import InputError
from shards.plan import Rows

if TYPE_CHECKING:
    from shards.stream import Steps

Result = TypeVar("Result")

MAX_BLOCK_BYTES = 64 * 2**20
TASK_CLIPS = 256  # about half a second of decoding, against some 20 ms that a task costs
FIRST_WINDOW_TASKS, MAX_WINDOW_TASKS = 16, 2048
"""Tables handed to Ray at a time, doubling: the first batch comes soon, restarts become rare."""
MAX_RETRIES = 2  # Ray's own default retries a crashing task for ever


@dataclass(frozen=True)
class Join:
    """What another process of this node needs to join its Ray."""

    node: str
    address: str
    token: str


def connect(
    *,
    pipelines: int = 1,
    num_cpus: int | None = None,
    store_bytes: int = 512 * 2**20,
    local_rank: int = 0,
    exchange: Callable[[Any], list[Any]] = lambda mine: [mine],
) -> None:
    """Start this node's Ray, or join the one its first rank started.

    `RAY_ADDRESS` joins a running cluster instead. Token and address travel through `exchange`
    (every rank's object to every rank), because a process that imports ray before it holds the
    token is refused for good.

    Args:
        pipelines: Streams that will run at once on this node; each needs a CPU of Ray's count.
        num_cpus: Cap on Ray's count of CPUs, the machine's if None.
        store_bytes: Size of the object store in shared memory.
        local_rank: 0 on the process that starts this node's Ray.
        exchange: All-gather of one object a rank.
    """
    if is_connected():
        return
    _prepare_environment()
    if os.environ.get("RAY_ADDRESS"):
        _init(address=os.environ["RAY_ADDRESS"])
        return
    mine = None
    if local_rank == 0:
        mine = _start(max(pipelines, num_cpus or os.cpu_count() or 1), store_bytes)
    joins = [join for join in exchange(mine) if join and join.node == socket.gethostname()]
    if local_rank != 0:
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=joins[0].token)
        _init(address=joins[0].address)


def is_connected() -> bool:
    """Whether this process already has a Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def disconnect() -> None:
    """Leave Ray; the process that started it ends it."""
    if not is_connected():
        return
    # Ray Data's iterators stop their threads only when collected, and a thread that asks for a
    # block after the shutdown takes the whole process down.
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "iter_threaded":
            thread.join(timeout=10)
    sys.modules["ray"].shutdown()


def run_tasks(
    tasks: Mapping[str, Callable[[], Result]], *, address: str, num_cpus: float
) -> Iterator[Result]:
    """Run tasks on the cluster at `address` ("local" starts one here); results as they come.

    A process that is connected already stays so and uses its own.

    A task that takes its process down is tried again `MAX_RETRIES` times; an error it raises is
    raised here.
    """
    _check_address(address)  # before ray is imported, which settles how it authenticates
    import ray
    from ray.exceptions import RayError, RayTaskError

    ours = not is_connected()
    if ours:
        _prepare_environment()
        _init(address=address, **({"include_dashboard": False} if address == "local" else {}))
    run: Any = ray.remote(num_cpus=num_cpus, max_retries=MAX_RETRIES)(_call)
    waiting = {run.remote(task): name for name, task in tasks.items()}
    try:
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            name = waiting.pop(ready)
            try:
                yield ray.get(ready)
            except RayTaskError as error:
                raise error.cause from error
            except RayError as error:
                raise RuntimeError(f"{name}: the cluster gave it up: {error}") from error
    finally:
        if ours:
            disconnect()


def _call(task: Callable[[], Result]) -> Result:
    return task()


def _prepare_environment() -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray would hide the GPUs from tasks that ask for none, and warns that it will stop doing so.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


def _start(num_cpus: int, store_bytes: int) -> Join:
    _check_shared_memory(store_bytes)
    token = os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(16)
    # Before the first import of ray: later, even the process that starts it is refused.
    os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
    _init(
        address="local",  # never somebody else's cluster that happens to run here
        num_cpus=num_cpus,
        object_store_memory=store_bytes,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
    )
    import ray

    return Join(socket.gethostname(), ray.get_runtime_context().gcs_address, token)


def _init(**settings: Any) -> None:
    _check_address(settings["address"])
    import ray

    umask = os.umask(0o077)  # Ray's logs and socket folders would be open to everybody
    try:
        ray.init(
            log_to_driver=False, logging_level=logging.ERROR, namespace="wholetone", **settings
        )
    finally:
        os.umask(umask)


def _check_address(address: str) -> None:
    """Refuse a host and port where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or "://" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise InputError(f"No Ray cluster answers at {address}: {error}.") from error


def _check_shared_memory(store_bytes: int) -> None:
    if not os.path.isdir("/dev/shm"):
        return
    stat = os.statvfs("/dev/shm")
    free = stat.f_bavail * stat.f_frsize
    if free < store_bytes:
        raise InputError(
            f"/dev/shm has {free >> 20} MiB free, Ray wants {store_bytes >> 20} MiB. "
            "In Docker start with --shm-size=2g, or stream with --backend inline."
        )


def store_bytes_for(batch_bytes: int, *, pipelines: int, num_workers: int, prefetch: int) -> int:
    """Size of the object store for these streams; Ray Data uses half of it."""
    blocks = (prefetch + 1) * batch_bytes + 3 * num_workers * min(batch_bytes, MAX_BLOCK_BYTES)
    return max(256 * 2**20, 2 * pipelines * blocks)


def rows_per_task(rank_size: int, row_bytes: int, num_views: int) -> int:
    """Plan rows of a task: a multiple of the rank's batch or a divisor of it, so blocks align."""
    most = max(1, min(TASK_CLIPS // num_views, MAX_BLOCK_BYTES // row_bytes))
    if most >= rank_size:
        return most // rank_size * rank_size
    return max(n for n in range(1, most + 1) if rank_size % n == 0)


def ray_batches(steps: Steps, *, num_workers: int, prefetch: int) -> Iterator[Batch]:
    """Batches decoded by tasks of Ray Data, in the order of the plan."""
    if not is_connected():
        connect()
    decoder = Decoder.of(steps.plan)
    row_bytes = steps.plan.num_views * steps.plan.clip_frames * 2
    task_rows = rows_per_task(steps.rank_size, row_bytes, steps.plan.num_views)
    step, tasks = 0, FIRST_WINDOW_TASKS
    while steps.count is None or step < steps.count:
        window = max(1, tasks * task_rows // steps.rank_size)
        count = window if steps.count is None else min(window, steps.count - step)
        tasks = min(2 * tasks, MAX_WINDOW_TASKS)
        tables = [_table(rows) for rows in _cut(steps.rows(step, count), task_rows)]
        for batch in _run(tables, decoder, steps.rank_size, num_workers, prefetch):
            yield steps.check(batch, step)
            step += 1


def _run(
    tables: list[pa.Table], decoder: Decoder, rank_size: int, num_workers: int, prefetch: int
) -> Iterator[Batch]:
    import ray
    from ray.data import DataContext, ExecutionResources

    context = DataContext.get_current()  # copied when the Dataset is made
    options = context.execution_options
    options.preserve_order = True  # otherwise batches overtake one another from two ready on
    options.resource_limits = ExecutionResources.for_limits(cpu=max(1, num_workers))
    context.execution_no_progress_timeout_s = -1  # a trainer that pauses must not end its data
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Ray 2.60 has no named parameter for retries yet, and warns that it will want one.
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        pipeline = ray.data.from_arrow(tables).map_batches(
            _Task(decoder),
            batch_size=None,
            batch_format="numpy",
            num_cpus=1,
            max_retries=MAX_RETRIES,
        )
    # One split: the scheduler's thread then runs in an actor, not in the training process.
    (split,) = pipeline.streaming_split(1)
    for columns in split.iter_batches(
        batch_size=rank_size, batch_format="numpy", prefetch_batches=prefetch
    ):
        yield Batch(**columns)


@dataclass(frozen=True)
class _Task:
    """A decoder over Ray's batches, whose two-dimensional columns came flattened."""

    decoder: Decoder

    def __call__(self, columns: Rows) -> Rows:
        num_rows = len(columns["row"])
        rows = {name: np.asarray(column) for name, column in columns.items()}
        for name in ("start", "frames", "seed"):
            rows[name] = np.stack([rows.pop(f"{name}_{v}") for v in range(_views(columns))], 1)
        return self.decoder({name: x.reshape(num_rows, *x.shape[1:]) for name, x in rows.items()})


def _views(columns: Rows) -> int:
    return sum(name.startswith("start_") for name in columns)


def _table(rows: Rows) -> pa.Table:
    """Plan rows as a table of plain integer columns: one column a view."""
    flat: dict[str, np.ndarray] = {}
    for name, column in rows.items():
        if column.ndim == 1:
            flat[name] = column
        else:
            flat.update({f"{name}_{v}": np.ascontiguousarray(c) for v, c in enumerate(column.T)})
    return pa.table(flat)


def _cut(rows: Rows, size: int) -> Iterator[Rows]:
    for at in range(0, len(rows["row"]), size):
        yield {name: column[at : at + size] for name, column in rows.items()}
