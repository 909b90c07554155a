"""Homophily of the learned graph and of the one that is had without learning (arXiv 2312.10310, analyses)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
    graphs = learned.distance_matrix(), raw.distance_matrix()
    return Homophily(
        *(homophily(graph, y) for graph in graphs), *(homophily_per_label(graph, y, n_labels) for graph in graphs)
    )
