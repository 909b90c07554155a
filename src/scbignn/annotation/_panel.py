"""Which genes enter the gene-level network: those that vary (arXiv 2312.10310), or those that tell the labels apart."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from .._expression import Rows, mean_and_variance


def top_variance_genes(x: sp.csr_matrix | Rows, n_top: int) -> np.ndarray:
    """Columns of the `n_top` largest variances over cells, in ascending order; genes without expression never count.

    Ties go to the gene that comes first.
    """
    mean, variance = mean_and_variance(x)
    ranked = np.argsort(-variance, kind="stable")
    return np.sort(ranked[mean[ranked] > 0][:n_top])


def top_label_genes(x: sp.csr_matrix, y: np.ndarray, n_top: int) -> np.ndarray:
    """Columns that tell each label from all others, the labels taking turns, in ascending order.

    A label ranks the genes by the size of Welch's t between its cells and all other labelled ones. Rare labels thus
    have as many genes as common ones. The variance within a label is estimated as if one more of its cells had shown
    the variance of all, so that a label of a single cell has a ranking too.

    Parameters
    ----------
    x
        Normalised expression, CSR, shape (N, M).
    y
        Label codes, shape (N,); -1 where unlabelled. At least two labels occur.
    n_top
        Number of genes; fewer are returned where fewer are expressed in labelled cells.
    """
    x, y = x[y >= 0].astype(np.float64), y[y >= 0]
    labels, code = np.unique(y, return_inverse=True)
    member = sp.csr_matrix((np.ones(len(y)), (code, np.arange(len(y)))), shape=(len(labels), len(y)))
    size = np.bincount(code)[:, None]
    total, square = (member @ x).toarray(), (member @ x.multiply(x)).toarray()  # (C, M)
    _, variance = mean_and_variance(x)

    def moments(total: np.ndarray, square: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean = total / size
        return mean, (np.maximum(square - size * mean**2, 0) + variance) / (size + 1)

    own_mean, own_variance = moments(total, square, size)
    other_mean, other_variance = moments(total.sum(0) - total, square.sum(0) - square, len(y) - size)
    error = np.sqrt(own_variance / size + other_variance / (len(y) - size))
    t = np.divide(np.abs(own_mean - other_mean), error, out=np.zeros_like(error), where=error > 0)
    expressed = total.sum(0) > 0
    t[:, ~expressed] = -1

    rankings = np.argsort(-t, axis=1, kind="stable")[:, : int(expressed.sum())]
    in_turn = rankings.T.ravel()  # every label's first gene, then every label's second, ...
    _, first = np.unique(in_turn, return_index=True)
    return np.sort(in_turn[np.sort(first)[:n_top]])
