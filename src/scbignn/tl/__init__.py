"""Tools: one call each, results in slots of the AnnData."""

from ._annotate import annotate
from ._fit import fit
from ._predict import predict

__all__ = ["annotate", "fit", "predict"]
