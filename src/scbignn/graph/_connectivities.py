"""Symmetric edge weights for layouts and communities, as `scanpy.pp.neighbors` makes them."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from ._knn import Neighbors


def connectivities(neighbors: Neighbors) -> sp.csr_matrix:
    """UMAP's fuzzy simplicial set of a kNN graph (McInnes et al., arXiv 1802.03426).

    Returns
    -------
    CSR float32, symmetric, shape (n, n), weights within (0, 1].
    """
    from umap.umap_ import fuzzy_simplicial_set

    n_threads = torch.get_num_threads()
    n, k = neighbors.indices.shape
    # umap counts the cell itself as its first neighbour.
    indices = np.column_stack([np.arange(n), neighbors.indices])
    distances = np.column_stack([np.zeros(n, dtype=np.float32), neighbors.distances])
    try:
        weights, *_ = fuzzy_simplicial_set(
            sp.csr_matrix((n, 1)), k + 1, None, "euclidean", knn_indices=indices, knn_dists=distances
        )
    finally:
        torch.set_num_threads(n_threads)  # numba's first parallel kernel sets OpenMP's threads for the whole process
    return sp.csr_matrix(weights, dtype=np.float32)
