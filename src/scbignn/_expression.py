"""Normalisation (arXiv 2312.10310, data preparation); sparse in, sparse out."""

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


def mean_share(x: sp.csr_matrix) -> np.ndarray:
    """The share of a cell's total that each gene has, averaged over cells; (N, M), no empty row -> (M,) float64."""
    total = np.asarray(x.astype(np.float64).sum(1)).ravel()
    return np.asarray((1 / total) @ x.astype(np.float64)).ravel() / x.shape[0]


def unit_rows(x: sp.csr_matrix) -> sp.csr_matrix:
    """Rows scaled to a Euclidean length of 1; CSR, of the same shape and type. A row of zeros stays."""
    length = np.sqrt(np.asarray(x.multiply(x).sum(1)).ravel())
    scale = np.divide(1, length, out=np.ones_like(length), where=length > 0)
    return scale_rows(x, scale)


def scale_rows(x: sp.csr_matrix, scale: np.ndarray) -> sp.csr_matrix:
    """Each row times its own factor, (n, M) and (n,); CSR, of the same shape and type."""
    return sp.csr_matrix((x.data * np.repeat(scale, np.diff(x.indptr)).astype(x.dtype), x.indices, x.indptr), x.shape)


def mean_and_variance(x: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each column, float64."""
    x = x.astype(np.float64)
    mean = np.asarray(x.mean(0)).ravel()
    square = np.asarray(x.multiply(x).mean(0)).ravel()
    return mean, np.maximum(square - mean**2, 0)
