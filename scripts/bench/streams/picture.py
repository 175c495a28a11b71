"""The table as bars, and memory as lines."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

OURS, LIMIT, PEER = "#2a6f97", "#9aa0a6", "#e0a458"


def colour(name):
    """Of a stream's bar."""
    return {"bare": LIMIT, "inline": OURS, "ray": OURS}.get(name.split()[0], PEER)


def bars(path, streams):
    """Views a second and processor time a view of each stream."""
    names = sorted(streams, key=lambda name: streams[name]["views/s"])
    figure, axes = plt.subplots(1, 2, figsize=(11, 0.6 + 0.34 * len(names)), sharey=True)
    titles = {"views/s": "views a second (more is better)", "CPU ms": "CPU ms a view, log scale"}
    for axis, (column, title) in zip(axes, titles.items(), strict=True):
        values = [streams[name][column] for name in names]
        drawn = axis.barh(names, values, color=[colour(name) for name in names])
        axis.bar_label(
            drawn, [f"{value:.{0 if value >= 10 else 2}f}" for value in values], padding=3
        )
        axis.set_title(title, fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.15)
        axis.tick_params(axis="y", length=0)
    axes[1].set_xscale("log")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def lines(path, memory):
    """MiB of each stream over time."""
    figure, axis = plt.subplots(figsize=(8, 4))
    for name, points in memory.items():
        axis.plot([s / 60 for s, _ in points], [mib for _, mib in points], label=name)
    axis.set(xlabel="minutes", ylabel="MiB of all processes, shared ones once", ylim=(0, None))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
