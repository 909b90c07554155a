"""`get.clusters`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from .._keys import clustering_run


def clusters(adata: AnnData, *, key: str = "bgformer") -> pd.DataFrame:
    """A row a cluster, as written by :func:`scbignn.tl.cluster` or :func:`scbignn.tl.predict_clusters`.

    Parameters
    ----------
    adata
        Clustered data.
    key
        The `key_added` of the run.

    Returns
    -------
    DataFrame
        With the columns `cluster` (str), `n_cells`, `share` of all cells, mean `confidence`; where labels were given
        `label`, that of its labelled cells or ""; and `stability`, the mean
        Jaccard index with the most similar cluster of a clustering of half of the cells, where it was measured. Below 0.6 a
        cluster is as good as not found again; above 0.85 it is there whatever cells are drawn (Hennig 2007).

    Raises
    ------
    KeyError
        `adata` holds no such run.
    """
    table = clustering_run(adata.uns, key)["clusters"]
    table = table.rename_axis("cluster").reset_index()
    table.insert(2, "share", table["n_cells"] / table["n_cells"].sum())
    return table
