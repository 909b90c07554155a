"""`get.confusion`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from .._keys import UNKNOWN, annotation_run, is_cross_validation
from ._columns import labels_of


def confusion(
    adata: AnnData,
    truth_key: str,
    *,
    key: str = "scbignn",
    unlabeled_category: object = UNKNOWN,
    normalize: bool = False,
    sort: bool = True,
) -> pd.DataFrame:
    """Cells by the label in a column of `obs` and by the label that :func:`scbignn.tl.annotate` predicted.

    Parameters
    ----------
    adata
        Annotated data.
    truth_key
        Column of `adata.obs` with the labels to compare with.
    key
        The `key_added` of the run.
    unlabeled_category
        Cells with this label in `truth_key`, or with none (NaN), are left out. None: only those with none.
    normalize
        Divide each row by its sum; NaN where that is 0.
    sort
        Put labels that are confused with each other side by side: leaves of a hierarchical clustering (average linkage,
        optimal order) of ``1 - (S + S.T) / 2``, where S has the shares of each row. Labels without cells come last.
        Otherwise categories of `truth_key` come in their order, then labels that only the prediction has.

    Returns
    -------
    DataFrame
        Rows (`given`) are the categories of `truth_key`, also those without cells, and columns (`predicted`) the labels
        of the run; both in one order, "Unknown" last. int64, or float64 with `normalize`.

    Raises
    ------
    KeyError
        `adata` holds no such run, or `adata.obs` has no such column.
    """
    if not is_cross_validation(adata.uns.get(key)):
        annotation_run(adata.uns, key)
    given, predicted = labels_of(adata, truth_key), labels_of(adata, key)
    rows = [name for name in given.cat.categories if unlabeled_category is None or name != str(unlabeled_category)]
    columns = list(predicted.cat.categories)
    counts = pd.DataFrame(0, index=rows, columns=columns, dtype=np.int64)
    kept = given.isin(rows) & predicted.notna()
    found = pd.crosstab(given[kept].astype(str).to_numpy(), predicted[kept].astype(str).to_numpy())
    counts.loc[found.index, found.columns] = found
    names = [*rows, *(name for name in columns if name not in rows)]
    order = _confused_together(counts.reindex(index=names, columns=names, fill_value=0)) if sort else names
    order = sorted(order, key=lambda name: name == UNKNOWN)
    counts = counts.loc[[name for name in order if name in rows], [name for name in order if name in columns]]
    counts = counts.rename_axis(index="given", columns="predicted")
    if not normalize:
        return counts
    size = counts.sum(axis=1)
    return counts.div(size.where(size > 0), axis=0)


def _confused_together(square: pd.DataFrame) -> list[str]:
    """The labels of a square table of counts, similar ones side by side, those without counts last."""
    used = square.index[((square.sum(axis=0) + square.sum(axis=1)) > 0) & (square.index != UNKNOWN)]
    rest = [name for name in square.index if name not in set(used)]
    if len(used) < 3:
        return [*used, *rest]
    share = square.loc[used, used].to_numpy(dtype=float, copy=True)
    share /= np.maximum(share.sum(axis=1, keepdims=True), 1)
    distance = 1 - (share + share.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), method="average", optimal_ordering=True)
    return [*used[leaves_list(tree)], *rest]
