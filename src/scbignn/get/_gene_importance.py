"""`get.gene_importance`."""

from __future__ import annotations

import pandas as pd
from anndata import AnnData

from .._keys import annotation_run


def gene_importance(adata: AnnData, *, key: str = "scbignn", n_genes: int | None = None) -> pd.DataFrame:
    """Genes by the attention they receive in :func:`scbignn.tl.annotate`.

    s_j is the sum over genes i of the attention of i to j, averaged over the cells, layers and heads where both genes
    are expressed (arXiv 2312.10310).

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.
    n_genes
        Return only the first so many.

    Returns
    -------
    DataFrame with the columns `gene`, `score` (float64, s_j) and `rank` (from 1), highest score first.

    Raises
    ------
    KeyError
        `adata` holds no such run.
    """
    scores = annotation_run(adata.uns, key)["gene_importance"]["score"]
    table = pd.DataFrame({"gene": scores.index.astype(str), "score": scores.to_numpy()})
    table["rank"] = range(1, len(table) + 1)
    return table.head(len(table) if n_genes is None else n_genes)
