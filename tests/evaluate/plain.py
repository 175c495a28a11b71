"""Heads trained one by one in plain torch, as a reader of the papers would write it: the oracle."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from evaluate.luck import Luck, threshold


def network(configuration, dim, num_outputs, luck):
    """torch's own layers with the grid's first weights."""
    hidden = [configuration.hidden_dim] if configuration.head == "mlp" else []
    sizes = [dim, *hidden, num_outputs]
    layers = []
    for i, (fan, width) in enumerate(pairwise(sizes)):
        one = nn.Linear(fan, width).double()
        with torch.no_grad():
            one.weight.copy_(luck.uniform("first weights", 2 * i, (width, fan)) / fan**0.5)
            one.bias.copy_(luck.uniform("first weights", 2 * i + 1, (width,)) / fan**0.5)
            if configuration.head == "linear" and configuration.start == "zeros":
                one.weight.zero_()
                one.bias.zero_()
        layers += [one, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def mask(rate, luck, purpose, step, shape):
    """Dropout's factors: zero, or one over what is kept."""
    noise = luck.noise(purpose, step, shape)
    return (noise >= threshold(rate)).double() / (1 - rate)


def trained_alone(configuration, task, train, *, steps, batch_size, seed):
    """A network and the layers' weights after so many steps."""
    luck, (x, y) = Luck(seed), train
    x = (x - x.mean(dim=0)) / x.std(dim=0, unbiased=False) if configuration.standardise else x
    net = network(configuration, x.shape[-1], task.num_outputs, luck)
    share = torch.zeros(x.shape[1], dtype=torch.float64, requires_grad=True)
    assert configuration.bias == "penalised"
    parameters = [*net.parameters(), *([share] if configuration.layer == "sum" else [])]
    optimizer = torch.optim.Adam(
        parameters, lr=configuration.learning_rate, weight_decay=configuration.weight_decay
    )
    for step in range(1, steps + 1):
        rows = luck.batch(step, len(x), batch_size)
        batch, wanted = x[rows], y[rows]
        if configuration.layer == "sum":
            batch = (batch * share.softmax(dim=0)[:, None]).sum(dim=1)
        elif configuration.layer is not None:
            batch = batch[:, configuration.layer]
        shape = (len(rows), batch.shape[1])
        batch = batch * mask(configuration.input_dropout, luck, "input noise", step, shape)
        outputs = batch
        for layer in net:
            outputs = layer(outputs)
            if isinstance(layer, nn.ReLU):
                shape = (configuration.hidden_dim, len(rows))
                noise = mask(configuration.dropout, luck, "hidden noise", step, shape)
                outputs = outputs * noise.T
        optimizer.zero_grad()
        loss_of(task, outputs, wanted).backward()
        optimizer.step()
    return net, share


def loss_of(task, outputs, wanted):
    """torch's own losses by the metric of the task."""
    if task.metrics[0] == "roc_auc":
        return F.binary_cross_entropy_with_logits(outputs, wanted)
    if task.metrics[0] == "r2":
        return F.mse_loss(outputs[:, 0], wanted)
    return F.cross_entropy(outputs, wanted)
