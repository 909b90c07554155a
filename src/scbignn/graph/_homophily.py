"""How often an edge of a cell graph joins two cells of one label."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def homophily(adjacency: sp.spmatrix | sp.sparray, labels: np.ndarray) -> float:
    """Homophily ratio of a directed graph: intra-class edges / all edges (scBiGNN, arXiv 2312.10310, analyses).

    Parameters
    ----------
    adjacency
        Shape (n, n); every stored entry is an edge, whatever its value.
    labels
        Integer codes, shape (n,). Edges with a negative code at either end are left out.

    Returns
    -------
    The ratio, or NaN where no edge has labels at both ends.
    """
    source, target = _labelled_edges(adjacency, labels)
    return float(np.mean(source == target)) if source.size else float("nan")


def homophily_per_label(adjacency: sp.spmatrix | sp.sparray, labels: np.ndarray, n_labels: int) -> np.ndarray:
    """Homophily ratio over the edges that leave the cells of each label.

    Parameters as in :func:`homophily`; `n_labels` is the number of codes. Returns float64, shape (n_labels,), NaN for
    a label without edges.
    """
    source, target = _labelled_edges(adjacency, labels)
    edges = np.bincount(source, minlength=n_labels).astype(float)
    same = np.bincount(source[source == target], minlength=n_labels)
    return np.divide(same, edges, out=np.full(n_labels, np.nan), where=edges > 0)


def _labelled_edges(adjacency: sp.spmatrix | sp.sparray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels at both ends of each edge that has two."""
    labelled = np.flatnonzero(labels >= 0)
    edges = sp.csr_matrix(adjacency)[labelled]
    source, target = np.repeat(labels[labelled], np.diff(edges.indptr)), labels[edges.indices]
    known = target >= 0
    return source[known], target[known]
