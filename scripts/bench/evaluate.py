"""The grid of probes as one program against the same configurations one after another.

    python scripts/bench/evaluate.py [--steps 64] [--threads 1] [--device cpu] [--rounds 1]

JukeMIR's configurations on planted features: 18 706 × 1024 of train, 1825 of valid, 50 tags, looks
at valid every 8 steps by macro ROC-AUC, best weights kept. The other way is what one writes in
plain PyTorch: nn.Sequential, F.dropout inside, torch.optim.Adam, scikit-learn's roc_auc_score.
Whole grids take hours: of each of the four programs some configurations are trained for some
steps, each in a process of its own, and the grid is summed up from seconds a configuration and
step. Nothing is said of when training ends: both ways end it at the same step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[0] = str(ROOT)  # instead of this folder, where `evaluate` would be this file

TRAIN, VALID, DIM, TAGS = 18_706, 1_825, 1_024, 50
CHECK_EVERY = 8
COUNTS = {
    ("linear", 64): (54, 6),
    ("linear", 256): (54, 6),
    ("mlp", 64): (12, 3),
    ("mlp", 256): (6, 2),
}
"""Of 54 configurations of a head and a batch size: how many the grid trains, and the others."""


def problem(device):
    """Task, train and valid: tags that a few features tell, as rare as MagnaTagATune's."""
    import torch

    from evaluate.tasks import TASKS

    rng = np.random.default_rng(0)
    x = rng.standard_normal((TRAIN + VALID, DIM), dtype=np.float32)
    signal = x[:, :TAGS] + rng.standard_normal((TRAIN + VALID, TAGS), dtype=np.float32)
    share = np.geomspace(0.2, 0.02, TAGS)
    targets = (
        signal > np.array([np.quantile(s, 1 - p) for s, p in zip(signal.T, share, strict=True)])
    ).astype(np.float32)
    task = TASKS["tags"](targets[:TRAIN], TAGS)
    x, y = torch.from_numpy(x).to(device), task.encode(targets, torch.float32).to(device)
    return task, (x[:TRAIN], y[:TRAIN]), (x[TRAIN:], y[TRAIN:])


def some(head, batch_size, count):
    """Configurations spread over a program's 54."""
    from evaluate.jukemir import GRID

    if head == "all":
        return GRID
    mine = [c for c in GRID if (c.head, c.batch_size) == (head, batch_size)]
    return [mine[i * len(mine) // count] for i in range(count)]


def by_grid(configurations, steps, device):
    """Seconds of the batched program."""
    from evaluate.heads import train_heads
    from evaluate.jukemir import SCHEDULE

    task, train, valid = problem(device)
    schedule = replace(SCHEDULE, max_steps=steps)
    begun = time.perf_counter(), time.process_time()
    heads = train_heads(configurations, task, train, valid, schedule=schedule)
    return begun, [head.valid_score for head in heads]


def plainly(configurations, steps, device, *, own_metric=False):
    """Seconds of one configuration after another; `own_metric` looks by the grid's fast ROC-AUC."""
    import torch
    import torch.nn.functional as F
    from sklearn.metrics import roc_auc_score
    from torch import nn

    from evaluate.many_scores import scorer

    _, (x, y), (valid, truth) = problem(device)
    fast, truth = scorer("roc_auc", truth), truth.cpu().numpy()
    scaled = [(features - x.mean(dim=0)) / x.std(dim=0) for features in (x, valid)]
    begun, scores = (time.perf_counter(), time.process_time()), []
    for c in configurations:
        torch.manual_seed(0)
        features, asked = scaled if c.standardise else (x, valid)
        layers = [nn.Dropout(c.input_dropout), nn.Linear(DIM, TAGS)]
        if c.head == "mlp":
            layers[1:] = [
                nn.Linear(DIM, 512),
                nn.ReLU(),
                nn.Dropout(c.dropout),
                nn.Linear(512, TAGS),
            ]
        net = nn.Sequential(*layers).to(device)
        optimizer = torch.optim.Adam(
            net.parameters(), lr=c.learning_rate, weight_decay=c.weight_decay
        )
        best, kept = 0.0, {}
        for step in range(steps + 1):
            if step % CHECK_EVERY == 0:
                net.eval()
                with torch.no_grad():
                    found = net(asked)
                if own_metric:
                    score = float(fast(found.T[None]))
                else:
                    score = roc_auc_score(truth, found.cpu().numpy(), average="macro")
                if score > best:
                    best, kept = score, {k: w.clone() for k, w in net.state_dict().items()}
                net.train()
            if step == steps:
                break
            rows = torch.randperm(len(features))[: c.batch_size].to(device)
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(net(features[rows]), y[rows]).backward()
            optimizer.step()
        net.load_state_dict(kept)
        scores.append(best)
    return begun, scores


WAYS = {
    "grid": by_grid,
    "plain": plainly,
    "plain, our metric": partial(plainly, own_metric=True),
}


def alone(arguments):
    """One way in this process: its seconds and its peak memory, as JSON."""
    import torch

    from scripts.bench.measured import peak_mib

    torch.set_num_threads(arguments.threads)
    configurations = some(arguments.head, arguments.batch_size, arguments.count)
    WAYS[arguments.way](configurations[:1], 1, arguments.device)  # the first step loads modules
    before = peak_mib(os.getpid())
    (wall, cpu), scores = WAYS[arguments.way](configurations, arguments.steps, arguments.device)
    if arguments.device == "cuda":
        torch.cuda.synchronize()
    found = {
        "wall_s": time.perf_counter() - wall,
        "cpu_s": time.process_time() - cpu,
        "mib": peak_mib(os.getpid()) - before,
        "score": float(np.mean(scores)),
    }
    print(json.dumps(found))


def measured(arguments, way, head, batch_size, count, *, steps=None):
    """The same in a process of its own, per configuration and step."""
    steps = steps or arguments.steps
    flags = [
        *("--way", way, "--head", head, "--batch-size", batch_size, "--count", count),
        *("--steps", steps, "--threads", arguments.threads),
        *("--device", arguments.device),
    ]
    command = [sys.executable, __file__, *map(str, flags)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = json.loads(out.splitlines()[-1])
    for name in ("wall_s", "cpu_s"):
        found[name] *= 1000 / count / steps
    return found


def main(arguments):
    total = {}
    print(f"{arguments.steps} steps, {arguments.threads} threads, {arguments.device}")
    print("| program | way | trained | wall ms | CPU ms | MiB more | ROC-AUC |")
    print("|---|---|---|---|---|---|---|")
    for (head, batch_size), counts in COUNTS.items():
        for way in WAYS:
            count = counts[way != "grid"]
            runs = [
                measured(arguments, way, head, batch_size, count) for _ in range(arguments.rounds)
            ]
            best = min(runs, key=lambda run: run["cpu_s"])
            wall = min(run["wall_s"] for run in runs)
            total[way] = total.get(way, np.zeros(2)) + 54 * np.array([wall, best["cpu_s"]])
            print(
                f"| {head}, batch {batch_size} | {way} | {count} of 54 | {wall:.2f} "
                f"| {best['cpu_s']:.2f} | {best['mib']:.0f} | {best['score']:.4f} |",
                flush=True,
            )
    print("216 configurations, a step of each:")
    for way, (wall, cpu) in total.items():
        faster = total[way] / total["grid"]
        print(f"{way}: {wall:.0f} ms wall, {cpu:.0f} ms CPU", end="")
        print(f"; the grid is {faster[0]:.2f} × as fast, {faster[1]:.2f} × by CPU time")
    whole = measured(arguments, "grid", "all", 0, 216, steps=CHECK_EVERY)
    print(f"peak memory of all 216 at once: {whole['mib']:.0f} MiB more")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--way", choices=WAYS)
    parser.add_argument("--head", default="mlp")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--count", type=int, default=2)
    given = parser.parse_args()
    alone(given) if given.way else main(given)
