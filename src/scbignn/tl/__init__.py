"""Tools: one call each, results in slots of the AnnData."""

from ._annotate import annotate
from ._audit_labels import audit_labels
from ._back_off import back_off
from ._cluster import cluster
from ._cross_validate import cross_validate
from ._fit import fit
from ._fit_clusters import fit_clusters
from ._infer_grn import infer_grn
from ._predict import predict
from ._predict_clusters import predict_clusters

__all__ = [
    "annotate",
    "audit_labels",
    "back_off",
    "cluster",
    "cross_validate",
    "fit",
    "fit_clusters",
    "infer_grn",
    "predict",
    "predict_clusters",
]
