"""The plain words of a report: who is ahead, by how much, and what cannot be told."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from evaluate.bootstrap import Interval
from evaluate.leaks import Leak
from evaluate.metrics import METRICS
from evaluate.results import Contender, LabelResult, Results, Score, Way
from evaluate.verdict import Other

FEW_GROUPS = 10


def number(value: float) -> str:
    """A score as it is printed: three decimals, a true minus, "–" where there is none."""
    return f"{value:.3f}".replace("-", "−") if math.isfinite(value) else "–"


def span(interval: Interval) -> str:
    """An interval as it is printed."""
    if not math.isfinite(interval.low):
        return "–"
    return _span(interval.low, interval.high)


def _span(low: float, high: float) -> str:
    return f"{number(low)}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{number(high)}"


def verdict(score: Score) -> str:
    """One of ahead, behind, level, unknown: by the interval of the paired difference."""
    difference = score.behind_trained
    if difference is None or not math.isfinite(difference.low):
        return "unknown"
    if difference.low > 0:
        return "ahead"
    return "behind" if difference.high < 0 else "level"


def sentence(score: Score, contender: Contender) -> str:
    """How the trained encoder stands to one baseline, with the interval of the difference."""
    difference = score.behind_trained
    assert difference is not None
    other = NAMES[contender.id]
    size = number(abs(difference.value))
    stands = verdict(score)
    if stands == "ahead":
        return f"The trained encoder is ahead of {other.name} by {size} ({span(difference)})."
    if stands == "behind":
        turned = _span(-difference.high, -difference.low)
        return f"{other.first} {other.verb} ahead of the trained encoder by {size} ({turned})."
    if stands == "unknown":
        return f"No interval can be given against {other.name}: the test tracks form one group."
    side = "above" if difference.value > 0 else "below"
    where = f"{size} {side}" if difference.value else "the same score"
    return (
        f"Not told apart from {other.name}: {where}, "
        f"but the interval spans zero ({span(difference)})."
    )


@dataclass(frozen=True)
class Name:
    """A baseline inside a sentence, at its beginning, and the verb it takes."""

    name: str
    first: str
    verb: str


NAMES = {
    "untrained": Name("the untrained encoder", "The untrained encoder", "is"),
    "log-mel": Name("log-mel statistics", "Log-mel statistics", "are"),
    "chroma": Name("chroma statistics", "Chroma statistics", "are"),
    "mfcc": Name("MFCC statistics", "MFCC statistics", "are"),
}

ON_TEST = "SELECTS ON TEST: what is scored was chosen by the test targets, so scores are too high."


def remarks(result: LabelResult, *, dropped: int, selects_on_test: bool) -> list[str]:
    """What limits a result; `dropped` tags had no score."""
    notes = [ON_TEST] if selects_on_test else []
    if result.leaks:
        notes.append(leaked(result.leaks, result.counts["test"]))
    if result.test_groups < FEW_GROUPS:
        notes.append(
            f"The {result.counts['test']} test tracks form only {result.test_groups} groups: "
            "the interval rests on few draws and is too narrow."
        )
    if dropped:
        notes.append(
            f"Tags without a positive or a negative track in test do not count: {dropped} of "
            f"{len(result.classes)}."
        )
    undefined = result.trained.interval.undefined
    if undefined:
        draws = result.trained.interval.draws
        notes.append(f"{undefined} of {draws} draws left the score undefined and were left out.")
    return notes


def leaked(leaks: list[Leak], num_test: int) -> str:
    """How many test tracks the probe has met, and the first of them."""
    exact = sum(leak.exact for leak in leaks)
    kinds = [(exact, "the same samples"), (len(leaks) - exact, "the same sound")]
    how = ", ".join(f"{count} with {what}" for count, what in kinds if count)
    first = leaks[0]
    return (
        f"{len(leaks)} of {num_test} test tracks are also in train or valid ({how}), so that the "
        f"score may be too high. The first: {first.test} is {first.twin} in {first.split}."
    )


def summary(results: Results) -> str:
    """The first sentences of the report."""
    if not results.labels:
        return "No label set could be judged."
    num = len(results.labels)
    of = "the one label set" if num == 1 else f"{num} label sets"
    parts = []
    for contender in results.contenders[1:]:
        scores = [s for label in results.labels for s in label.scores if s.encoder == contender.id]
        if scores:
            stands = _tally([verdict(score) for score in scores])
            parts.append(f"against {NAMES[contender.id].name}, {stands}")
    said = f"On {of} the trained encoder stands: " + "; ".join(parts) + "."
    return f"{ON_TEST} {said}" if results.protocol.selects_on_test else said


def protocol(way: Way) -> str:
    """The protocol, whose it is, and in what it differs from that."""
    said = f"Protocol {way.name} ({way.paper})."
    return " ".join([said, way.about, way.aggregation, *way.deviations])


def curves(score: Score, metric: str) -> list[tuple[str, list[tuple[str, str, str, str]]]]:
    """What was scored beside the choice, by series: (title, on valid, on test, how many) a line.

    Draws of one share of train stand on one line, with mean and standard deviation.
    """
    found = []
    for series in dict.fromkeys(other.series for other in score.others):
        some = [other for other in score.others if other.series == series]
        titles = dict.fromkeys(_line_of(other) for other in some)
        lines = []
        for title in titles:
            mine = [other for other in some if _line_of(other) == title]
            valid = _mean([other.valid_score for other in mine])
            test = _mean([other.scores[metric] for other in mine])
            lines.append((title, valid, test, str(len(mine))))
        found.append((series, lines))
    return found


def _line_of(other: Other) -> str:
    return f"{other.facts['share']:.0%}" if "share" in other.facts else other.title


def _mean(values: list[float]) -> str:
    if len(values) == 1:
        return number(values[0])
    return f"{number(float(np.mean(values)))} ± {number(float(np.std(values)))}"


def _tally(stands: list[str]) -> str:
    found = [f"{text} {stands.count(key)}" for key, text in STANDS.items() if key in stands]
    return " and ".join([", ".join(found[:-1]), found[-1]]) if len(found) > 1 else found[0]


STANDS = {
    "ahead": "ahead on",
    "behind": "behind on",
    "level": "not told apart on",
    "unknown": "without an interval on",
}


def metric_title(name: str) -> str:
    """A metric as a reader knows it."""
    return METRICS[name].title
