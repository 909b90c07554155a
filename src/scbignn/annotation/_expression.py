"""Normalisation and gene selection (arXiv 2312.10310, data preparation); sparse in, sparse out."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def normalize(x: sp.csr_matrix, target_sum: float) -> sp.csr_matrix:
    """x~_ij = log(1 + s x_ij / sum_m x_im), natural logarithm, Eq. 1 with s = `target_sum`.

    Parameters
    ----------
    x
        Counts, or any positive multiple of them in each cell; CSR, shape (N, M), no empty row.
    target_sum
        s.

    Returns
    -------
    CSR float32, shape (N, M).
    """
    total = np.asarray(x.astype(np.float64).sum(1)).ravel()  # a sum's dtype= would add in float32 and convert later
    per_entry = np.repeat(target_sum / total, np.diff(x.indptr))
    return sp.csr_matrix((np.log1p(x.data * per_entry).astype(np.float32), x.indices, x.indptr), shape=x.shape)


def top_variance_genes(x: sp.csr_matrix, n_top: int) -> np.ndarray:
    """Columns of the `n_top` largest variances over cells, in ascending order; genes without expression never count.

    Ties go to the gene that comes first.
    """
    mean, variance = mean_and_variance(x)
    ranked = np.argsort(-variance, kind="stable")
    return np.sort(ranked[mean[ranked] > 0][:n_top])


def mean_and_variance(x: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each column, float64."""
    x = x.astype(np.float64)
    mean = np.asarray(x.mean(0)).ravel()
    square = np.asarray(x.multiply(x).mean(0)).ravel()
    return mean, np.maximum(square - mean**2, 0)
