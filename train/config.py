"""Run: what describes a training run and is no hyperparameter of method, encoder or view."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import UseAppendAction

from shards.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Run:
    """A training run. Defaults are those of Meseguer-Brocal et al. (2024) where they state them.

    Args:
        method: Self-supervised method, a name of METHODS.
        index: Archives made by `ingest build-shards`; several are one set, or a mixture.
        out: Folder of the run: run.json, metrics.jsonl, checkpoints/, encoder/.
        encoder: Architecture, a name of ENCODERS.
        init: Run or encoder folder whose encoder is trained on, built as it was then.
        steps: Optimiser steps (paper: 1000 epochs of 512).
        batch_size: Tracks a step over all processes (paper: 256 pairs).
        lr: Peak learning rate (unstated in the paper and its code).
        warmup_steps: Linear warm-up before the cosine to zero.
        weight_decay: AdamW's, on matrices only.
        clip_norm: Largest norm of the gradient; 0 for no limit.
        precision: Of the trunk; front end and loss stay in float32.
        seed: Of weights, order and every draw.
        backend: Who decodes, tasks of Ray or worker processes of each process; same batches.
        num_workers: Decoding tasks or workers a process; inline, 0 decodes in the process itself.
        max_bad_frac: Share of tracks drawn that cannot be decoded above which the run stops.
        save_every: Steps between checkpoints; one more at the end, on Ctrl-C and on SIGTERM.
        keep: Checkpoints kept.
        log_every: Steps between lines of metrics.jsonl.
        resume: Continue the run in `out` from its newest whole checkpoint.
        device: Where to compute.
        tracker: Also log to TensorBoard, below `out`.
        weights: Shares of the archives in every batch; as many tracks as they have if not given.
        where: Condition that tracks must meet, such as "duration_s >= 30", "licence in CC0,CC-BY"
            or "split(genre) != test"; may be given again.
        duplicates: Keep tracks with the same samples as another.
        order: Any track after any other, or windows of a few shards for slow disks and stores.
        window_shards: Shards of a window.
        window_gib: Instead: a cache that holds two windows.
        crops_per_visit: Rows that a visit to a track gives, in so many successive batches.
        cache: Folder on a disk of this node that keeps parts of an archive in an object store.
        cache_gib: Size of the cache; all processes and runs of the node share it.
        trace: Write row and starts of every clip to trace-RANK.jsonl, as proof of the order.
    """

    method: str
    index: tuple[str, ...]
    out: Path
    encoder: str = "resnet"
    init: Path | None = None
    steps: int = 512_000
    batch_size: int = 256
    lr: float = 3e-4
    warmup_steps: int = 5_120
    weight_decay: float = 1e-6
    clip_norm: float = 1.0
    precision: Literal["no", "bf16", "fp16"] = "no"
    seed: int = 0
    backend: Literal["ray", "inline"] = "ray"
    num_workers: int = 2
    max_bad_frac: float = 0.01
    save_every: int = 1_000
    keep: int = 2
    log_every: int = 10
    resume: bool = False
    device: Literal["auto", "cpu"] = "auto"
    tracker: Literal["none", "tensorboard"] = "none"
    weights: tuple[float, ...] = ()
    where: Annotated[tuple[str, ...], UseAppendAction] = ()
    duplicates: bool = False
    order: Literal["random", "windowed"] = "random"
    window_shards: int = 16
    window_gib: float = 0.0
    crops_per_visit: int = 1
    cache: str = ""
    cache_gib: float = 100.0
    trace: bool = False

    def validate(self) -> None:
        """Refuse values that no run can have."""
        counts = ("steps", "batch_size", "save_every", "keep", "log_every")
        for name in (*counts, "window_shards", "crops_per_visit"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be 1 or more.")
        if self.batch_size < 2:
            raise InputError("--batch-size must be 2 or more: BatchNorm wants statistics.")
        if not 0 <= self.max_bad_frac <= 1:
            raise InputError("--max-bad-frac is a share: 0 to 1.")
        if self.num_workers < 0:
            raise InputError("--num-workers must be 0 or more.")
        if self.weights and len(self.weights) != len(self.index):
            raise InputError(f"--weights: want {len(self.index)}, one for each archive of --index.")
        from shards.filters import parse  # not above: `--help` would wait for pyarrow

        for condition in self.where:
            parse(condition)
        if self.precision == "fp16" and self.device == "cpu":
            raise InputError("--precision fp16 wants a GPU; on a CPU take bf16 or no.")


DECIDES = (
    *("method", "encoder", "init", "steps", "seed", "precision"),
    *("lr", "warmup_steps", "weight_decay", "clip_norm"),
)
"""Fields that a resumed run must not change; with the method's, the encoder's and the plan's.

The plan knows the batch size where it matters: with one crop a visit another one groups the same
tracks in the same order, with several it would part them.
"""
