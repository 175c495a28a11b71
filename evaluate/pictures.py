"""The report's pictures: matplotlib figures without pyplot, as data URIs.

Letters stay letters (the reader's own typeface); names that come from a file are put in the page's
HTML and never in a picture, so that any script shows and nothing can be smuggled in.
"""

from __future__ import annotations

import base64
import colorsys
import io
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evaluate.results import LabelResult, Results, Score
from evaluate.words import metric_title, number

INK, QUIET, HAIR = "#1c2024", "#6b7280", "#e3e6ea"
CONTENDERS = {
    "trained": {"color": "#1d4ed8", "marker": "o", "markerfacecolor": "#1d4ed8", "markersize": 7.5},
    "untrained": {"color": "#7b8494", "marker": "o", "markerfacecolor": "white", "markersize": 6.5},
    "log-mel": {"color": "#d97706", "marker": "D", "markerfacecolor": "#d97706", "markersize": 5.5},
    "chroma": {"color": "#0f9d58", "marker": "D", "markerfacecolor": "#0f9d58", "markersize": 5.5},
    "mfcc": {"color": "#c026a3", "marker": "D", "markerfacecolor": "#c026a3", "markersize": 5.5},
}
CLASSES = (
    "#1d4ed8", "#d97706", "#0f9d58", "#c026a3", "#0891b2",
    "#dc2626", "#7c3aed", "#84850c", "#7c4a21", "#4b5563",
)  # fmt: skip
OTHERS = "#c6cbd2"
TYPEFACE = "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans'"
MAX_CLASSES = 24
NAMES_IN, NUMBERS_IN, ROW_IN, FOOT_IN = 1.4, 0.75, 0.85, 0.5
"""Of the scores' picture: columns beside the axis, height of a row and of the ticks, inches."""


def class_colours(num_classes: int) -> list[str]:
    """A colour a class: ten by hand, then the hues of a wheel, then grey for what is left."""
    if num_classes <= len(CLASSES):
        return list(CLASSES[:num_classes])
    shown = min(num_classes, MAX_CLASSES)
    wheel = [colorsys.hls_to_rgb(i / shown, (0.40, 0.58)[i % 2], 0.68) for i in range(shown)]
    return [mpl.colors.to_hex(rgb) for rgb in wheel] + [OTHERS] * (num_classes - shown)


def scores_picture(results: Results, *, width_in: float) -> str:
    """Every score with its interval, a row a label set, one axis from 0 to 1."""
    rows = results.labels
    height_in = ROW_IN * len(rows) + FOOT_IN
    axes_in = width_in - NAMES_IN - NUMBERS_IN
    with _style():
        figure = Figure(figsize=(width_in, height_in))
        box = (
            NAMES_IN / width_in,
            FOOT_IN / height_in,
            axes_in / width_in,
            1 - FOOT_IN / height_in,
        )
        axes = figure.add_axes(box)
        axes.set(xlim=(-0.02, 1.02), ylim=(len(rows) - 0.5, -0.5), yticks=[])
        ticks = [0, 0.25, 0.5, 0.75, 1] if width_in > 5 else [0, 0.5, 1]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.set_xlabel("score on test", labelpad=5)
        axes.grid(axis="x", color=HAIR, linewidth=0.8)
        axes.tick_params(length=0, pad=6)
        for y, row in enumerate(rows):
            _score_row(axes, y, row, axes_in)
            if y:
                ends = (-NAMES_IN / axes_in, 1 + NUMBERS_IN / axes_in)
                axes.axhline(y - 0.5, *ends, color=HAIR, linewidth=0.8, clip_on=False)
        return _svg(figure)


def _score_row(axes: Axes, y: int, row: LabelResult, width_in: float) -> None:
    """Name, dots and number of a label set, around axes `width_in` inches wide."""
    beside = axes.get_yaxis_transform()
    left, right = -NAMES_IN / width_in, 1 + 0.14 / width_in
    metric, value = metric_title(row.metric), number(row.trained.scores[row.metric])
    blue = str(CONTENDERS["trained"]["color"])
    axes.text(left, y - 0.04, _short(row.name), transform=beside, weight="bold", va="bottom")
    axes.text(left, y + 0.06, metric, transform=beside, color=QUIET, va="top", size=8.5)
    axes.text(right, y, value, transform=beside, color=blue, weight="bold", va="center")
    if 0 < row.constant <= 1:
        axes.plot([row.constant] * 2, [y - 0.36, y + 0.36], color=INK, linewidth=1, dashes=(1, 2))
    for place, score in zip(np.linspace(-0.3, 0.3, len(row.scores)), row.scores, strict=True):
        _dot(axes, y + place, score, row.metric)


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"


def _dot(axes: Axes, y: float, score: Score, metric: str) -> None:
    """A score with its interval; what lies left of the axis is an arrow at its edge."""
    look: dict[str, Any] = CONTENDERS[score.encoder]
    value, low, high = score.scores[metric], score.interval.low, score.interval.high
    if math.isfinite(low) and high > 0:
        axes.plot([max(low, 0), high], [y, y], color=look["color"], linewidth=1.8, alpha=0.55,
                  solid_capstyle="round")  # fmt: skip
    if value < 0:
        look = {**look, "marker": 4, "markersize": 7}  # a caret to the left
    axes.plot(
        [max(value, 0)], [y], linestyle="", markeredgewidth=1.5, clip_on=False, zorder=3, **look
    )


def curve_picture(lines: Sequence[dict[str, Any]], *, width_in: float) -> str:
    """Loss terms over steps, above the learning rate."""
    steps = np.array([line["step"] for line in lines])
    with _style():
        figure = Figure(figsize=(width_in, 3.1), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        _loss(upper, steps, lines)
        lower.plot(steps, [line["lr"] for line in lines], color=QUIET, linewidth=1.4)
        lower.set(ylim=(0, None), xlim=(0, steps[-1]), xlabel="step")
        lower.yaxis.set_major_locator(MaxNLocator(2))
        lower.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        lower.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        for axes, title in ((upper, "loss"), (lower, "learning rate")):
            axes.set_title(title, loc="left", size=9, color=QUIET)
            axes.grid(axis="y", color=HAIR, linewidth=0.8)
            axes.tick_params(length=0)
        return _svg(figure)


def _loss(axes: Axes, steps: np.ndarray, lines: Sequence[dict[str, Any]]) -> None:
    """The loss as logged, faint, and its running mean; each term of it if there are several."""
    loss = np.array([line["loss"] for line in lines], np.float64)
    axes.plot(steps, loss, color=CONTENDERS["trained"]["color"], linewidth=0.9, alpha=0.3)
    axes.plot(steps, running_mean(loss), color=CONTENDERS["trained"]["color"], linewidth=1.8)
    terms = list(lines[-1].get("terms", {}))
    for name, colour in zip(terms if len(terms) > 1 else [], CLASSES[1:], strict=False):
        term = running_mean(np.array([line["terms"].get(name, np.nan) for line in lines], float))
        axes.plot(steps, term, color=colour, linewidth=1.2)
        axes.annotate(name, (steps[-1], term[-1]), (4, 0), textcoords="offset points", size=8.5,
                      color=colour, va="center", annotation_clip=False)  # fmt: skip
    axes.yaxis.set_major_locator(MaxNLocator(5))


def running_mean(values: np.ndarray) -> np.ndarray:
    """Mean over the nearest twentieth of the curve, [n]; shorter at its ends."""
    half = max(1, len(values) // 40)
    sums = np.concatenate([[0.0], np.cumsum(values)])
    low = np.maximum(np.arange(len(values)) - half, 0)
    high = np.minimum(np.arange(len(values)) + half + 1, len(values))
    return np.asarray((sums[high] - sums[low]) / (high - low))


def read_curve(path: Path) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl by step, the last of each (a resumed run repeats some); [] if none."""
    if not path.is_file():
        return []
    by_step: dict[int, dict[str, Any]] = {}
    for text in path.read_text(errors="replace").splitlines():
        try:
            line = json.loads(text)
            by_step[int(line["step"])] = {
                **line,
                "loss": float(line["loss"]),
                "lr": float(line["lr"]),
            }
        except (ValueError, KeyError, TypeError):
            continue  # the line that a kill cut short
    return [by_step[step] for step in sorted(by_step)]


def map_picture(places: np.ndarray, targets: np.ndarray, num_classes: int) -> str:
    """Points [n, 2] in the colours of their classes [n]."""
    colours = np.array(class_colours(num_classes))
    with _style():
        wide, high = np.ptp(places, axis=0) if len(places) else (1.0, 1.0)
        figure = Figure(figsize=(4, 4 * float(np.clip(high / wide if wide else 1, 0.6, 1))))
        axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
        axes.set_axis_off()
        axes.set_aspect("equal", adjustable="datalim")
        size = float(np.clip(9000 / max(1, len(places)), 7, 34))
        shuffled = np.random.default_rng(0).permutation(len(places))  # no class lies on top
        x, y = places[shuffled].T
        axes.scatter(x, y, s=size, c=colours[targets[shuffled]], alpha=0.85,
                     edgecolors="white", linewidths=0.4)  # fmt: skip
        buffer = io.BytesIO()
        canvas: Any = FigureCanvasAgg(figure)
        canvas.print_png(buffer, metadata={"Software": None})
    return _uri("image/png", buffer.getvalue())


@contextmanager
def _style() -> Iterator[None]:
    settings: Any = {
        "axes.edgecolor": HAIR,
        "axes.labelcolor": QUIET,
        "axes.labelsize": 9,
        "axes.spines.bottom": False,
        "axes.spines.left": False,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.dpi": 200,
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "svg.fonttype": "none",
        "svg.hashsalt": "wholetone",
        "text.color": INK,
        "text.parse_math": False,
        "xtick.labelcolor": QUIET,
        "xtick.labelsize": 8.5,
        "ytick.labelcolor": QUIET,
        "ytick.labelsize": 8.5,
    }
    with mpl.rc_context(settings):
        yield


def _svg(figure: Figure) -> str:
    buffer = io.BytesIO()
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(buffer, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    return _uri("image/svg+xml", text.replace("'DejaVu Sans'", TYPEFACE).encode())


def _uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
