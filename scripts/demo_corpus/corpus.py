"""The whole corpus: planned at once, rendered by any number of processes, published in one move."""

from __future__ import annotations

import multiprocessing
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.pool import Pool
from pathlib import Path

from tqdm import tqdm

from scripts.demo_corpus.files import Job, Row, run, write_labels
from scripts.demo_corpus.plan import plan_notes, plan_pieces, plan_renderings


def build_corpus(out: Path, *, seed: int, pieces: int, notes: int, workers: int) -> list[Row]:
    """Render a corpus into a new or empty folder; the rows of its labels, in planned order."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"Want a new or empty folder, got {out}: name another or empty it.")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a run that was stopped
    partial.mkdir()
    renderings = [r for piece in plan_pieces(pieces, seed) for r in plan_renderings(piece)]
    jobs = [Job(partial, rendering) for rendering in renderings]
    jobs += [Job(partial, note) for note in plan_notes(notes, seed)]
    with results(jobs, workers) as rendered:
        rows = list(
            tqdm(
                rendered,
                desc="rendering",
                total=len(jobs),
                unit="track",
                mininterval=0.1 if sys.stderr.isatty() else 30,
            )
        )
    write_labels(partial / "labels.csv", rows)
    partial.replace(out)
    return rows


@contextmanager
def results(jobs: list[Job], workers: int) -> Iterator[Iterator[Row]]:
    """The rows of the jobs in their order, rendered here or by a pool."""
    if workers == 1:
        yield map(run, jobs)
        return
    with spawn_pool(workers) as pool:
        yield pool.imap(run, jobs, chunksize=8)


def spawn_pool(workers: int) -> Pool:
    """Fresh processes: a fork would copy the locks of whatever threads the caller runs."""
    return multiprocessing.get_context("spawn").Pool(workers)
