"""Which cells are neighbours: the nearest, or as the config may want it, the nearest of every batch alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from ..graph import Neighbors, balanced_among, balanced_neighbors, nearest_among, nearest_neighbors
from ._config import Config


def cell_neighbors(
    points: np.ndarray,
    k: int,
    config: Config,
    batches: np.ndarray | None,
    *,
    device: torch.device,
    seed: int = 0,
    transformer: Any = None,
) -> Neighbors:
    """k neighbours of each cell among the others; points (N, F), batch codes (N,) or None.

    A balanced graph is searched by the method that is built in, whatever the `transformer`.
    """
    if batches is None or not config.balanced_graph:
        return nearest_neighbors(points, k, device=device, seed=seed, transformer=transformer)
    return balanced_neighbors(points, batches, k, device=device)


def reference_neighbors(
    queries: np.ndarray, points: np.ndarray, k: int, config: Config, batches: np.ndarray | None, *, device: torch.device
) -> Neighbors:
    """k neighbours of each query among the cells of a reference; (n, F), (N, F), batch codes (N,) or None."""
    if batches is None or not config.balanced_graph:
        return nearest_among(queries, points, k, device=device)
    return balanced_among(queries, points, batches, k, device=device)


def cell_graph(neighbors: Neighbors, config: Config) -> sp.csr_matrix:
    """A_c as the config wants it: directed kNN edges, also reversed, with self-loops."""
    graph = neighbors.adjacency()
    if config.symmetric_graph:
        graph = graph.maximum(graph.T).tocsr()
    if config.self_loops:
        graph = (graph + sp.eye_array(graph.shape[0], dtype=graph.dtype)).tocsr()
    return graph
