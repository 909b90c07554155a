"""Homophily of the learned graph and of the one that is had without learning (arXiv 2312.10310, analyses)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..graph import Neighbors, homophily, homophily_per_label


@dataclass(frozen=True)
class Homophily:
    """Share of edges within one label, among labelled cells."""

    learned: float
    """Of the graph of h."""
    raw: float
    """Of the graph, with the same k, of principal components of the normalised expression."""
    learned_per_label: np.ndarray
    """(C,) float64, over the edges that leave the cells of one label."""
    raw_per_label: np.ndarray


def homophily_of(learned: Neighbors, raw: Neighbors, y: np.ndarray, n_labels: int) -> Homophily:
    """Of two graphs over the same N cells; label codes y, -1 where unlabelled."""
    graphs = _edges_from(learned, y >= 0), _edges_from(raw, y >= 0)
    return Homophily(
        *(homophily(graph, y) for graph in graphs), *(homophily_per_label(graph, y, n_labels) for graph in graphs)
    )


def _edges_from(neighbors: Neighbors, cells: np.ndarray) -> sp.csr_matrix:
    """The edges that leave some of the N cells, a mask of shape (N,): (N, N) CSR of ones."""
    n, k = neighbors.indices.shape
    starts = np.concatenate([[0], np.cumsum(k * cells)])
    return sp.csr_matrix((np.ones(starts[-1], dtype=bool), neighbors.indices[cells].ravel(), starts), shape=(n, n))
