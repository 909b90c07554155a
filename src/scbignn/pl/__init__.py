"""Plots: matplotlib Axes of what `scbignn.get` returns."""

from ._gene_importance import gene_importance
from ._grn_network import grn_network
from ._grn_precision_recall import grn_precision_recall
from ._history import history
from ._homophily import homophily
from ._reliability import reliability
from ._risk_coverage import risk_coverage

__all__ = [
    "gene_importance",
    "grn_network",
    "grn_precision_recall",
    "history",
    "homophily",
    "reliability",
    "risk_coverage",
]
