"""`evaluate embed SHARDS --encoder RUN --out FILE`: embeddings as Parquet, for use elsewhere."""

from __future__ import annotations

import json
import os
import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro
from tyro.conf import FlagCreatePairsOff, Positional

from shards.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from evaluate.job import Job
    from shards.index import Index


@dataclass(frozen=True)
class Embed:
    """Write an encoder's embeddings of the tracks of an archive, or of their windows, as Parquet.

    A row a track or window: key, row (of the index), windows averaged or window and start_s, and
    embedding; what cannot be read has none. Metadata of the file say what made it. An interrupted
    command goes on where it stopped. Several processes share the work under `torchrun`.

    Args:
        shards: Archive made by `ingest build-shards`, or its URI.
        encoder: Folder that `train/run.py --out` made, or an encoder folder.
        out: File NAME.parquet; for several features a folder, in which each has a file.
        pool: Pools of the encoder; its default one if neither pools nor layers are asked for.
        layers: Every layer, mean over its tokens: [K, D], kept flat.
        unit: A vector a track, the mean over its windows, or a vector a window.
        window_s: Length of a window; the encoder's own clip if not given.
        hop_s: From start to start of windows; their length if not given.
        rows_of: Only tracks of these labels.
        parts: Folder of what is done so far; `evaluation/embeddings` below the encoder's if not
            given, which `evaluate` uses too.
        batch_size: Windows embedded at a time.
        backend: Who decodes, worker processes of our own or tasks of Ray; same windows.
        num_workers: Decoding processes or tasks; inline, 0 decodes in this process.
        device: Where to embed; auto takes a GPU if there is one.
        precision: Of the encoder's trunk.
        json: Print the facts at the end as JSON.
    """

    shards: Positional[str]
    encoder: Path
    out: Path
    pool: tuple[str, ...] = ()
    layers: bool = False
    unit: Literal["track", "window"] = "track"
    window_s: float | None = None
    hop_s: float | None = None
    rows_of: tuple[str, ...] = ()
    parts: Path | None = None
    batch_size: int = 64
    backend: Literal["inline", "ray"] = "inline"
    num_workers: int = 2
    device: str = "auto"
    precision: Literal["no", "bf16", "fp16"] = "no"
    json: bool = False


def embed_command(args: list[str]) -> None:
    """Run the command; of several processes all compute and the first writes."""
    flags = tyro.cli(Embed, args=args, prog="evaluate embed", config=(FlagCreatePairsOff,))
    lengths = [one for one in (flags.window_s, flags.hop_s) if one is not None]
    if min(*lengths, flags.batch_size, 1) <= 0 or flags.num_workers < 0:
        raise InputError(
            "Want --window-s, --hop-s and --batch-size above 0, --num-workers 0 or more."
        )
    from evaluate.extract import extract
    from shards.index import Index

    began_s = time.monotonic()
    index = Index.open(flags.shards)
    rows, job = _rows(index, flags.rows_of), _job(flags, index)
    files = _files(flags.out, list(job.parts))
    is_first = os.environ.get("RANK", "0") == "0"
    extract(job, rows, wait=is_first)
    if not is_first:
        return
    facts = _write(job, rows, files, command=shlex.join(["evaluate", "embed", *args]))
    facts["seconds"] = time.monotonic() - began_s
    print(json.dumps(facts) if flags.json else _said(facts))


def _job(flags: Embed, index: Index) -> Job:
    from evaluate.embed import device_of, job_of
    from evaluate.features import Feature
    from evaluate.forward import Extraction
    from train.checkpoint import load_encoder

    device = device_of(flags.device)
    features = [Feature(pool) for pool in flags.pool] + [Feature(layers=True)] * flags.layers
    return job_of(
        load_encoder(flags.encoder).to(device),
        index,
        features=features or [Feature()],
        unit=flags.unit,
        window_s=flags.window_s,
        hop_s=flags.hop_s,
        folder=flags.parts or flags.encoder / "evaluation" / "embeddings",
        extraction=Extraction(
            batch_size=flags.batch_size,
            backend=flags.backend,
            num_workers=flags.num_workers,
            device=device,
            precision=flags.precision,
        ),
    )


def _rows(index: Index, label_sets: tuple[str, ...]) -> np.ndarray:
    """Index rows of all tracks, or of those that some labels have."""
    import numpy as np

    from shards.labels import SPLITS, Labels

    if not label_sets:
        return np.arange(len(index))
    opened = [Labels.open(index, name) for name in label_sets]
    return np.unique(np.concatenate([one.rows(split) for one in opened for split in SPLITS]))


def _files(out: Path, features: list[str]) -> dict[str, Path]:
    """Feature's name → where its embeddings go; the folder is made."""
    if out.suffix == ".parquet":
        if len(features) > 1:
            raise InputError(
                f"{len(features)} features ({', '.join(features)}) do not go into one file: "
                f"want a folder as --out, got {out}."
            )
        out.parent.mkdir(parents=True, exist_ok=True)
        return {features[0]: out}
    out.mkdir(parents=True, exist_ok=True)
    return {name: out / f"{name}.parquet" for name in features}


def _write(job: Job, rows: np.ndarray, files: dict[str, Path], *, command: str) -> dict[str, Any]:
    """Write the files; what is told of them at the end."""
    from evaluate.table import write_table
    from shards.files import shown

    written = {
        name: write_table(job, name, rows, path, command=command) for name, path in files.items()
    }
    unread = next(iter(written.values())).unread
    return {
        "files": {name: str(path) for name, path in files.items()},
        "shapes": {name: one.shape for name, one in written.items()},
        "ids": job.ids,
        "tracks": len(rows),
        "windows": next(iter(written.values())).windows,
        "unread": [shown(source) for source in job.index.column("source")[unread]],
    }


def _said(facts: dict[str, Any]) -> str:
    """The facts in a few lines."""
    what = f"{facts['tracks']} tracks, {facts['windows']} windows, {facts['seconds']:.1f} s"
    lines = [f"{name}: {facts['shapes'][name]}, {path}" for name, path in facts["files"].items()]
    if facts["unread"]:
        lines.append(f"not decoded: {', '.join(facts['unread'])}")
    return "\n".join([what, *lines])
