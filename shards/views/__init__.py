"""VIEWS: what a method sees of a track. One view, one file, one line here."""

from shards.lazy import look_up
from shards.views.view import View

VIEWS = {
    "clip": "shards.views.clip:Clip",  # one clip: fine-tuning, masked prediction
    "pair": "shards.views.pair:AnchorPositive",  # Meseguer-Brocal et al., 2024
    "hierarchical": "shards.views.hierarchical:HierarchicalCrops",  # MART
}


def view_class(name: str) -> type[View]:
    """The class of a view by its name."""
    found: type[View] = look_up("view", VIEWS, name)
    return found
