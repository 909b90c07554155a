"""Plots: matplotlib Axes of what `scbignn.get` returns."""

from ._gene_importance import gene_importance
from ._history import history
from ._homophily import homophily

__all__ = ["gene_importance", "history", "homophily"]
