"""Columns of labels in `obs`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData
from natsort import natsorted

from .._labels import label_text


def labels_of(adata: AnnData, column: str) -> pd.Series:
    """`adata.obs[column]` as a categorical of str: its own categories in their order, or its values in natural order.

    Raises
    ------
    KeyError
        There is no such column.
    ValueError
        There are several.
    """
    if column not in adata.obs:
        names = ", ".join(map(repr, adata.obs.columns[:20]))
        msg = f"adata.obs has no column {column!r}. Pass the name of one that it has: {names}."
        raise KeyError(msg)
    values = adata.obs[column]
    if isinstance(values, pd.DataFrame):
        msg = f"adata.obs has {values.shape[1]} columns named {column!r}. Rename all but one."
        raise ValueError(msg)
    texts = values.astype(object).map(label_text, na_action="ignore")
    if isinstance(values.dtype, pd.CategoricalDtype):
        names = list(dict.fromkeys(label_text(name) for name in values.cat.categories))
    else:
        names = natsorted(texts.dropna().unique())
    return pd.Series(pd.Categorical(texts, categories=names), index=values.index, name=column)
