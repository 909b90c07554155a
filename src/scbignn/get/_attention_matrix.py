"""`get.attention_matrix`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from .._keys import AnnotationKeys
from ._gene_importance import gene_importance


def attention_matrix(
    adata: AnnData, *, key: str = "scbignn", n_genes: int | None = 30, sort: bool = True
) -> pd.DataFrame:
    """Attention between the genes that receive most of it, as found by :func:`scbignn.tl.annotate`.

    Parameters
    ----------
    adata
        Annotated data.
    key
        The `key_added` of the run.
    n_genes
        How many genes, of those in :func:`scbignn.get.gene_importance` the first. None: all.
    sort
        Put genes side by side that attend to each other: leaves of a hierarchical clustering (average linkage, optimal
        order) of the logarithm of attention, averaged over both directions. Otherwise the most important gene is first.

    Returns
    -------
    DataFrame of float64, genes x genes: attention of the gene of the row (`source`) to that of the column (`target`),
    averaged over the cells, layers and heads where both are expressed; 0 where they are so in too few cells.

    Raises
    ------
    KeyError
        `adata` holds no such run, or its matrix of attention is gone.
    ValueError
        The run has no attention: it was made with ``n_layers=0``.
    """
    genes = gene_importance(adata, key=key, n_genes=n_genes)["gene"].to_numpy()
    slot = AnnotationKeys(key).attention
    if slot not in adata.varp:
        msg = (
            f"adata.varp has no {slot!r}. tl.annotate without a reference writes it: run "
            "scbignn.tl.annotate(adata, labels_key=...), or pass the key_added of such a run as key."
        )
        raise KeyError(msg)
    genes = genes[adata.var_names.get_indexer(genes) >= 0]
    places = adata.var_names.get_indexer(genes)
    matrix = np.asarray(adata.varp[slot][places][:, places].todense(), dtype=float)
    if not matrix.any():
        msg = (
            f"adata.varp[{slot!r}] holds no attention between these genes. Annotate again with "
            "Config(n_layers=1) or more, or ask for more genes."
        )
        raise ValueError(msg)
    table = pd.DataFrame(matrix, index=pd.Index(genes, name="source"), columns=pd.Index(genes, name="target"))
    if not sort or len(genes) < 3:
        return table
    order = genes[_close_together(matrix)]
    return table.loc[order, order]


def _close_together(matrix: np.ndarray) -> np.ndarray:
    """An order of the rows in which large entries of the mean of both directions are close to the diagonal."""
    weight = (matrix + matrix.T) / 2
    np.fill_diagonal(weight, 0)
    floor = weight[weight > 0].min() if weight.any() else 1.0
    close = np.log(np.maximum(weight, floor))
    distance = close.max() - close
    np.fill_diagonal(distance, 0)
    return leaves_list(linkage(squareform(distance, checks=False), method="average", optimal_ordering=True))
