"""`get.embedding`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData


def embedding(adata: AnnData, basis: str = "umap") -> pd.DataFrame:
    """The first two dimensions of an embedding of the cells.

    Parameters
    ----------
    adata
        Annotated data.
    basis
        Name of the embedding in `adata.obsm`, with or without the ``X_`` before it.

    Returns
    -------
    DataFrame with the index of `adata.obs` and the columns `x` and `y` (float64).

    Raises
    ------
    KeyError
        `adata.obsm` has no such embedding.
    ValueError
        It has fewer than two dimensions.
    """
    name = next((name for name in (basis, f"X_{basis}") if name in adata.obsm), None)
    if name is None:
        mend = "Run sc.tl.umap(adata, neighbors_key='scbignn') first, or pass" if basis == "umap" else "Pass"
        found = ", ".join(map(repr, adata.obsm)) or "none"
        msg = f"adata.obsm has neither {basis!r} nor 'X_{basis}'. {mend} one that is there: {found}."
        raise KeyError(msg)
    values = np.asarray(adata.obsm[name])
    if values.ndim != 2 or values.shape[1] < 2:
        msg = f"adata.obsm[{name!r}] has the shape {values.shape}. Pass a basis with two dimensions or more."
        raise ValueError(msg)
    return pd.DataFrame(values[:, :2].astype(float), index=adata.obs_names, columns=["x", "y"])
