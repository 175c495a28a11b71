"""Does pre-training help? `demo_gain.py SHARDS --out DIR`: the quickstart's recipe, several seeds.

For each seed an encoder is trained by `scripts/recipe.py` and compared with itself untrained, by
cross-validation over the groups of every label set. Printed: mean scores and the paired difference
with its 95 % interval, drawn over seeds and groups. Stopped and called again, it goes on.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from evaluate.baselines import untrained  # noqa: E402
from evaluate.embed import Extraction, embed_tracks  # noqa: E402
from evaluate.embeddings import Embeddings  # noqa: E402
from evaluate.evaluation import choose_labels  # noqa: E402
from evaluate.grouped_cv import Gain, OutOfFold, cross_validate, gain  # noqa: E402
from evaluate.protocols.linear import GRID, LINEAR, Linear  # noqa: E402
from evaluate.results import plain  # noqa: E402
from scripts.recipe import train_flags  # noqa: E402
from shards.errors import InputError  # noqa: E402
from shards.files import write_json  # noqa: E402
from shards.index import Index  # noqa: E402
from shards.labels import Labels  # noqa: E402
from train.checkpoint import load_encoder  # noqa: E402


def main() -> None:
    """Train, embed, cross-validate, print."""
    options = arguments()
    index = Index.open(options.shards)
    protocol = Linear()
    labels, skipped = choose_labels(index, options.labels, protocol)
    labels = [one for one in labels if one.kind in protocol.kinds]
    for name, reason in skipped.items():
        print(f"not judged: {name} ({reason})")
    vectors = [pair(index, labels, seed, options) for seed in options.seeds]
    print(f"\n{'labels':<16}{'metric':<12}{'trained':>9}{'untrained':>11}{'difference':>12}  95 %")
    gains = []
    for one in labels:
        try:
            gains.append(judge(one, vectors, options))
        except InputError as error:
            print(f"not judged: {error}")
            continue
        print(line(gains[-1]), flush=True)
    print("* interval above zero; each label for itself, not corrected for their number")
    write_json(options.out / "gain.json", plain([vars(one) for one in gains]))


def arguments() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="runs, embeddings, gain.json")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--labels", nargs="*", default=[], help="all if none is named")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--mlp", action="store_true", help="MLP heads too; several times slower")
    parser.add_argument("--train", default="", help="more flags of train/run.py, in one string")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def pair(
    index: Index, labels: Sequence[Labels], seed: int, options: argparse.Namespace
) -> dict[tuple[float | None, str], Embeddings]:
    """Embeddings of a seed's trained and untrained encoder, by window length and name."""
    run = options.out / f"seed-{seed}"
    train(options.shards, run, seed, shlex.split(options.train))
    trained = load_encoder(run).to(options.device)
    encoders = {"trained": trained, "untrained": untrained(trained, seed=seed).to(options.device)}
    vectors = {}
    for window_s in {one.info.get("window_s") for one in labels}:
        some = [one for one in labels if one.info.get("window_s") == window_s]
        rows = [one.rows(split) for one in some for split in ("train", "valid", "test")]
        for name, encoder in encoders.items():
            vectors[window_s, name] = embed_tracks(
                encoder,
                index,
                np.concatenate(rows),
                folder=options.out / "embeddings",
                window_s=window_s,
                extraction=Extraction(device=options.device),
            )
    return vectors


def train(shards: Path, run: Path, seed: int, more: list[str]) -> None:
    """Train a seed to its end unless that is done."""
    flags = ["--index", str(shards), "--out", str(run), *train_flags(seed=str(seed)), *more]
    command = [sys.executable, str(ROOT / "train/run.py"), *flags]
    done = run / "recipe.json"
    if done.exists() and json.loads(done.read_text()) == flags:
        return
    print("$", shlex.join(command), flush=True)
    subprocess.run([*command, "--resume"], check=True, cwd=ROOT)
    write_json(done, flags)


def judge(
    labels: Labels,
    vectors: Sequence[dict[tuple[float | None, str], Embeddings]],
    options: argparse.Namespace,
) -> Gain:
    """The gain on one label set over all seeds."""
    pairs = []
    for seed, mine in zip(options.seeds, vectors, strict=True):
        trained, origin = (
            held_out(labels, mine[labels.info.get("window_s"), name], f"{name}-{seed}", options)
            for name in ("trained", "untrained")
        )
        pairs.append((trained, origin))
    return gain(pairs)


def held_out(
    labels: Labels, vectors: Embeddings, encoder: str, options: argparse.Namespace
) -> OutOfFold:
    """Cross-validated predictions, written choices beside them."""
    return cross_validate(
        labels,
        {"default": vectors},
        encoder=encoder,
        folder=options.out / "selections",
        num_folds=options.folds,
        protocol=Linear(grid=GRID if options.mlp else LINEAR),
    )


def line(one: Gain) -> str:
    """A row of the table; a star where training helped beyond chance."""
    low, high = one.difference.low, one.difference.high
    return (
        f"{one.label:<16}{one.metric:<12}{one.trained:>9.3f}{one.untrained:>11.3f}"
        f"{one.difference.value:>+12.3f}  {low:+.3f} … {high:+.3f}{' *' if low > 0 else ''}"
        f"  ({one.seeds} seeds, {one.difference.groups} groups)"
    )


if __name__ == "__main__":
    main()
