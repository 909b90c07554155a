"""Columns of labels in `obs`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData
from natsort import natsorted


def labels_of(adata: AnnData, column: str) -> pd.Series:
    """`adata.obs[column]` as a categorical of str: its own categories in their order, or its values in natural order.

    Raises
    ------
    KeyError
        There is no such column.
    """
    if column not in adata.obs:
        names = ", ".join(map(repr, adata.obs.columns[:20]))
        msg = f"adata.obs has no column {column!r}. Pass the name of one that it has: {names}."
        raise KeyError(msg)
    values = adata.obs[column]
    if not isinstance(values.dtype, pd.CategoricalDtype):
        texts = values.where(values.isna(), values.astype(str))
        return texts.astype(pd.CategoricalDtype(natsorted(texts.dropna().unique())))
    names = [str(name) for name in values.cat.categories]
    return pd.Series(pd.Categorical.from_codes(values.cat.codes, categories=names), index=values.index, name=column)
