"""Results out of an AnnData, as tidy DataFrames."""

from ._anchors import anchors
from ._annotation import annotation
from ._audit import audit
from ._calibration import calibration
from ._clusters import clusters
from ._gene_importance import gene_importance
from ._history import history
from ._homophily import homophily
from ._risk_coverage import risk_coverage

__all__ = [
    "anchors",
    "annotation",
    "audit",
    "calibration",
    "clusters",
    "gene_importance",
    "history",
    "homophily",
    "risk_coverage",
]
