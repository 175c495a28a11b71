"""The table as bars, and memory as lines."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

TITLES = {"views/s": "views a second: more is better", "CPU ms": "CPU ms a view: less is better"}
OURS, LIMIT, PEER = "#2a6f97", "#9aa0a6", "#e0a458"


def colour(name):
    """Of a stream's bar."""
    return {"bare": LIMIT, "inline": OURS, "ray": OURS}.get(name.split()[0], PEER)


def bars(path, streams, limits):
    """Views a second and processor time a view, each payload and view beside its bare loop."""
    groups = {}
    for name in sorted(streams, key=lambda name: streams[name]["views/s"]):
        groups.setdefault(limits[name], []).append(name)
    groups = dict(sorted(groups.items(), key=lambda item: -len(item[1])))
    sizes = [len(names) + 1 for names in groups.values()]
    figure, rows = plt.subplots(
        *(len(groups), 2),
        figsize=(11, 0.8 + 0.36 * sum(sizes)),
        squeeze=False,
        gridspec_kw={"height_ratios": sizes},
    )
    for axes, names in zip(rows, groups.values(), strict=True):
        for axis, column in zip(axes, TITLES, strict=True):
            draw(axis, names, [streams[name][column] for name in names])
        axes[1].set_yticks([])
    for axis, title in zip(rows[0], TITLES.values(), strict=True):
        axis.set_title(title, fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def draw(axis, names, values):
    """Bars of one group."""
    drawn = axis.barh(names, values, color=[colour(name) for name in names])
    axis.bar_label(drawn, [f"{value:.{0 if value >= 10 else 2}f}" for value in values], padding=3)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.15)
    axis.tick_params(axis="y", length=0)


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
