"""Plots: matplotlib Axes of what `scbignn.get` returns."""

from ._cluster_anchors import cluster_anchors
from ._cluster_embedding import cluster_embedding
from ._cluster_stability import cluster_stability
from ._gene_importance import gene_importance
from ._history import history
from ._homophily import homophily
from ._reliability import reliability
from ._risk_coverage import risk_coverage

__all__ = [
    "cluster_anchors",
    "cluster_embedding",
    "cluster_stability",
    "gene_importance",
    "history",
    "homophily",
    "reliability",
    "risk_coverage",
]
