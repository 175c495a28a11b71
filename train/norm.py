"""One BatchNorm whose statistics are those of the global batch, on any backend and any device.

torch's SyncBatchNorm refuses the CPU, so what it computes could not be tested there. This one
all-reduces count, sum and sum of squares with gradients: n processes equal one.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.distributed import all_reduce, world_size


class BatchNorm(nn.Module):
    """Normalisation of [B, C, …] by the moments of the global batch (Ioffe and Szegedy, 2015).

    Computes in float32 whatever the autocast. The running variance is the unbiased one, as
    torch's is.

    Args:
        num_features: Channels C.
        eps: Added to the variance.
        momentum: Weight of the batch in the running statistics.
        affine: Learn a scale and a shift a channel.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(
        self,
        num_features: int,
        *,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = True,
    ) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Normalised [B, C, …], in the type of `x`."""
        if not self.training:
            return F.batch_norm(
                x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        if world_size() == 1:
            self._require_two(x.numel() // x.shape[1])
            return F.batch_norm(
                x,
                self.running_mean,
                self.running_var,
                self.weight,
                self.bias,
                training=True,
                momentum=self.momentum,
                eps=self.eps,
            )
        return self._global(x)

    def _global(self, x: Tensor) -> Tensor:
        """The same over all processes. Two passes: mean first, for squares that do not cancel."""
        with torch.autocast(x.device.type, enabled=False):
            wide = x if x.dtype is torch.float64 else x.float()
            axes = [0, *range(2, x.ndim)]
            shape = [1, -1] + [1] * (x.ndim - 2)
            local = wide.new_tensor([x.numel() // x.shape[1]])
            total = all_reduce(torch.cat([wide.sum(axes), local]))
            count = total[-1].detach()
            self._require_two(int(count))
            mean = total[:-1] / count
            centred = wide - mean.view(shape)
            var = all_reduce(centred.square().sum(axes)) / count
            out = centred * torch.rsqrt(var + self.eps).view(shape)
            if self.weight is not None and self.bias is not None:
                out = out * self.weight.view(shape) + self.bias.view(shape)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * count / (count - 1), self.momentum)
        return out.to(x.dtype)

    def _require_two(self, count: int) -> None:
        if count < 2:
            raise ValueError("Batch statistics want at least 2 values a channel, got 1.")
