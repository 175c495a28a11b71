"""`python -m shards bench`: what is typed becomes one call; what was given wrong, one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, Positional

from shards.errors import InputError


def bench(
    shards: Annotated[Positional[str], tyro.conf.arg(metavar="SHARDS")],
    /,
    seconds: float = 10.0,
    num_workers: int = 0,
    batch_size: int = 64,
    clip_s: float = 4.0,
    ray: bool = False,
    run: Path | None = None,
    json: bool = False,
) -> int:
    """Tell what limits training, disk, decoding, hand-over, transfer or model, and what helps.

    Each stage is measured by itself on the windows that pairs of clips would read: reading after
    the kernel was asked to forget the shards, and once more; decoding in one process; the whole
    stream with 1, 2, 4 … workers; the copy to a GPU if there is one.

    Args:
        shards: Archive made by `ingest build-shards`, or its URI.
        seconds: For all stages together, about.
        num_workers: Most workers to try; 0 takes one a core.
        batch_size: Pairs a batch.
        clip_s: Length of a clip in seconds.
        ray: Measure the stream by Ray too.
        run: Folder of a training run, whose metrics tell how fast the model is.
        json: Print everything as JSON.
    """
    if seconds <= 0 or batch_size < 1 or num_workers < 0 or clip_s <= 0:
        raise InputError("Want --seconds, --batch-size, --clip-s above 0, --num-workers 0 or more.")
    from shards.bench import measure, report
    from shards.index import Index
    from shards.views.pair import AnchorPositive

    model = measure.model_rate(run) if run is not None else None
    found = measure.measure(
        Index.open(shards),
        AnchorPositive(clip_s=clip_s),
        batch_size=batch_size,
        num_workers=num_workers,
        seconds=seconds,
        ray=ray,
    )
    found.model = model
    print(report.as_json(found) if json else report.as_text(found))
    return 0


def main(args: list[str] | None = None) -> int:
    """Run a command; its exit code."""
    try:
        code: int = tyro.extras.subcommand_cli_from_dict(
            {"bench": bench},
            prog="python -m shards",
            description="What an archive gives, and how fast.",
            args=args,
            config=(FlagCreatePairsOff, OmitArgPrefixes),
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return code
