"""The matrix of expression, wherever it lies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

#: Rows that are brought into memory at a time of a matrix that is not there.
_CHUNK_ROWS = 8192


def matrix_of(adata: AnnData, layer: str | None) -> Any:
    """`adata.X` or a layer, as it is.

    Raises
    ------
    KeyError
        There is no such layer.
    ValueError
        There is no `X`.
    """
    if layer is not None and layer not in adata.layers:
        names = ", ".join(map(repr, adata.layers)) or "none"
        msg = f"adata.layers has no {layer!r}. It has: {names}. Pass one of them, or layer=None for adata.X."
        raise KeyError(msg)
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        msg = "adata.X is empty. Pass the name of a layer with expression as layer."
        raise ValueError(msg)
    return matrix


def in_memory(part: Any) -> np.ndarray | sp.csr_matrix:
    """A part of such a matrix: dense, or CSR."""
    if hasattr(part, "compute"):
        part = part.compute()
    return sp.csr_matrix(part) if sp.issparse(part) else np.asarray(part)


def chunks(matrix: Any) -> Iterator[tuple[slice, np.ndarray | sp.csr_matrix]]:
    """All rows in order, a few at a time."""
    for start in range(0, matrix.shape[0], _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        yield rows, in_memory(matrix[rows])
