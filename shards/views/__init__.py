"""VIEWS: what a method sees of a track. One view, one file, one line here."""

from importlib import import_module

from shards.errors import InputError
from shards.views.view import View

VIEWS = {
    "pair": "shards.views.pair:AnchorPositive",  # Meseguer-Brocal et al., 2024
}


def view_class(name: str) -> type[View]:
    """The class of a view by its name."""
    if name not in VIEWS:
        raise InputError(f"No view {name!r}; there are {sorted(VIEWS)}.")
    module, attribute = VIEWS[name].split(":")
    found: type[View] = getattr(import_module(module), attribute)
    return found
