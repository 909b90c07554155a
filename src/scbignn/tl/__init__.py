"""Tools: one call each, results in slots of the AnnData."""

from ._annotate import annotate
from ._audit_labels import audit_labels
from ._back_off import back_off
from ._fit import fit
from ._infer_grn import infer_grn
from ._predict import predict

__all__ = ["annotate", "audit_labels", "back_off", "fit", "infer_grn", "predict"]
