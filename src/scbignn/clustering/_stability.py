"""How well each cluster is found again from half of the cells (Hennig 2007)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .._training import progress_bar


def jaccard(labels: np.ndarray, other: np.ndarray, n_clusters: int) -> np.ndarray:
    """For each cluster of one partition the largest Jaccard index with a cluster of another one.

    Parameters
    ----------
    labels, other
        (n,) int, of the same cells.
    n_clusters
        K; `labels` are within 0 .. K - 1.

    Returns
    -------
    (K,) float64 within [0, 1]; NaN where a cluster has no cell.
    """
    _, other = np.unique(other, return_inverse=True)
    both = np.zeros((n_clusters, other.max() + 1))
    np.add.at(both, (labels, other), 1)
    own, theirs = both.sum(1, keepdims=True), both.sum(0)
    index = (both / (own + theirs - both)).max(1)  # `theirs` is never 0, so that nothing is divided by 0
    index[own[:, 0] == 0] = np.nan
    return index


def stability(
    points: np.ndarray,
    labels: np.ndarray,
    n_clusters: int,
    cluster: Callable[[np.ndarray, np.random.Generator], Callable[[np.ndarray], np.ndarray]],
    n_resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """The mean Jaccard index of each cluster over clusterings of half of the cells, drawn anew each time.

    Parameters
    ----------
    points
        (n, d), n at least 4.
    labels
        (n,) int, the partition in question.
    n_clusters
        K.
    cluster
        Clusters some of the points, by their numbers, and returns what assigns any points to these clusters.
    n_resamples
        How often.
    rng
        Draws the halves, and is handed on.

    Returns
    -------
    (K,) float64.
    """
    found = []
    with progress_bar(n_resamples, unit="resample", name="stability") as bar:
        for _ in range(n_resamples):
            half = np.sort(rng.choice(len(points), len(points) // 2, replace=False))
            assign = cluster(half, rng)
            found.append(jaccard(labels, assign(points), n_clusters))
            bar.update()
    return np.mean(found, axis=0)
