"""`get.anchors`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from .._keys import ClusterKeys, clustering_run


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
        Clustered data.
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
        the one of largest membership; with `labels_key` also `label`, the one of largest weight, and its share,
        `purity`. `obsm["X_anchor"]`: where it lies among components. `var` is that of `adata`.

    Raises
    ------
    KeyError
        `adata` holds no such run, or has no such layer or column.
    ValueError
        There is no such set, or `adata` is backed by a file.
    """
    stored = clustering_run(adata.uns, key)["anchors"]
    n_sets = int(stored["n_sets"])
    if isinstance(anchor_set, bool) or not isinstance(anchor_set, (int, np.integer)) or not 0 <= anchor_set < n_sets:
        msg = f"anchor_set={anchor_set!r} must be an integer from 0 to {n_sets - 1}. Use anchor_set=0."
        raise ValueError(msg)
    if layer is not None and layer not in adata.layers:
        msg = f"adata.layers has no {layer!r}. Pass the name of a layer, or layer=None for adata.X."
        raise KeyError(msg)
    if labels_key is not None and labels_key not in adata.obs:
        msg = f"adata.obs has no column {labels_key!r}. Pass one that holds labels as labels_key."
        raise KeyError(msg)
    if adata.isbacked:
        msg = "adata is backed by a file, which this function does not support. Use adata = adata.to_memory() first."
        raise ValueError(msg)
    m = len(stored["vectors"]) // n_sets
    own = slice(anchor_set * m, (anchor_set + 1) * m)
    weights = sp.csr_matrix(adata.obsm[ClusterKeys(key).anchors])[:, own].T.tocsr() * n_sets  # (m, N)
    size = np.asarray(weights.sum(1, dtype=np.float64)).ravel()
    per_anchor = sp.diags(np.divide(1, size, out=np.zeros_like(size), where=size > 0)) @ weights
    matrix = adata.X if layer is None else adata.layers[layer]
    profile = per_anchor @ matrix
    profile = profile.toarray() if sp.issparse(profile) else np.asarray(profile)
    obs = pd.DataFrame(
        {
            "size": size,
            "cluster": pd.Categorical.from_codes(
                np.asarray(stored["memberships"])[own].argmax(1), categories=adata.obs[key].cat.categories
            ),
        },
        index=[f"anchor_{number}" for number in range(m)],
    )
    if labels_key is not None:
        labels = adata.obs[labels_key].astype("category")
        known = labels.cat.codes.to_numpy() >= 0
        shape = (adata.n_obs, len(labels.cat.categories))
        entries = np.ones(known.sum()), (np.flatnonzero(known), labels.cat.codes.to_numpy()[known])
        shares = (per_anchor @ sp.csr_matrix(entries, shape=shape)).toarray()
        obs["label"] = pd.Categorical.from_codes(shares.argmax(1), categories=labels.cat.categories)
        obs["purity"] = shares.max(1)
    found = AnnData(profile.astype(np.float32), obs=obs, var=adata.var.copy())
    found.obsm["X_anchor"] = np.asarray(stored["vectors"])[own]
    return found
