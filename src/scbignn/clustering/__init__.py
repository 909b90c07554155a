"""Clustering of cells through anchors (BGFormer, arXiv 2602.07475)."""

from ._anchors import anchor_graph, find_anchors
from ._config import Config
from ._constraints import Constraints, constrained_partition, constraints_of
from ._fit import Clustering, cluster_cells
from ._genes import dispersion_genes
from ._landmarks import Landmarks
from ._losses import clustering_loss, soft_assignment, zinb_loss
from ._model import Assigned, Model, Net, assign
from ._network import Counts
from ._number import best_number, evidence, modularity
from ._scores import Scores, row_sums
from ._spectral import singular_map
from ._stability import jaccard

__all__ = [
    "Assigned",
    "Clustering",
    "Config",
    "Constraints",
    "Counts",
    "Landmarks",
    "Model",
    "Net",
    "Scores",
    "anchor_graph",
    "assign",
    "best_number",
    "cluster_cells",
    "clustering_loss",
    "constrained_partition",
    "constraints_of",
    "dispersion_genes",
    "evidence",
    "find_anchors",
    "jaccard",
    "modularity",
    "row_sums",
    "singular_map",
    "soft_assignment",
    "zinb_loss",
]
