"""The FFT of scipy without scipy.fft around it, which takes longer to load than some tracks do."""

from __future__ import annotations

from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from pathlib import Path

import numpy as np


def rfft_of_scipy() -> Callable[[np.ndarray], np.ndarray]:
    """`scipy.fft.rfft` along the last axis of real [n, window], its very bits."""
    scipy = find_spec("scipy")
    folder = Path((scipy and scipy.origin) or "").parent / "fft/_pocketfft"
    found = PathFinder.find_spec("pypocketfft", [str(folder)])
    if found is None or found.loader is None:  # another version keeps it elsewhere
        from scipy.fft import rfft

        return lambda real: np.asarray(rfft(real))
    pocketfft = module_from_spec(found)
    found.loader.exec_module(pocketfft)
    return lambda real: np.asarray(pocketfft.r2c(real, (-1,), True, 0, None, 1))


rfft = rfft_of_scipy()
