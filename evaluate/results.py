"""What an evaluation found, as values; results.json is these and nothing else."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from evaluate.bootstrap import HalfTest, Interval
from evaluate.leaks import Leak
from evaluate.verdict import Other

FORMAT = 2


@dataclass(frozen=True)
class Contender:
    """An encoder that was judged.

    Args:
        id: "trained", "untrained", "log-mel", …: the name of its selection files.
        title: As a reader is told it.
        architecture: Name of the encoder.
        dim: Width of an embedding.
        parameters: Number of weights.
    """

    id: str
    title: str
    architecture: str
    dim: int
    parameters: int


@dataclass(frozen=True)
class Way:
    """The protocol that was followed.

    Args:
        name: In PROTOCOLS.
        about: What it does, in a sentence.
        settings: Of its constructor.
        paper: Whose it is.
        deviations: In what it differs from the paper, a sentence each.
        aggregation: How windows become a track.
        selects_on_test: Whether the test targets choose what is scored, as some published code has
            it; such scores are too high.
    """

    name: str
    about: str
    settings: dict[str, Any]
    paper: str
    deviations: list[str]
    aggregation: str
    selects_on_test: bool


@dataclass(frozen=True)
class Score:
    """An encoder on a label set.

    Args:
        encoder: Id of the contender.
        scores: Metric → score on test; the first is primary.
        interval: Of the primary metric, by draws of groups.
        half_test: Of the primary metric, over random halves of test.
        behind_trained: Trained minus this one on the same tracks, paired; None for itself.
        valid_score: Of the chosen configuration.
        chosen: That configuration.
        grid_size: Configurations it was chosen from.
        embeddings: Ids of the embeddings.
        selection: File of the choice, below the folder of results.
        selection_sha256: Of that file, written before the test targets were opened.
        predictions: File of the outputs, below the folder of results.
        others: What the same selection fixed and was scored beside the choice.
    """

    encoder: str
    scores: dict[str, float]
    interval: Interval
    half_test: HalfTest
    behind_trained: Interval | None
    valid_score: float
    chosen: dict[str, Any]
    grid_size: int
    embeddings: str
    selection: str
    selection_sha256: str
    predictions: str
    others: list[Other]


@dataclass(frozen=True)
class LabelResult:
    """A label set and how each contender did on it.

    Args:
        name: Of the label set.
        kind: Of its targets.
        judge: The protocol that judged it, or "retrieval", "beats", "segments": kinds that have a
            judge of their own.
        metric: The primary one, which also chose on valid.
        classes: Of classes and tags, [] for numbers.
        counts: Tracks judged in train, valid and test.
        test_groups: Groups that the test tracks form.
        split: How it was made, from the label set.
        label_sha256: Of its targets.
        constant: Score of the best answer that ignores the audio.
        scores: One a contender, the trained one first.
        leaks: Test tracks that are in train or valid as well.
        remarks: What a table does not say by itself.
    """

    name: str
    kind: str
    judge: str
    metric: str
    classes: list[str]
    counts: dict[str, int]
    test_groups: int
    split: dict[str, Any]
    label_sha256: str
    constant: float
    scores: list[Score]
    leaks: list[Leak]
    remarks: list[str]

    @property
    def trained(self) -> Score:
        """The score that is judged."""
        return self.scores[0]

    @property
    def baselines(self) -> list[Score]:
        """What it is judged beside."""
        return self.scores[1:]


@dataclass(frozen=True)
class Results:
    """All of it.

    Args:
        command: What was typed.
        created: When, UTC.
        seed: Of heads, draws and the untrained encoder.
        protocol: How it was judged.
        archive: Facts of the audio.
        run: Facts of the training run, {} if the encoder came without any.
        versions: Package → version.
        extraction: How embeddings were computed.
        contenders: The trained encoder first.
        labels: In the order asked for.
        skipped: Label set → why it was not judged.
        unread: Sources of tracks that could not be decoded.
        seconds: How long it took.
    """

    command: str
    created: str
    seed: int
    protocol: Way
    archive: dict[str, Any]
    run: dict[str, Any]
    versions: dict[str, str]
    extraction: dict[str, Any]
    contenders: list[Contender]
    labels: list[LabelResult]
    skipped: dict[str, str]
    unread: list[str]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not defined (NaN) is null."""
        value = plain(self)
        assert isinstance(value, dict)
        return {"format": FORMAT, **value}


def plain(value: Any) -> Any:
    """Nested plain values of dataclasses, with null for what is not a finite number."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
