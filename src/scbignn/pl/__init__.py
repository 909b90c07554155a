"""Plots: matplotlib Axes of what `scbignn.get` returns."""

from ._cluster_anchors import cluster_anchors
from ._cluster_bipartite import cluster_bipartite
from ._cluster_embedding import cluster_embedding
from ._cluster_stability import cluster_stability
from ._confidence import confidence
from ._confusion import confusion
from ._gene_attention import gene_attention
from ._gene_importance import gene_importance
from ._gene_importance_venn import gene_importance_venn
from ._grn_network import grn_network
from ._grn_out_degree import grn_out_degree
from ._grn_precision_recall import grn_precision_recall
from ._grn_regulon import grn_regulon
from ._grn_roc import grn_roc
from ._history import history
from ._homophily import homophily
from ._n_neighbors import n_neighbors
from ._reliability import reliability
from ._risk_coverage import risk_coverage
from ._sankey import sankey

__all__ = [
    "cluster_anchors",
    "cluster_bipartite",
    "cluster_embedding",
    "cluster_stability",
    "confidence",
    "confusion",
    "gene_attention",
    "gene_importance",
    "gene_importance_venn",
    "grn_network",
    "grn_out_degree",
    "grn_precision_recall",
    "grn_regulon",
    "grn_roc",
    "history",
    "homophily",
    "n_neighbors",
    "reliability",
    "risk_coverage",
    "sankey",
]
