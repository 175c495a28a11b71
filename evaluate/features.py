"""Feature: what is taken from one forward pass and kept."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Feature:
    """A pool's vector, or every layer averaged over its true tokens.

    Args:
        pool: A name in the encoder's pools; "" is the default pool.
        layers: Instead of a pool: every layer, mean over true tokens, [K, D].
    """

    pool: str = ""
    layers: bool = False

    @property
    def name(self) -> str:
        """The pool's name, "default" or "layers"."""
        return "layers" if self.layers else self.pool or "default"
