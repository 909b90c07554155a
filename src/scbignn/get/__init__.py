"""Results out of an AnnData, as tidy DataFrames."""

from ._annotation import annotation
from ._audit import audit
from ._calibration import calibration
from ._cross_validation import cross_validation
from ._gene_attention import gene_attention
from ._gene_importance import gene_importance
from ._history import history
from ._homophily import homophily
from ._risk_coverage import risk_coverage

__all__ = [
    "annotation",
    "audit",
    "calibration",
    "cross_validation",
    "gene_attention",
    "gene_importance",
    "history",
    "homophily",
    "risk_coverage",
]
