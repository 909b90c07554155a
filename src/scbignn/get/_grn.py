"""`get.grn`."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from .._keys import GrnKeys, is_grn
from ._stored_grn import stored_grn


def grn(adata: AnnData, *, key: str = "sctransnet", known: bool | None = None) -> pd.DataFrame:
    """Links that :func:`scbignn.tl.infer_grn` scored highest, in the form that decoupler takes as `net`.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.
    known
        Return only links that were known (True) or not (False).

    Returns
    -------
    DataFrame
        With the columns `source`, `target`, `weight` (float32, the probability), `known` (bool: the edge was in the table)
        and `rank` (from 1, among all links), highest first; with repeats also `sd` and `frequency`. Of a run with
        `groupby` the tables of all groups, one below the other, with the column `group` in front.

    Raises
    ------
    KeyError
        `adata` holds no such run.
    """
    run = adata.uns.get(key)
    if is_grn(run) and "groups" in run:
        tables = []
        for own, group in run["groups"]["group"].items():
            table = grn(adata, key=own, known=known)
            table.insert(0, "group", str(group))
            tables.append(table)
        return pd.concat(tables, ignore_index=True)
    stored_grn(adata, key)
    keys = GrnKeys(key)
    scores = adata.varp[keys.key].tocoo()
    names = adata.var_names
    table = pd.DataFrame(
        {"source": names[scores.row].astype(str), "target": names[scores.col].astype(str), "weight": scores.data}
    )
    table["known"] = _at(adata.varp[keys.known], scores) > 0
    for column, slot in (("sd", keys.deviation), ("frequency", keys.frequency)):
        if slot in adata.varp:
            table[column] = _at(adata.varp[slot], scores)
    table = table.sort_values("weight", ascending=False, kind="stable", ignore_index=True)
    table.insert(4, "rank", range(1, len(table) + 1))
    return table if known is None else table[table["known"] == known].reset_index(drop=True)


def _at(values: sp.csr_matrix, pairs: sp.coo_matrix) -> np.ndarray:
    """The value of each of n pairs, (n,)."""
    found = sp.csr_matrix(values)[pairs.row, pairs.col] if pairs.nnz else []
    return np.asarray(found, dtype=values.dtype).ravel()
