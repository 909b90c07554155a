"""`get.confidence`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from .._keys import UNKNOWN
from ._annotation import annotation
from ._columns import labels_of

_QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}


def confidence(adata: AnnData, *, groupby: str | None = None, key: str = "scbignn") -> pd.DataFrame:
    """How confident :func:`scbignn.tl.annotate` is in the cells of each group.

    Parameters
    ----------
    adata
        Annotated data.
    groupby
        Column of `adata.obs` to group cells by. Default: the predicted label.
    key
        The `key_added` of the run.

    Returns
    -------
    DataFrame
        A row a category of the column, also those without cells, in their order, with the columns `n_cells` (int64),
        quantiles of the confidence `q05`, `q25`, `median`, `q75` and `q95` (float64, NaN without cells), and `unknown`,
        the share of cells that were rejected (float64).

    Raises
    ------
    KeyError
        `adata` holds no such run, or `adata.obs` has no such column.
    """
    table = annotation(adata, key=key)
    groups = labels_of(adata, key if groupby is None else groupby)
    cells = table["confidence"].astype(float).groupby(groups, observed=False)
    found = pd.DataFrame({"n_cells": cells.count()})
    for name, share in _QUANTILES.items():
        found[name] = cells.quantile(share)
    found["unknown"] = (table["label"] == UNKNOWN).astype(float).groupby(groups, observed=False).mean()
    return found.set_axis(pd.Index(found.index.astype(str), name=groupby or "label"))
