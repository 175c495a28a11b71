"""Tasks of any kind on a cluster, results as they come; crashes are tried again, not for ever."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from shards.ray_backend.cluster import disconnect, is_connected, join_cluster, start

Result = TypeVar("Result")

MAX_RETRIES = 2  # Ray's own default retries a crashing task for ever


def run_tasks(
    tasks: Mapping[str, Callable[[], Result]], *, address: str, num_cpus: float
) -> Iterator[Result]:
    """Run tasks on the cluster at `address` ("local" starts one here); results as they come.

    A process that is connected already stays so and uses its own.

    A task that takes its process down is tried again `MAX_RETRIES` times; an error it raises is
    raised here.
    """
    ours = not is_connected()
    if ours and address == "local":
        start()
    elif ours:
        join_cluster(address)
    import ray
    from ray.exceptions import RayError, RayTaskError

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
