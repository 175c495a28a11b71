"""Who belongs together: sets that unite."""

from __future__ import annotations


class Forest:
    """Disjoint sets of 0 … n-1, each named by its smallest member."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def root(self, member: int) -> int:
        """Smallest member of the set."""
        parent = self._parent
        while parent[member] != member:
            parent[member] = parent[parent[member]]
            member = parent[member]
        return member

    def unite(self, a: int, b: int) -> None:
        """Make two sets one."""
        low, high = sorted((self.root(a), self.root(b)))
        self._parent[high] = low
