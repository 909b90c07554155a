"""Results out of an AnnData, as tidy DataFrames."""

from ._annotation import annotation
from ._gene_importance import gene_importance
from ._history import history
from ._homophily import homophily

__all__ = ["annotation", "gene_importance", "history", "homophily"]
