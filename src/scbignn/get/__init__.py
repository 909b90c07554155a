"""Results out of an AnnData, as tidy DataFrames."""

from ._annotation import annotation
from ._audit import audit
from ._calibration import calibration
from ._gene_importance import gene_importance
from ._grn import grn
from ._grn_curves import grn_curves
from ._grn_metrics import grn_metrics
from ._history import history
from ._homophily import homophily
from ._risk_coverage import risk_coverage

__all__ = [
    "annotation",
    "audit",
    "calibration",
    "gene_importance",
    "grn",
    "grn_curves",
    "grn_metrics",
    "history",
    "homophily",
    "risk_coverage",
]
