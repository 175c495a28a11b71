"""draw(seed, purpose, position, j): an integer hash, the only randomness in the data path.

A draw is addressed, not generated: whoever knows the position knows the draw, in any process, on
any device, in any order. Everything is int64 arithmetic that wraps, so numpy arrays and torch
tensors take the same code and give the same bits.
"""

import hashlib
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np

Ints: TypeAlias = Any  # an int64 array or tensor

FEISTEL_ROUNDS = 8


def _signed(x: int) -> int:
    """The int64 with the same 64 bits."""
    return (x & (2**64 - 1)) - ((x & 2**63) << 1)


_GOLDEN = _signed(0x9E3779B97F4A7C15)
_MIX_A = _signed(0xBF58476D1CE4E5B9)
_MIX_B = _signed(0x94D049BB133111EB)


def _shift(x: Ints, bits: int) -> Ints:
    """Logical shift to the right; `>>` alone copies the sign of an int64."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def mix(x: Ints) -> Ints:
    """The finaliser of splitmix64 (Steele et al., 2014): a bijection of 64 bits."""
    with np.errstate(over="ignore"):
        x = (x ^ _shift(x, 30)) * _MIX_A
        x = (x ^ _shift(x, 27)) * _MIX_B
        return x ^ _shift(x, 31)


@lru_cache(maxsize=1024)
def stream_key(seed: int, purpose: str) -> int:
    """An int64 that names one stream of draws."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little", signed=True)


def draw(seed: int, purpose: str, position: Ints, j: Any = 0) -> Ints:
    """64 random bits for each position and `j`, as int64 of the shape they broadcast to."""
    with np.errstate(over="ignore"):
        step = _signed((j + 1) * _GOLDEN) if isinstance(j, int) else (j + 1) * _GOLDEN
        return mix(mix(position + stream_key(seed, purpose)) + step)


def integers(bits: Ints, low: Any, high: Any) -> Ints:
    """Integers of [low, high], both ends included, from random bits; all arguments broadcast."""
    return low + _shift(bits, 1) % (high - low + 1)


def permute(i: np.ndarray, size: int | np.ndarray, key: np.ndarray) -> np.ndarray:
    """Place of element `i` in a permutation of range(size) that `key` names, int64 like `i`.

    A Feistel network over the next even power of two, walked until it lands inside (Black and
    Rogaway, 2002): a bijection without a table, O(1) a draw at any size. `size` and `key` may
    differ from element to element.
    """
    half = np.maximum(1, (_bit_length(np.asarray(size) - 1) + 1) // 2)
    mask = (1 << half) - 1
    x: np.ndarray = _feistel(i, key, half, mask)
    outside = np.flatnonzero(x >= size)
    while len(outside):
        sizes, keys, halves, masks = (_at(outside, a) for a in (size, key, half, mask))
        x[outside] = walked = _feistel(x[outside], keys, halves, masks)
        outside = outside[walked >= sizes]
    return x


def _at(places: np.ndarray, of: int | np.ndarray) -> Ints:
    """Elements at some places of an array, or of what is the same for all."""
    return of[places] if isinstance(of, np.ndarray) and of.ndim else of


def _bit_length(x: np.ndarray) -> np.ndarray:
    """Bits of integers below 2^53: a float's exponent."""
    return np.asarray(np.frexp(x.astype(np.float64))[1], np.int64)


def _feistel(x: np.ndarray, key: np.ndarray, half: np.ndarray, mask: np.ndarray) -> Ints:
    left, right = x >> half, x & mask
    for round_number in range(FEISTEL_ROUNDS):
        left, right = right, left ^ (draw(round_number, "feistel", mix(key) + right) & mask)
    return (left << half) | right
