"""The genes of a model among those of the cells that it is to be used on."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from .._adata import ExpressionRows, in_columns
from .._check import gene_names, other_gene_names, some
from .._genes import GeneMatch, check_gene_overlap


def match_genes(reference: np.ndarray, adata: AnnData, gene_symbols: str | None, min_gene_overlap: float) -> GeneMatch:
    """Where the genes of a model or a reference are among those of other cells.

    Raises
    ------
    KeyError
        `gene_symbols` is no column of `adata.var`.
    ValueError
        Too few are there, or names are not unique.
    """
    return check_gene_overlap(
        reference,
        gene_names(adata, gene_symbols),
        min_gene_overlap=min_gene_overlap,
        others=other_gene_names(adata, gene_symbols),
        target="adata.var_names" if gene_symbols is None else f"adata.var[{gene_symbols!r}]",
    )


def model_columns(adata: AnnData, rows: ExpressionRows, match: GeneMatch, cells: slice) -> sp.csr_matrix:
    """Some cells, the columns those of the model.

    Raises
    ------
    ValueError
        Cells have no counts in any of them.
    """
    x = in_columns(rows[cells], match.positions)
    empty = np.flatnonzero(np.diff(x.indptr) == 0)
    if empty.size:
        msg = (
            f"{empty.size} cells have no counts in the genes of the model ({some(adata.obs_names[cells][empty])}). "
            "Remove them: adata = adata[~adata.obs_names.isin([...])].copy()."
        )
        raise ValueError(msg)
    return x
