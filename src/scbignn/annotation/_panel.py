"""Which genes enter the gene-level network: those that vary (arXiv 2312.10310), or those that tell the labels apart."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from .._expression import Rows, mean_and_variance, variance_within


def top_variance_genes(x: sp.csr_matrix | Rows, n_top: int, batches: np.ndarray | None = None) -> np.ndarray:
    """Columns of the `n_top` largest variances over cells, in ascending order; genes without expression never count.

    With batches, codes of shape (N,), it is the variance within them that counts, averaged over cells. Ties go to the
    gene that comes first.
    """
    mean, variance = mean_and_variance(x)
    if batches is not None:
        codes, n_cells = np.unique(batches, return_counts=True)
        variance = np.average(variance_within(x, np.searchsorted(codes, batches), len(codes)), axis=0, weights=n_cells)
    ranked = np.argsort(-variance, kind="stable")
    return np.sort(ranked[mean[ranked] > 0][:n_top])


def top_label_genes(x: sp.csr_matrix, y: np.ndarray, n_top: int, batches: np.ndarray | None = None) -> np.ndarray:
    """Columns that tell each label from all others, the labels taking turns, in ascending order.

    A label ranks the genes by the size of Welch's t between its cells and all other labelled ones. Rare labels thus
    have as many genes as common ones. The variance within a label is estimated as if one more of its cells had shown
    the variance of all, so that a label of a single cell has a ranking too.

    With batches t is taken within each, and summed over those that have the label and another one, signs and all
    (Stouffer's method): a gene that differs between batches, and not between labels, has no part. A label that no such
    batch has is ranked over all cells.

    Parameters
    ----------
    x
        Normalised expression, CSR, shape (N, M).
    y
        Label codes, shape (N,); -1 where unlabelled. At least two labels occur.
    n_top
        Number of genes; fewer are returned where fewer are expressed in labelled cells.
    batches
        Batch codes, shape (N,).
    """
    known = y >= 0
    x, y = x[known].astype(np.float64), y[known]
    labels, code = np.unique(y, return_inverse=True)
    t = _welch(x, code, len(labels))
    if batches is not None:
        own = [batches[known] == batch for batch in np.unique(batches[known])]
        within = sum(_welch(x[cells], code[cells], len(labels)) for cells in own if len(np.unique(code[cells])) > 1)
        t = np.where(np.any(within, axis=1, keepdims=True), within, t) if np.ndim(within) else t
    t = np.abs(t)
    expressed = np.asarray(x.sum(0)).ravel() > 0
    t[:, ~expressed] = -1

    rankings = np.argsort(-t, axis=1, kind="stable")[:, : int(expressed.sum())]
    in_turn = rankings.T.ravel()  # every label's first gene, then every label's second, ...
    _, first = np.unique(in_turn, return_index=True)
    return np.sort(in_turn[np.sort(first)[:n_top]])


def _welch(x: sp.csr_matrix, code: np.ndarray, n_labels: int) -> np.ndarray:
    """Welch's t of each label's cells against all others, gene by gene, (C, M); 0 for a label without cells."""
    member = sp.csr_matrix((np.ones(len(code)), (code, np.arange(len(code)))), shape=(n_labels, len(code)))
    size = np.bincount(code, minlength=n_labels)[:, None]
    total, square = (member @ x).toarray(), (member @ x.multiply(x)).toarray()  # (C, M)
    _, variance = mean_and_variance(x)

    def moments(total: np.ndarray, square: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = total / np.maximum(size, 1)
        return mean, (np.maximum(square - size * mean**2, 0) + variance) / (size + 1)

    own_mean, own_variance = moments(total, square, size)
    other_mean, other_variance = moments(total.sum(0) - total, square.sum(0) - square, len(code) - size)
    error = np.sqrt(own_variance / np.maximum(size, 1) + other_variance / np.maximum(len(code) - size, 1))
    t = np.divide(own_mean - other_mean, error, out=np.zeros_like(error), where=error > 0)
    return np.where(size > 0, t, 0)
