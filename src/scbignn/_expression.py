"""Normalisation (arXiv 2312.10310, data preparation); sparse in, sparse out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Protocol

import numpy as np
import scipy.sparse as sp

#: Rows that are in memory at a time of a matrix that is not.
CHUNK_ROWS = 8192


class Rows(Protocol):
    """A matrix of N cells and M genes whose rows are read when they are asked for; a CSR matrix is one, too."""

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""

    def __getitem__(self, rows: np.ndarray | slice) -> sp.csr_matrix:
        """(n, M) float32, canonical."""


class NormalizedRows:
    """Normalised expression that is never in memory as a whole: made anew from its source, a few rows at a time.

    Wherever a method indexes rows of a CSR matrix, or multiplies it by a dense one, it takes this instead.

    Parameters
    ----------
    source
        Expression on a linear scale, no empty row.
    target_sum
        s of the normalisation.
    unit
        Scale rows to length 1.
    """

    def __init__(self, source: Rows, target_sum: float, *, unit: bool) -> None:
        self._source, self._target_sum, self._unit, self.shape = source, target_sum, unit, source.shape

    def __getitem__(self, rows: np.ndarray | slice) -> sp.csr_matrix:
        return normalized(self._source[rows], self._target_sum, unit=self._unit)

    def __matmul__(self, matrix: np.ndarray) -> np.ndarray:
        found = np.empty((self.shape[0], matrix.shape[1]), dtype=np.result_type(np.float32, matrix))
        for start in range(0, len(found), CHUNK_ROWS):
            found[start : start + CHUNK_ROWS] = self[start : start + CHUNK_ROWS] @ matrix
        return found


def chunks(x: sp.csr_matrix | Rows) -> Iterator[sp.csr_matrix]:
    """All rows, in order, a few at a time: sums over them are the same to the bit, wherever the matrix lies."""
    if x.shape[0] <= CHUNK_ROWS and sp.issparse(x):
        yield x
        return
    for start in range(0, x.shape[0], CHUNK_ROWS):
        yield x[start : start + CHUNK_ROWS]


def digest(x: sp.csr_matrix | Rows) -> str:
    """SHA-256 of shape and values of canonical rows, wherever the matrix lies."""
    found = hashlib.sha256(str(x.shape).encode())
    for rows in chunks(x):
        for part in (rows.indptr, rows.indices, rows.data):
            found.update(np.ascontiguousarray(part))
    return found.hexdigest()


def columns(x: sp.csr_matrix | Rows, genes: np.ndarray) -> sp.csr_matrix:
    """Some columns of all rows, in memory, (N, len(genes))."""
    if sp.issparse(x):
        return sp.csr_matrix(x[:, genes])
    lengths, indices, data = [], [], []
    for part in chunks(x):
        part = part[:, genes]
        for found, own in ((lengths, np.diff(part.indptr)), (indices, part.indices), (data, part.data)):
            found.append(own)
    starts = np.concatenate([[0], np.concatenate(lengths).cumsum(dtype=np.int64)])
    for found in (indices, data):  # one after the other, so that only one is in memory twice
        found[:] = [np.concatenate(found)]
    return sp.csr_matrix((data[0], indices[0], starts), shape=(x.shape[0], len(genes)))


def product(x: sp.csr_matrix | Rows, rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Some rows times a dense matrix, (n, F) of its type; no more than a few rows are read at a time."""
    found = np.empty((len(rows), matrix.shape[1]), dtype=matrix.dtype)
    for start in range(0, len(rows), CHUNK_ROWS):
        part = rows[start : start + CHUNK_ROWS]
        found[start : start + len(part)] = x[part] @ matrix
    return found


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
    logs, done = np.empty(x.nnz, dtype=np.float32), 0
    for part in chunks(x):
        total = np.asarray(part.astype(np.float64).sum(1)).ravel()  # a sum's dtype= would add in float32
        per_entry = np.repeat(target_sum / total, np.diff(part.indptr))
        logs[done : done + part.nnz] = np.log1p(part.data * per_entry)
        done += part.nnz
    return sp.csr_matrix((logs, x.indices, x.indptr), shape=x.shape)


def normalized(x: sp.csr_matrix | Rows, target_sum: float, *, unit: bool) -> sp.csr_matrix | NormalizedRows:
    """Normalised expression, with rows of length 1 where `unit`; in memory where `x` is."""
    if not sp.issparse(x):
        return NormalizedRows(x, target_sum, unit=unit)
    x = normalize(x, target_sum)
    return unit_rows(x) if unit else x


def mean_share(x: sp.csr_matrix | Rows) -> np.ndarray:
    """The share of a cell's total that each gene has, averaged over cells; (N, M), no empty row -> (M,) float64."""
    share = np.zeros(x.shape[1])
    for part in chunks(x):
        part = part.astype(np.float64)
        share += (1 / np.asarray(part.sum(1)).ravel()) @ part
    return share / x.shape[0]


def unit_rows(x: sp.csr_matrix) -> sp.csr_matrix:
    """Rows scaled to a Euclidean length of 1; CSR, of the same shape and type. A row of zeros stays."""
    length = np.sqrt(np.concatenate([np.asarray(part.multiply(part).sum(1)).ravel() for part in chunks(x)]))
    scale = np.divide(1, length, out=np.ones_like(length), where=length > 0)
    return scale_rows(x, scale)


def scale_rows(x: sp.csr_matrix, scale: np.ndarray) -> sp.csr_matrix:
    """Each row times its own factor, (n, M) and (n,); CSR, of the same shape and type."""
    per_entry = np.repeat(scale.astype(x.dtype), np.diff(x.indptr))
    per_entry *= x.data
    return sp.csr_matrix((per_entry, x.indices, x.indptr), x.shape)


def mean_and_variance(x: sp.csr_matrix | Rows) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each column, float64."""
    total, square = np.zeros((2, x.shape[1]))
    for part in chunks(x):
        part = part.astype(np.float64)
        total += np.asarray(part.sum(0)).ravel()
        square += np.asarray(part.multiply(part).sum(0)).ravel()
    mean = total / x.shape[0]
    return mean, np.maximum(square / x.shape[0] - mean**2, 0)


def variance_within(x: sp.csr_matrix | Rows, group: np.ndarray, n_groups: int) -> np.ndarray:
    """Variance of each column over the rows of each group, (N,) codes; (G, M) float64. No group is empty."""
    sums, done = np.zeros((2, n_groups, x.shape[1])), 0
    for part in chunks(x):
        own = group[done : done + part.shape[0]]
        members = sp.csr_matrix((np.ones(len(own)), (own, np.arange(len(own)))), shape=(n_groups, len(own)))
        part = part.astype(np.float64)
        for total, power in zip(sums, (part, part.multiply(part)), strict=True):
            total += (members @ power).toarray()
        done += len(own)
    mean, square = sums / np.bincount(group, minlength=n_groups)[:, None]
    return np.maximum(square - mean**2, 0)
