"""What all heads of a grid share: features, targets, luck, and how valid is looked at."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from evaluate.configuration import Configuration, Schedule
from evaluate.inputs import Scaling, Seen, Sight, check_layers, see
from evaluate.luck import Luck
from evaluate.many_scores import scorer
from evaluate.tasks.task import Task
from evaluate.windows import Owners


class Problem:
    """Features and targets of train and valid; arguments as `train_heads` has them."""

    def __init__(
        self,
        configurations: Sequence[Configuration],
        task: Task,
        train: tuple[Tensor, Tensor],
        valid: tuple[Tensor, Tensor],
        valid_owner: Tensor | None,
        schedule: Schedule,
        seed: int,
    ) -> None:
        check_layers(tuple(train[0].shape), {c.layer for c in configurations})
        self.task, self.schedule, self.seed, self.luck = task, schedule, seed, Luck(seed)
        self.features, self.targets = train
        self.valid_features, self.valid_targets = valid
        scaled = any(c.standardise for c in configurations)
        self.scaling = Scaling.fit(self.features) if scaled else None
        self.owners = None if valid_owner is None else Owners(valid_owner, len(valid[1]))
        self.score = scorer(task.metrics[0], self.valid_targets)
        self._valid: dict[Sight, Seen] = {}
        self._wanted = valid[1] if valid_owner is None else valid[1][valid_owner]

    def valid(self, sight: Sight) -> Seen:
        """Valid as a sight shows it, nothing dropped; kept, since it is looked at often."""
        plain = sight._replace(dropout=0.0)
        if plain not in self._valid:
            self._valid[plain] = see(self.valid_features, plain, self.scaling, None)
        return self._valid[plain]

    def losses(self, outputs: Tensor) -> Tensor:
        """Loss [C] of outputs [C, K, m] on valid."""
        return self.task.loss(outputs.transpose(1, 2), self._wanted)

    def scores(self, outputs: Tensor) -> Tensor:
        """Primary metric [C] of outputs [C, K, m] on valid, by track."""
        if self.owners is not None:
            outputs = self.owners.tracks(outputs, self.schedule.aggregate, self.task)
        return self.score(outputs)

    def goodness(self, outputs: Tensor) -> Tensor:
        """What is watched [C], the higher the better."""
        watch_loss = self.schedule.watch == "loss"
        return -self.losses(outputs) if watch_loss else self.scores(outputs)
