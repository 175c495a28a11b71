"""This node's Ray: started by its first rank for this run alone, joined by the others."""

from __future__ import annotations

import gc
import logging
import os
import secrets
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shards.errors import InputError
from shards.ray_backend.folder import PrivateFolder, store_folder

STORE_BYTES = 128 * 2**20
"""Of the object store: tasks' arguments and what comes from other nodes."""

SYSTEM = {
    "enable_metrics_collection": False,  # nobody asks for them: a fifth of an idle Ray's work
    "task_events_report_interval_ms": 0,
    "event_stats": False,
    "task_oom_retries": 2,  # by default a task that takes too much memory is tried for ever
}


@dataclass(frozen=True)
class Join:
    """What another process of this node needs to join its Ray."""

    node: str
    address: str
    token: str


@dataclass
class _Ours:
    """This node's Ray: where it answers, and its folder if this process started it."""

    address: str = ""
    raylet: str = ""
    folder: PrivateFolder | None = None
    is_lost: bool = False


_ours = _Ours()


def connect(
    *,
    num_cpus: int | None = None,
    store_bytes: int = STORE_BYTES,
    local_rank: int = 0,
    exchange: Callable[[Any], list[Any]] = lambda mine: [mine],
) -> None:
    """Start this node's Ray, or join the one its first rank started.

    `RAY_ADDRESS` joins a running cluster instead. Token and address travel through `exchange`
    (every rank's object to every rank), because a process that imports ray before it holds the
    token is refused for good.

    Args:
        num_cpus: Tasks at a time, of all streams of this node; the machine's cores if None.
        store_bytes: Size of the object store.
        local_rank: 0 on the process that starts this node's Ray.
        exchange: All-gather of one object a rank.
    """
    if is_connected():
        return
    if os.environ.get("RAY_ADDRESS"):
        join_cluster(os.environ["RAY_ADDRESS"])
        return
    mine = start(num_cpus=num_cpus, store_bytes=store_bytes) if local_rank == 0 else None
    joins = [join for join in exchange(mine) if join and join.node == socket.gethostname()]
    if local_rank != 0:
        _prepare(joins[0].token)
        _init(address=joins[0].address)
    _ours.address = joins[0].address
    _ours.raylet = sys.modules["ray"]._private.worker._global_node.raylet_socket_name


def is_connected() -> bool:
    """Whether this process has a Ray, and that has not died."""
    ray = sys.modules.get("ray")
    return ray is not None and not _ours.is_lost and bool(ray.is_initialized())


def disconnect() -> None:
    """Leave Ray; the process that started it ends it."""
    alive = is_alive()
    # With its raylet gone, Ray's shutdown ends the process at once: no error would be seen.
    if is_connected() and alive:
        gc.collect()  # what still refers to objects of the cluster must not outlive it
        sys.modules["ray"].shutdown()
    if _ours.folder and alive:  # a dead Ray writes into it at our end: a later run removes it
        _ours.folder.close()
    _ours.folder, _ours.address, _ours.raylet = None, "", ""


def is_alive() -> bool:
    """Whether this node's Ray answers; a cluster of others, who may mend it, counts as alive."""
    if not _ours.address:
        return True
    host, _, port = _ours.address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
        with socket.socket(socket.AF_UNIX) as raylet:
            raylet.connect(_ours.raylet)
    except OSError:
        return False
    return True


def check_alive() -> None:
    """Raise if this node's Ray is gone: who waits for its tasks would wait for ever."""
    if not is_alive():
        _ours.is_lost = True  # it must not be spoken to any more
        raise RuntimeError(
            "Ray has died on this node: it was killed, or the machine lacks memory (see its log). "
            "Start the run again: it resumes from its last checkpoint."
        )


def join_cluster(address: str) -> None:
    """Join the cluster at `address`; whoever runs it exports its token, if it has one."""
    check_address(address)  # before ray is imported, which settles how it authenticates
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    _init(address=address)


def start(*, num_cpus: int | None = None, store_bytes: int = STORE_BYTES) -> Join:
    """Start a Ray of this machine for this process and those it tells how to join."""
    token = os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(16)
    _prepare(token)
    _ours.folder = PrivateFolder()
    _init(
        address="local",  # never somebody else's cluster that happens to run here
        num_cpus=num_cpus or os.cpu_count() or 1,
        object_store_memory=store_bytes,
        include_dashboard=False,
        _temp_dir=str(_ours.folder.inner),
        _plasma_directory=str(store_folder(store_bytes, _ours.folder.inner)),
        _system_config=SYSTEM,
    )
    import ray

    address = ray.get_runtime_context().gcs_address
    return Join(socket.gethostname(), address, token)


def check_address(address: str) -> None:
    """Refuse a host and port where nobody listens: Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not host or "://" in address or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise InputError(f"No Ray cluster answers at {address}: {error}.") from error


def _prepare(token: str) -> None:
    """Set what ray reads when it is imported: later, even the process that starts it is refused."""
    os.environ.update(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=token,
        RAY_USAGE_STATS_ENABLED="0",
        # "No clusters": the node's address is then the loopback's, and every port listens there
        # only. `_node_ip_address` does not do it: Ray resolves it to the address of the network.
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    )
    # Ray would hide the GPUs from tasks that ask for none, and warns that it will stop doing so.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


def _init(**settings: Any) -> None:
    hook = sys.excepthook
    import ray

    umask = os.umask(0o077)  # Ray's logs and socket folders would be open to everybody
    try:
        ray.init(
            log_to_driver=False, logging_level=logging.ERROR, namespace="wholetone", **settings
        )
    finally:
        os.umask(umask)
        sys.excepthook = hook  # Ray's tells the cluster first, and waits a minute for a dead one
