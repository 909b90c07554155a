"""Symmetric edge weights for layouts and communities, as `scanpy.pp.neighbors` makes them."""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp

from ._knn import Neighbors

#: Halvings of the bracket around a cell's scale: beyond float32.
_N_HALVINGS = 30
#: A cell's scale is at least this share of its mean distance, so that cells at one place do not share a scale of 0.
_SMALLEST_SCALE = 1e-3
_BLOCK_ROWS = 16_384


def connectivities(neighbors: Neighbors) -> sp.csr_matrix:
    """UMAP's fuzzy simplicial set of a kNN graph (McInnes et al., arXiv 1802.03426, Algorithms 2 and 3).

    Cell i is as sure of its neighbour j as a = exp(-max(0, d_ij - rho_i) / sigma_i), where rho_i is the distance to the
    nearest other place and sigma_i makes the row sum to log2(k + 1). An edge weighs what either of two cells says of
    it: a + a' - a a'. The same to float32 as umap-learn, whose kernels take seconds to compile in each process.

    Returns
    -------
    CSR float32, symmetric, shape (n, n), weights within (0, 1].
    """
    sure = neighbors.distance_matrix()
    n, k = neighbors.indices.shape
    distances = sure.data.reshape(n, k)
    everyone = float(distances.mean(dtype=np.float64)) * k / (k + 1)  # umap counts the cell itself, at distance 0
    blocks = [_weights(distances[at : at + _BLOCK_ROWS], everyone) for at in range(0, n, _BLOCK_ROWS)]
    sure.data = np.concatenate(blocks).ravel()
    back = sure.T.tocsr()
    return sp.csr_matrix(sure + back - sure.multiply(back))


def _weights(distances: np.ndarray, mean_distance: float) -> np.ndarray:
    """a of each neighbour, in any order: (b, k) distances -> (b, k) float32."""
    k = distances.shape[1]
    distances = distances.astype(np.float64)
    nearest = np.where(distances > 0, distances, np.inf).min(1, initial=np.inf)
    nearest[np.isinf(nearest)] = 0
    beyond = np.maximum(distances - nearest[:, None], 0)
    # Where a row holds nothing but k times its largest term, that term is log2(k + 1) / k: no scale is larger.
    target = math.log2(k + 1)
    high = beyond.max(1) / math.log(k / target) if k > 1 else np.ones(len(distances))
    low = np.zeros_like(high)
    for _ in range(_N_HALVINGS):
        middle = np.maximum((low + high) / 2, np.finfo(float).tiny)
        too_sure = np.exp(-beyond / middle[:, None]).sum(1) > target
        low, high = np.where(too_sure, low, middle), np.where(too_sure, middle, high)
    own_mean = distances.mean(1) * k / (k + 1)
    scale = np.maximum((low + high) / 2, _SMALLEST_SCALE * np.where(nearest > 0, own_mean, mean_distance))
    return np.exp(-beyond / np.maximum(scale, np.finfo(float).tiny)[:, None]).astype(np.float32)
