"""scBiGNN: a gene-level and a cell-level graph neural network that teach each other (arXiv 2312.10310)."""

from ._anchor import Anchor, Believed, believe, fit_anchor
from ._annotate import Annotation, annotate_cells, choose_genes, raw_neighbors
from ._config import Config
from ._em import Fit, fit
from ._evidence import Evidence, gather_evidence
from ._expression import normalize, unit_rows
from ._homophily import Homophily
from ._importance import gene_importance, mean_attention
from ._model import Model, model_of, read_model
from ._panel import top_label_genes, top_variance_genes
from ._predict import Prediction, Predictor

__all__ = [
    "Anchor",
    "Annotation",
    "Believed",
    "Config",
    "Evidence",
    "Fit",
    "Homophily",
    "Model",
    "Prediction",
    "Predictor",
    "annotate_cells",
    "believe",
    "choose_genes",
    "fit",
    "fit_anchor",
    "gather_evidence",
    "gene_importance",
    "mean_attention",
    "model_of",
    "normalize",
    "raw_neighbors",
    "read_model",
    "top_label_genes",
    "top_variance_genes",
    "unit_rows",
]
