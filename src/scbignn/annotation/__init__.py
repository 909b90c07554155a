"""scBiGNN: a gene-level and a cell-level graph neural network that teach each other (arXiv 2312.10310)."""

from ._annotate import Annotation, Homophily, annotate_cells, raw_neighbors
from ._config import Config
from ._em import Fit, fit
from ._expression import normalize, top_variance_genes
from ._importance import gene_importance, mean_attention

__all__ = [
    "Annotation",
    "Config",
    "Fit",
    "Homophily",
    "annotate_cells",
    "fit",
    "gene_importance",
    "mean_attention",
    "normalize",
    "raw_neighbors",
    "top_variance_genes",
]
