"""How many clusters: the number whose partition is tight in the cell-anchor graph and the same from other anchors."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from ._spectral import embed, singular_map

_STARTS = 3


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


def evidence(graph: sp.csr_matrix, n_sets: int, max_clusters: int, rng: np.random.Generator) -> pd.DataFrame:
    """What speaks for each number of clusters.

    Parameters
    ----------
    graph
        Z, (n, S m), the anchors of each of S sets side by side.
    n_sets
        S. With one set there is nothing to agree with, and agreement is 1.
    max_clusters
        Numbers from 2 to this are tried; to n - 1 or m where that is less.
    rng
        Draws the starts of k-means.

    Returns
    -------
    DataFrame
        With the columns `n_clusters`; `modularity`, of the partition by all sets; `agreement`, the adjusted Rand index
        between the partitions by one set each, on the mean over pairs; and `score`, the product of both.
    """
    n, m = graph.shape[0], graph.shape[1] // n_sets
    numbers = range(2, min(max_clusters, n - 1, m) + 1)
    if not numbers:
        return pd.DataFrame({"n_clusters": [1], "modularity": [0.0], "agreement": [1.0], "score": [0.0]})
    by_column = graph.tocsc()
    parts = [by_column[:, s * m : (s + 1) * m].tocsr() * n_sets for s in range(n_sets)]
    maps = [singular_map(part, numbers[-1]) for part in (graph, *parts)]
    rows = []
    for k in numbers:
        joint, *own = (
            _partition(embed(part, mapping[:, :k]), k, rng) for part, mapping in zip((graph, *parts), maps, strict=True)
        )
        agreement = [adjusted_rand_score(one, other) for one, other in combinations(own, 2)]
        rows.append((k, modularity(graph, joint, k), float(np.mean(agreement)) if agreement else 1.0))
    table = pd.DataFrame(rows, columns=["n_clusters", "modularity", "agreement"])
    table["score"] = table["modularity"] * table["agreement"]
    return table


def _partition(embedding: np.ndarray, n_clusters: int, rng: np.random.Generator) -> np.ndarray:
    method = KMeans(n_clusters, n_init=_STARTS, random_state=int(rng.integers(2**31)))
    return method.fit_predict(embedding)


def best_number(table: pd.DataFrame) -> int:
    """The number of highest score; of equal ones the smallest."""
    return int(table["n_clusters"].iloc[int(table["score"].to_numpy().argmax())])
