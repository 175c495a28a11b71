"""`evaluate SHARDS --encoder RUN`: flags in, evaluate() out."""

from __future__ import annotations

import errno
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro
from tyro.conf import Positional

from shards.errors import InputError
from shards.lazy import look_up

if TYPE_CHECKING:
    from evaluate.results import Results

COMMANDS = {
    "embed": "evaluate.embed_command:embed_command",
    "compare": "evaluate.compare_command:compare_command",
}
"""First word → "module:function" of (args) that runs it; such a folder is written ./embed."""


@dataclass(frozen=True)
class Evaluation:
    """Judge a pre-trained encoder on the labels of an archive, beside two baselines.

    `evaluate embed --help` tells how to write embeddings to a file.

    Args:
        shards: Archive made by `ingest build-shards`, with labels from `ingest labels`.
        encoder: Folder that `train/run.py --out` made, or an encoder folder.
        labels: Label sets to judge by; all of the archive's if none is named.
        out: Folder of results and report; `evaluation` below the encoder's if not given.
        batch_size: Windows embedded at a time.
        backend: Who decodes, worker processes of our own or tasks of Ray; same windows.
        num_workers: Decoding processes or tasks; inline, 0 decodes in this process.
        protocol: Whose way from embeddings to a score to follow: linear, jukemir, layers, deezer,
            limited, hybrid; myna-code repeats a released evaluator that selects on test.
        drop_first_layer: With layers: leave out layer 0, 12 of 13 as the released code does.
        seed: Of heads and draws, and of the untrained encoder if the run names no seed.
        device: Where to embed; auto takes a GPU if there is one.
        precision: Of the encoder's trunk.
    """

    shards: Positional[str]
    encoder: Path
    labels: tuple[str, ...] = ()
    out: Path | None = None
    batch_size: int = 64
    backend: Literal["inline", "ray"] = "inline"
    num_workers: int = 2
    protocol: str = "linear"
    drop_first_layer: bool = False
    seed: int = 0
    device: str = "auto"
    precision: Literal["no", "bf16", "fp16"] = "no"


def main(args: list[str] | None = None) -> int:
    """Run the command; what the user gave wrong is said in a line, with exit status 2."""
    args = list(sys.argv[1:] if args is None else args)
    if args[:1] == ["run"]:
        del args[0]
    try:
        if args and args[0] in COMMANDS:
            look_up("command", COMMANDS, args[0])(args[1:])
            return 0
        flags = tyro.cli(Evaluation, args=args, prog="evaluate")
        _judge(flags, command=shlex.join(["evaluate", *args]))
    except (InputError, PermissionError) as error:
        return _fail(error, status=2)
    except KeyboardInterrupt:
        return _fail("interrupted; the same command goes on where it stopped.", status=130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _fail(error, status=4)
    return 0


def _judge(flags: Evaluation, *, command: str) -> None:
    from evaluate.embed import Extraction, device_of
    from evaluate.evaluation import evaluate
    from evaluate.protocols import build_protocol

    settings = {"drop_first_layer": True} if flags.drop_first_layer else {}
    protocol = build_protocol(flags.protocol, **settings)
    extraction = Extraction(
        batch_size=flags.batch_size,
        backend=flags.backend,
        num_workers=flags.num_workers,
        device=device_of(flags.device),
        precision=flags.precision,
    )
    out = flags.out or flags.encoder / "evaluation"
    results = evaluate(
        flags.shards,
        flags.encoder,
        labels=flags.labels,
        out=out,
        protocol=protocol,
        extraction=extraction,
        seed=flags.seed,
        command=command,
    )
    _say(results, out)


def _say(results: Results, out: Path) -> None:
    from evaluate.report import HTML, table
    from evaluate.words import protocol, summary
    from shards.files import shown

    print(protocol(results.protocol))
    print()
    if results.labels:
        print(table(results))
        print()
    print(summary(results), "One seed." if results.labels else "")
    for label in results.labels:
        for remark in label.remarks:
            print(f"{label.name}: {remark}")
    for name, reason in results.skipped.items():
        print(f"not judged: {name} ({reason})")
    if results.unread:
        print(f"not decoded: {len(results.unread)} tracks, named in the report")
    print(f"report: {shown(out / HTML)}")


def _fail(error: object, *, status: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
