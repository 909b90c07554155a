"""`get.grn_regulon`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from ._columns import labels_of
from ._grn import grn
from ._matrix import in_memory, matrix_of
from ._stored_grn import stored_grn

_N_BINS = 20


def grn_regulon(
    adata: AnnData,
    tf: str,
    *,
    groupby: str | None = None,
    n_targets: int = 25,
    layer: str | None = None,
    key: str = "sctransnet",
) -> pd.DataFrame:
    """Expression of a TF and of its highest targets, in groups of cells.

    Parameters
    ----------
    adata
        Annotated data.
    tf
        Name of a TF that has links in :func:`scbignn.get.grn`.
    groupby
        Column of `obs` with groups. Default: 20 groups of as many cells, by the expression of the TF.
    n_targets
        How many targets, the highest first.
    layer
        Layer to take expression from instead of `X`; on a log scale it says most.
    key
        The `key_added` of the run.

    Returns
    -------
    DataFrame
        Genes x groups: the mean over the cells of a group, less the mean over all cells, in standard deviations of the
        gene over cells; 0 for a gene that does not vary. The first row is the TF.

    Raises
    ------
    KeyError
        `adata` holds no such run, column or layer, or the run is of groups.
    ValueError
        The TF has no link among those kept, `groupby` no value, or `adata` no `X`.
    """
    stored_grn(adata, key)
    table = grn(adata, key=key)
    own = table[table["source"] == tf]
    if own.empty:
        having = ", ".join(map(repr, table["source"].unique()[:10]))
        msg = f"tf={tf!r} has no link among those kept. TFs with links: {having}. Pass one of them."
        raise ValueError(msg)
    genes = [tf, *own["target"].head(n_targets)]
    values = in_memory(matrix_of(adata[:, genes], layer))
    values = np.asarray(values.toarray() if sp.issparse(values) else values, dtype=np.float64)
    deviation = values.std(0)
    z = np.where(deviation > 0, (values - values.mean(0)) / np.where(deviation > 0, deviation, 1), 0)
    if groupby is None:
        order = np.argsort(values[:, 0], kind="stable")
        bins = np.array_split(order, min(_N_BINS, len(order)))
        return pd.DataFrame({number: z[cells].mean(0) for number, cells in enumerate(bins, 1)}, index=genes)
    labels = labels_of(adata, groupby)
    if labels.isna().all():
        msg = f"adata.obs[{groupby!r}] has no value. Pass a column that says which group cells are in as groupby."
        raise ValueError(msg)
    codes = labels.cat.codes.to_numpy()
    groups = {name: z[codes == code] for code, name in enumerate(labels.cat.categories) if (codes == code).any()}
    return pd.DataFrame({name: cells.mean(0) for name, cells in groups.items()}, index=genes)
