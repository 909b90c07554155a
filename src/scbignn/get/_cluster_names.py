"""The clusters of a run, as they are called now."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData

from .._keys import ClusterKeys, clustering_run
from .._labels import UNKNOWN_COLOR
from ._columns import labels_of
from ._label_colors import label_colors


def cluster_names(adata: AnnData, key: str) -> pd.Categorical:
    """What each cluster of a run is called in `adata.obs`, in the order of the run.

    That is how most of its cells are called, as far as they are there: clusters may since have got other names, been joined,
    or put in another order. One without cells keeps its own name. Categories are those of the column, in their order, and
    then the clusters without cells.

    Raises
    ------
    KeyError
        `adata` holds no such run, or no such column.
    """
    own = [str(name) for name in clustering_run(adata.uns, key)["clusters"].index]
    labels = labels_of(adata, key)
    called, codes = list(labels.cat.categories), labels.cat.codes.to_numpy()
    found = np.zeros((len(own), len(called)), dtype=np.int64)
    known = codes >= 0
    np.add.at(found, (np.asarray(adata.obsm[ClusterKeys(key).memberships]).argmax(1)[known], codes[known]), 1)
    names = []
    for name, counts in zip(own, found, strict=True):
        alone = f"{name} (no cells)" if name in called else name
        names.append(called[counts.argmax()] if counts.any() else alone)
    return pd.Categorical(names, categories=[*called, *(name for name in names if name not in called)])


def cluster_colors(adata: AnnData, key: str, names: pd.Index) -> pd.Series:
    """The colour of each name, as :func:`scbignn.get.label_colors` has it; grey for a cluster without cells."""
    return label_colors(adata, key).reindex(names, fill_value=UNKNOWN_COLOR)
