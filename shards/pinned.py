"""CUDA only: a ring's memory registered, and batches that leave it without the processor.

An accelerator copies from registered memory by itself, at the full speed of the bus. Copies run on
a stream of their own, so they do not wait for the work that was queued before them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from shards.ring import Ring

if TYPE_CHECKING:
    import torch

_streams: dict[Any, Any] = {}


def pin_ring(ring: Ring) -> bool:
    """Register the ring's memory until it is closed; False where that cannot be."""
    import torch

    if not torch.cuda.is_available():
        return False
    runtime: Any = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    pointer = ring.clips.ctypes.data
    if int(runtime.cudaHostRegister(pointer, ring.shape.num_bytes, 0)):
        return False
    ring.before_close.append(lambda: runtime.cudaHostUnregister(pointer))
    return True


def to_cuda(arrays: dict[str, np.ndarray], device: torch.device) -> dict[str, torch.Tensor]:
    """Tensors on a CUDA device with copies of the arrays, whole when this returns."""
    import torch

    if device not in _streams:
        _streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream = _streams[device]
    with torch.cuda.stream(stream):
        copied = {
            name: torch.from_numpy(array).to(device, non_blocking=True)
            for name, array in arrays.items()
        }
    for tensor in copied.values():
        tensor.record_stream(torch.cuda.current_stream(device))
    stream.synchronize()  # the copies alone: the arrays may be written to again
    return copied
