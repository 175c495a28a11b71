"""Names that are imported when first used, so that `--help` answers at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from shards.errors import InputError


def exports(package: str, where: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose public names live in other modules (PEP 562)."""

    def getattr_(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(where[name]), name)

    return getattr_


def look_up(kind: str, table: Mapping[str, str], name: str) -> Any:
    """What a table of contents (name → "module:attribute") has under a name, or `InputError`."""
    if name not in table:
        raise InputError(f"No {kind} {name!r}; there are {sorted(table)}.")
    module, attribute = table[name].split(":")
    return getattr(import_module(module), attribute)
