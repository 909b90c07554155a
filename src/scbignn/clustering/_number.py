"""How many clusters: communities of greatest modularity among the anchors."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pandas as pd
import scipy.sparse as sp

#: Resolutions at which communities are counted; the number is that of the middle one.
_RESOLUTIONS = (0.5, 0.7, 1.0, 1.4, 2.0)


def modularity(graph: sp.csr_matrix, labels: np.ndarray, n_clusters: int) -> float:
    """Newman's modularity of a partition in the cell-cell graph Z D^-1 Z^T, which is never built.

    The weight of that graph within clusters, less what is expected by the clusters' sizes; every cell has degree 1.

    Parameters
    ----------
    graph
        Z, (n, m), rows that sum to 1; D holds its column sums.
    labels
        (n,) int, within 0 .. K - 1.
    n_clusters
        K.
    """
    n = len(labels)
    member = sp.csr_matrix((np.ones(n), (np.arange(n), labels)), shape=(n, n_clusters))
    weight = (graph.T @ member).toarray()
    total = weight.sum(1, keepdims=True)
    within = np.divide(weight**2, total, out=np.zeros_like(weight), where=total > 0).sum() / n
    return float(within - np.sum((np.bincount(labels, minlength=n_clusters) / n) ** 2))


def evidence(graph: sp.csr_matrix, n_sets: int, rng: np.random.Generator) -> pd.DataFrame:
    """Communities of anchors, by Louvain's method at several resolutions (Blondel et al. 2008).

    Two anchors of a set are as near as the cells that they share: their weight is that of Z^T Z. At resolution 1 a
    partition of greatest modularity is sought, which has no parameter; the other resolutions tell how firm its number is.

    Parameters
    ----------
    graph
        Z, (n, S m), the anchors of each of S sets side by side.
    n_sets
        S.
    rng
        Draws the order in which anchors are visited.

    Returns
    -------
    DataFrame
        A row a resolution, with the columns `resolution`; `n_clusters`, the median over sets; `lowest` and `highest` of the
        sets; and `modularity` of the cells' partition (:func:`modularity`), each cell with most of its anchors, on the
        mean of sets.
    """
    m, by_column = graph.shape[1] // n_sets, graph.tocsc()
    found: list[list[tuple[int, float]]] = [[] for _ in _RESOLUTIONS]
    for start in range(0, n_sets * m, m):
        own = by_column[:, start : start + m].tocsr() * n_sets
        anchors = nx.from_scipy_sparse_array(sp.triu(own.T @ own, format="coo"))
        anchors.remove_nodes_from(np.flatnonzero(own.getnnz(axis=0) == 0).tolist())  # anchors that no cell is joined to
        for resolution, row in zip(_RESOLUTIONS, found, strict=True):
            seed = int(rng.integers(2**31))
            communities = nx.community.louvain_communities(anchors, resolution=resolution, seed=seed)
            row.append((len(communities), modularity(own, *_of_cells(own, communities))))
    numbers = np.array([[number for number, _ in row] for row in found])
    return pd.DataFrame(
        {
            "resolution": _RESOLUTIONS,
            "n_clusters": np.sort(numbers, axis=1)[:, (n_sets - 1) // 2],
            "lowest": numbers.min(1),
            "highest": numbers.max(1),
            "modularity": [float(np.mean([value for _, value in row])) for row in found],
        }
    )


def _of_cells(graph: sp.csr_matrix, communities: list[set[int]]) -> tuple[np.ndarray, int]:
    """The community to whose anchors each cell is joined most, and how many there are."""
    member = np.zeros((graph.shape[1], len(communities)), dtype=np.float32)
    for number, anchors in enumerate(communities):
        member[list(anchors), number] = 1
    return (graph @ member).argmax(1), len(communities)


def best_number(table: pd.DataFrame, max_clusters: int) -> int:
    """The number at resolution 1, and at most `max_clusters`."""
    return min(int(table.loc[table["resolution"] == 1, "n_clusters"].iloc[0]), max_clusters)
