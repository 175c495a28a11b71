"""One of n processes that train on the same global batch: run by test_distributed.py."""

import os
import sys
from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, os.environ["WHOLETONE_ROOT"])
from shards.batch import ARRAYS
from tests.train.conftest import ARCHIVE, NARROW, SMALL, pairs
from train.encoders import build_encoder
from train.methods import METHODS, method_class
from train.methods.byol import BYOL
from train.methods.contrastive import Contrastive
from train.optimizer import adamw


class LearnedTemperature(Contrastive):
    """A loss of the global batch that owns a parameter."""

    def __init__(self, encoder, **settings):
        super().__init__(encoder, **settings)
        self.log_temperature = nn.Parameter(torch.tensor(-1.0))

    def loss(self, projections):
        self.temperature = self.log_temperature.exp()
        return super().loss(projections)


class LearnedScale(BYOL):
    """A loss of each clip that owns a parameter."""

    def __init__(self, encoder, **settings):
        super().__init__(encoder, **settings)
        self.scale = nn.Parameter(torch.tensor(0.7))

    def loss(self, projections):
        (total, count) = super().loss(projections)["byol"]
        return {"byol": torch.stack([total * self.scale.exp(), count])}


class Double(nn.Module):
    """A front end in double precision: sums may then differ in their last bits only."""

    def __init__(self, frontend):
        super().__init__()
        self.inner = frontend
        self.sample_rate, self.hop_length = frontend.sample_rate, frontend.hop_length

    def forward(self, waveform):
        return self.inner(waveform.float()).double()


EXTRA = {"learned_temperature": LearnedTemperature, "learned_scale": LearnedScale}


def build(name):
    torch.manual_seed(1)
    encoder = build_encoder("resnet", SMALL, seed=0)
    owner = EXTRA[name] if name in EXTRA else method_class(name)
    method = owner(encoder, **NARROW.get(name, {"projector": (32, 16)}))
    method.setup(ARCHIVE)
    method.double()
    for module in method.modules():
        if hasattr(module, "frontend"):
            module.frontend = Double(module.frontend)
    return method


def part(batch, rank, world_size):
    size = len(batch) // world_size
    mine = slice(rank * size, (rank + 1) * size)
    return replace(batch, **{name: getattr(batch, name)[mine] for name in ARRAYS})


def train(name, rank, world_size):
    """Gradient of the first step and weights after five."""
    method = build(name)
    wrapped = DistributedDataParallel(method, broadcast_buffers=False) if world_size > 1 else method
    optimizer = adamw(method, lr=1e-3, weight_decay=0.01)
    first: dict[str, Tensor] = {}
    losses = []
    for step in range(5):
        batch = pairs(8, seed=step)
        batch = replace(batch, valid=torch.tensor([True] * 5 + [step > 1, True, True]))
        terms, gathered = wrapped(part(batch, rank, world_size))
        loss = torch.stack(list(terms.values())).sum()
        loss.backward()
        first = first or {
            n: p.grad.clone() for n, p in method.named_parameters() if p.requires_grad
        }
        optimizer.step()
        optimizer.zero_grad()
        method.after_step(gathered, step / 5)
        losses.append(float(loss.detach()))
    return {"grad": first, "weights": method.state_dict(), "losses": losses}


if __name__ == "__main__":
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    torch.set_num_threads(1)
    if world_size > 1:
        dist.init_process_group("gloo")
    results = {name: train(name, rank, world_size) for name in [*METHODS, *EXTRA]}
    torch.save(results, f"{sys.argv[1]}-{rank}.pt")
