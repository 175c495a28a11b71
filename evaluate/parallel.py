"""Many small computations, each on one core: probes lose more to threads than they gain.

A probe's products take a millisecond; threads of one product wait for the slowest at every one of
them, and on a busy machine that costs ten times the work. And sums on one core come out the same
whatever the number of cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

T = TypeVar("T")


def each_on_one_core(
    work: Sequence[Callable[[], T]], done: Callable[[], object] = lambda: None
) -> list[T]:
    """Results of all work in its order; `done` is called after each. The first error is raised."""

    def alone(one: Callable[[], T]) -> T:
        torch.set_num_threads(1)  # of this thread: OpenMP keeps the number a thread
        return one()

    with _threads_kept() as num_threads, ThreadPoolExecutor(num_threads) as pool:
        futures = [pool.submit(alone, one) for one in work]
        try:
            results = []
            for future in futures:
                results.append(future.result())
                done()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return results


@contextmanager
def _threads_kept() -> Iterator[int]:
    """The number of threads, which is afterwards what it was before."""
    before = torch.get_num_threads()
    try:
        yield before
    finally:
        torch.set_num_threads(before)
