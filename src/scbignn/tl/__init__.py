"""Tools: one call each, results in slots of the AnnData."""

from ._annotate import annotate

__all__ = ["annotate"]
