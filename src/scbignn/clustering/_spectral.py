"""Spectral clustering of cells through their anchors: O(n m) where a cell-cell graph would be O(n^2)."""

from __future__ import annotations

import warnings

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from ._scores import draw

#: Singular values below this share of the largest are taken to be zero.
_ZERO = 1e-6
_STARTS = 10


def singular_map(graph: sp.csr_matrix, n_vectors: int) -> np.ndarray:
    """What maps the rows of the graph to its left singular vectors, its columns divided by the root of their sums.

    With B = Z D^-1/2, D the column sums of Z, the left singular vectors of B are U = B V S^-1, and V and S^2 are the
    eigenvectors and eigenvalues of the small B^T B.

    Parameters
    ----------
    graph
        Z, (n, m), rows that sum to 1.
    n_vectors
        K; those beyond the rank of Z are zero.

    Returns
    -------
    T of U = Z T, (m, K) float64; the largest entry of each column is positive.
    """
    total = np.asarray(graph.sum(0, dtype=np.float64)).ravel()
    root = np.divide(1, np.sqrt(total), out=np.zeros_like(total), where=total > 0)
    gram = (graph.T @ graph).toarray().astype(np.float64) * root[:, None] * root
    m, k = len(gram), min(n_vectors, len(gram))
    squares, vectors = scipy.linalg.eigh(gram, subset_by_index=[m - k, m - 1], driver="evx")
    squares, vectors = squares[::-1], vectors[:, ::-1]
    inverse = np.divide(1, np.sqrt(np.abs(squares)), out=np.zeros(k), where=squares > _ZERO**2 * squares[0])
    found = np.zeros((m, n_vectors))
    found[:, :k] = root[:, None] * vectors * inverse
    return found * np.where(found[np.abs(found).argmax(0), np.arange(n_vectors)] < 0, -1, 1)


def embed(graph: sp.csr_matrix, mapping: np.ndarray) -> np.ndarray:
    """Rows of Z T, each scaled to length 1, (n, K) float32; a row of zeros stays."""
    found = np.asarray(graph @ mapping)
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.divide(found, length, out=np.zeros_like(found), where=length > 0).astype(np.float32)


def partition(embedding: np.ndarray, n_clusters: int, rng: np.random.Generator, *, max_cells: int) -> np.ndarray:
    """Clusters by k-means of the rows, its centres from at most `max_cells` of them; (n,) int64."""
    drawn = draw(len(embedding), max_cells, rng)
    method = KMeans(n_clusters, n_init=_STARTS, random_state=int(rng.integers(2**31)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters: fewer are found
        method.fit(embedding[drawn])
    return method.predict(embedding).astype(np.int64)


def votes(graph: sp.csr_matrix, labels: np.ndarray, n_clusters: int) -> np.ndarray:
    """Of the weight that joins cells to an anchor, the share of each cluster.

    Parameters
    ----------
    graph
        Z, (n, m).
    labels
        (n,) int, within 0 .. K - 1.
    n_clusters
        K.

    Returns
    -------
    (m, K) float32; rows sum to 1, or are even where no cell is joined to the anchor.
    """
    member = sp.csr_matrix((np.ones(len(labels)), (np.arange(len(labels)), labels)), shape=(len(labels), n_clusters))
    weight = (graph.T @ member).toarray()
    total = weight.sum(1, keepdims=True)
    even = np.full_like(weight, 1 / n_clusters)
    return np.divide(weight, total, out=even, where=total > 0).astype(np.float32)


def by_size(labels: np.ndarray) -> tuple[np.ndarray, int]:
    """Clusters numbered anew, the largest first, of equal ones the one that comes first; and how many have a cell."""
    found, first, inverse, size = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    rank = np.empty(len(found), dtype=np.int64)
    rank[np.lexsort((first, -size))] = np.arange(len(found))
    return rank[inverse], len(found)
