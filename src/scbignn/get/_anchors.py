"""`get.anchors`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from .._keys import ClusterKeys, clustering_run
from ._cluster_names import cluster_names
from ._columns import labels_of
from ._matrix import chunks, matrix_of


def anchors(
    adata: AnnData,
    *,
    key: str = "bgformer",
    anchor_set: int = 0,
    layer: str | None = None,
    labels_key: str | None = None,
) -> AnnData:
    """The anchors of one set as cells of their own: metacells.

    Parameters
    ----------
    adata
        Clustered data, in memory, backed by a file, or with Dask arrays.
    key
        The `key_added` of the run.
    anchor_set
        Number of the set; each covers all cells. With batches it is a set of every batch side by side.
    layer
        Layer to take profiles from, instead of `X`.
    labels_key
        Column of `adata.obs` with labels, to say how pure anchors are.

    Returns
    -------
    AnnData
        Anchors x genes. `X` (float32, dense) is the mean of the cells that are joined to an anchor, by their weights.
        `obs`: `size`, the cells' weights on it, summed, which come to the number of cells over all anchors; `cluster`,
        the one of largest membership, as it is called in ``adata.obs[key]``; with `labels_key` also `label`, the one of
        largest weight, missing where no cell of the anchor has one, and its share, `purity`. `obsm["X_anchor"]`: where it
        lies among components. `var` is that of `adata`.

    Raises
    ------
    KeyError
        `adata` holds no such run, or has no such layer or column.
    ValueError
        There is no such set, or no `X`.
    """
    own = read_anchors(adata, key, anchor_set)
    matrix, table = matrix_of(adata, layer), own.table
    labels = None if labels_key is None else labels_of(adata, labels_key)
    size = table["size"].to_numpy()
    per_anchor = sp.csr_matrix(sp.diags(np.divide(1, size, out=np.zeros_like(size), where=size > 0)) @ own.weights)
    profile = np.zeros((len(table), adata.n_vars))
    for rows, part in chunks(matrix):
        mean = per_anchor[:, rows] @ part
        profile += mean.toarray() if sp.issparse(mean) else mean
    if labels is not None:
        codes, names = labels.cat.codes.to_numpy(), labels.cat.categories
        known = np.flatnonzero(codes >= 0)
        one_hot = sp.csr_matrix((np.ones(len(known)), (known, codes[known])), shape=(adata.n_obs, max(1, len(names))))
        shares = (per_anchor @ one_hot).toarray()
        purity = shares.max(1)
        table["label"] = pd.Categorical.from_codes(np.where(purity > 0, shares.argmax(1), -1), categories=names)
        table["purity"] = purity
    found = AnnData(profile.astype(np.float32), obs=table, var=adata.var.copy())
    found.obsm["X_anchor"] = own.vectors
    return found


class AnchorSet(NamedTuple):
    """The m anchors of one set, and N cells."""

    table: pd.DataFrame
    """`size` and `cluster`, a row an anchor."""
    weights: sp.csr_matrix
    """(m, N); those of a cell sum to 1."""
    vectors: np.ndarray
    """(m, d), where they lie among components."""


def read_anchors(adata: AnnData, key: str, anchor_set: int) -> AnchorSet:
    """One set, for the arguments and errors of :func:`anchors`."""
    stored = clustering_run(adata.uns, key)["anchors"]
    n_sets = int(stored["n_sets"])
    if isinstance(anchor_set, bool) or not isinstance(anchor_set, (int, np.integer)) or not 0 <= anchor_set < n_sets:
        msg = f"anchor_set={anchor_set!r} must be an integer from 0 to {n_sets - 1}. Use anchor_set=0."
        raise ValueError(msg)
    m = len(stored["vectors"]) // n_sets
    own = slice(anchor_set * m, (anchor_set + 1) * m)
    weights = sp.csr_matrix(adata.obsm[ClusterKeys(key).anchors])[:, own].T.tocsr() * n_sets
    size = np.asarray(weights.sum(1, dtype=np.float64)).ravel()
    cluster = cluster_names(adata, key).take(np.asarray(stored["memberships"])[own].argmax(1))
    table = pd.DataFrame({"size": size, "cluster": cluster}, index=[f"anchor_{number}" for number in range(m)])
    return AnchorSet(table, weights, np.asarray(stored["vectors"])[own])
