"""Results out of an AnnData, as tidy DataFrames."""

from ._anchors import anchors
from ._annotation import annotation
from ._attention_matrix import attention_matrix
from ._audit import audit
from ._calibration import calibration
from ._clusters import clusters
from ._confidence import confidence
from ._confusion import confusion
from ._cross_validation import cross_validation
from ._embedding import embedding
from ._gene_attention import gene_attention
from ._gene_importance import gene_importance
from ._grn import grn
from ._grn_curves import grn_curves
from ._grn_metrics import grn_metrics
from ._grn_regulon import grn_regulon
from ._history import history
from ._homophily import homophily
from ._importance_stability import importance_stability
from ._label_colors import label_colors
from ._risk_coverage import risk_coverage
from ._top_genes import top_genes

__all__ = [
    "anchors",
    "annotation",
    "attention_matrix",
    "audit",
    "calibration",
    "clusters",
    "confidence",
    "confusion",
    "cross_validation",
    "embedding",
    "gene_attention",
    "gene_importance",
    "grn",
    "grn_curves",
    "grn_metrics",
    "grn_regulon",
    "history",
    "homophily",
    "importance_stability",
    "label_colors",
    "risk_coverage",
    "top_genes",
]
