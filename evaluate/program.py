"""A program: heads of one kind trained in lockstep, each stopped by what it does on valid.

Between two looks at valid all stacks see the same prepared steps. On a CPU a stack holds only as
many configurations as stay in its caches, and each core takes a stack at a time; on a GPU one stack
holds all. Who has stopped leaves its stack and costs nothing more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from evaluate.configuration import Configuration
from evaluate.descent import Accelerated, Adam, Descent, largest_curvature
from evaluate.inputs import Seen, Sight, see
from evaluate.parallel import each_on_one_core
from evaluate.problem import Problem
from evaluate.resume import State
from evaluate.stack import Stack, Step
from evaluate.watched import Result, Watched

CACHED_BYTES = 8 << 20
"""Weights of a stack on a CPU; gradients and Adam's moments come to three times as much again."""

PREPARED_BYTES = 64 << 20
"""Batches that are prepared for all stacks at a time."""


class Program:
    """Configurations of one head, one way down and one batch size."""

    def __init__(self, problem: Problem, configurations: Sequence[Configuration]) -> None:
        self.problem, self.configurations = problem, tuple(configurations)
        first = self.configurations[0]
        size = first.batch_size or problem.schedule.batch_size
        self.by_adam = first.learning_rate is not None
        self.batch_size = size if self.by_adam else len(problem.features)
        self.whole: dict[Sight, Seen] = {}
        self.step = 0
        for configuration in self.configurations:
            problem.valid(configuration.sight)  # here, not in each thread
        weights = first_weights(first, problem)
        self.stacks = [self._watched(places, weights) for places in self._stacks(weights)]
        self.results: list[Result] = []

    def _stacks(self, weights: Sequence[Tensor]) -> list[list[int]]:
        """Positions of the configurations of each stack, neighbours by sight."""
        order = sorted(
            range(len(self.configurations)),
            key=lambda i: (str(self.configurations[i].sight), i),
        )
        num_bytes = sum(w.numel() * w.element_size() for w in weights)
        size = max(1, CACHED_BYTES // num_bytes)
        if weights[0].device.type != "cpu" or not self.by_adam:
            size = len(order)
        return [order[first : first + size] for first in range(0, len(order), size)]

    def _watched(self, places: list[int], weights: Sequence[Tensor]) -> Watched:
        some = [self.configurations[i] for i in places]
        stack = Stack(some, weights)
        stack.descent = self._descent(some, stack.weights)
        return Watched(stack, places)

    def _descent(self, some: Sequence[Configuration], weights: Sequence[Tensor]) -> Descent:
        decays = [c.weight_decay for c in some]
        if self.by_adam:
            others = [c.weight_decay if c.bias == "penalised" else 0.0 for c in some]
            matrices = range(0, 4 if some[0].head == "mlp" else 2, 2)
            each = [decays if i in matrices else others for i in range(len(weights))]
            return Adam(weights, [c.learning_rate or 0.0 for c in some], each)
        curvatures = {}
        for sight in {c.sight for c in some}:
            curvatures[sight] = largest_curvature(self._whole(sight).x)
        curvature = [self.problem.task.curvature * curvatures[c.sight] for c in some]
        return Accelerated(weights, weights[0].new_tensor(curvature), decays)

    def run(self, path: Path | None = None) -> list[Result]:
        """What became of them, in the order of the configurations."""
        state = State(path, self) if path else None
        if state is None or not state.restore():
            self._each(partial(self._look, watched) for watched in self.stacks)
        while self.stacks and self.step < self.problem.schedule.max_steps:
            self._block()
            if state:
                state.save_now_and_then()
        self.results += [r for watched in self.stacks for r in watched.end(self.step)]
        self.stacks = []
        if state:
            state.save()
        return sorted(self.results, key=lambda r: r.place)

    def _block(self) -> None:
        """The steps until the next look at valid, and the look."""
        schedule = self.problem.schedule
        last = min(self.step + schedule.check_every, schedule.max_steps)
        while self.step < last:
            first, self.step = self.step + 1, min(last, self.step + self._steps_at_once())
            steps = [self._step(number) for number in range(first, self.step + 1)]
            look = self.step == last
            self._each(partial(self._advance, watched, steps, look) for watched in self.stacks)

    def _steps_at_once(self) -> int:
        """How many steps are prepared before the stacks take them."""
        features = self.problem.features
        num_layers = features.shape[1] if features.ndim == 3 else 1
        sights = {c.sight for w in self.stacks for c in w.stack.configurations}
        vectors = num_layers + sum(num_layers if s.layer == "sum" else 1 for s in sights)
        num_samples = min(self.batch_size, len(features))
        one = vectors * num_samples * features.shape[-1] * features.element_size()
        return max(1, PREPARED_BYTES // one)

    def _each(self, work: Iterable[Callable[[], list[Result]]]) -> None:
        """Do work on every stack, and leave those that have ended."""
        jobs = list(work)
        inline = len(jobs) == 1 or torch.get_num_threads() == 1
        done = [job() for job in jobs] if inline else each_on_one_core(jobs)
        self.results += [result for results in done for result in results]
        self.stacks = [watched for watched in self.stacks if watched.places]

    @torch.no_grad()
    def _advance(self, watched: Watched, steps: Sequence[Step], look: bool) -> list[Result]:
        for step in steps:
            watched.stack.descend(step, self.problem.task)
        return self._look(watched) if look else []

    @torch.no_grad()
    def _look(self, watched: Watched) -> list[Result]:
        sights = {c.sight for c in watched.stack.configurations}
        seen = {sight: self.problem.valid(sight) for sight in sights}
        goodness = self.problem.goodness(watched.stack.outputs(seen))
        return watched.look(goodness, self.step, self.problem.schedule)

    def _step(self, number: int) -> Step:
        """Everything the stacks see in a step."""
        problem, luck = self.problem, self.problem.luck
        configurations = [c for w in self.stacks for c in w.stack.configurations]
        sights = {c.sight for c in configurations}
        rows = luck.batch(number, len(problem.features), self.batch_size)
        size = len(problem.features) if rows is None else len(rows)
        device = problem.features.device
        hidden = None
        if configurations[0].head == "mlp" and any(c.dropout for c in configurations):
            hidden = luck.noise("hidden noise", number, (configurations[0].hidden_dim, size)).to(
                device
            )
        noise = None
        if any(sight.dropout for sight in sights):
            shape = (size, problem.features.shape[-1])
            noise = luck.noise("input noise", number, shape).to(device)
        if rows is None and noise is None:
            return Step({sight: self._whole(sight) for sight in sights}, hidden, problem.targets)
        rows = torch.arange(size) if rows is None else rows
        rows = rows.to(device)
        x, targets = problem.features[rows], problem.targets[rows]
        seen = {sight: see(x, sight, problem.scaling, noise) for sight in sights}
        return Step(seen, hidden, targets)

    def _whole(self, sight: Sight) -> Seen:
        """All of train as a sight shows it, nothing dropped."""
        if sight not in self.whole:
            self.whole[sight] = see(self.problem.features, sight, self.problem.scaling, None)
        return self.whole[sight]


def first_weights(configuration: Configuration, problem: Problem) -> list[Tensor]:
    """Weights [1, …] that heads of this kind begin with."""
    like, luck = problem.features, problem.luck
    dim, num_outputs = like.shape[-1], problem.task.num_outputs
    deep, hidden = configuration.head == "mlp", configuration.hidden_dim
    shapes = [(hidden, dim), (num_outputs, hidden)] if deep else [(num_outputs, dim)]
    zeros = not deep and configuration.start == "zeros"
    weights = []
    for number, (rows, fan) in enumerate(shapes):
        for bias, columns in enumerate((fan, 1)):
            shape = (1, rows, columns)
            w = luck.uniform("first weights", 2 * number + bias, shape) / fan**0.5
            nothing = zeros or (bias and configuration.bias == "none")
            weights.append(torch.zeros_like(w) if nothing else w)
    if configuration.layer == "sum":
        shape = (1, like.shape[1], 1)
        start = luck.normal("layers", 0, shape)
        weights.append(start if configuration.layer_start == "random" else torch.zeros_like(start))
    return [w.to(like) for w in weights]
