"""The clusters of cells, beside those that a run knows."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from .._keys import ClusterKeys, clustering_run
from .._labels import UNKNOWN_COLOR
from ._columns import labels_of
from ._label_colors import label_colors


def cluster_labels(adata: AnnData, key: str) -> pd.Series:
    """Cluster of each cell, categorical, with all clusters of the run as categories in the order of the run.

    Cells may have been left out, and clusters joined or put in another order: they are known by name. All of them may have
    got other names, too: then they are known by place.

    Raises
    ------
    KeyError
        `adata` holds no such run, or no such column.
    ValueError
        The clusters of the column are not those of the run.
    """
    names = [str(name) for name in clustering_run(adata.uns, key)["clusters"].index]
    labels = labels_of(adata, key)
    found = list(labels.cat.categories)
    if set(found) <= set(names):
        return labels.cat.set_categories(names)
    if len(found) == len(names):
        return labels
    others = ", ".join(repr(name) for name in found if name not in names)
    msg = (
        f"adata.obs[{key!r}] has the clusters {others}, which adata.uns[{key!r}] does not know: they were renamed, and some "
        "joined or left out. Keep such names in another column, and take the run's own back: "
        f"adata.obs[{key!r}] = adata.obsm[{ClusterKeys(key).memberships!r}].idxmax(axis=1).astype('category')."
    )
    raise ValueError(msg)


def cluster_colors(adata: AnnData, key: str) -> pd.Series:
    """The colour of each cluster of the run, as :func:`scbignn.get.label_colors` has it; grey where no cell has it."""
    return label_colors(adata, key).reindex(cluster_labels(adata, key).cat.categories, fill_value=UNKNOWN_COLOR)
