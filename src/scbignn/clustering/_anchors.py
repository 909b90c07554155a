"""Anchors, and the sparse bipartite graph between cells and anchors."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.cluster import KMeans

from .._training import progress_bar
from ._config import Config
from ._scores import CHUNK, chunks

#: Fewest cells an anchor, on the mean.
_CELLS_PER_ANCHOR = 5
_ITERATIONS = 25


def anchor_count(config: Config, n_cells: int, n_distinct: int, n_clusters: int) -> int:
    """Anchors in a set: as many as the settings say, fewer where cells are few or alike.

    Parameters
    ----------
    config
        Settings.
    n_cells, n_distinct
        Cells, and how many of them differ.
    n_clusters
        There are twice as many anchors as clusters where that can be.
    """
    wanted = max(n_cells // _CELLS_PER_ANCHOR, 2 * n_clusters)
    return max(1, min(config.n_anchors, wanted, n_distinct))


def find_anchors(points: np.ndarray, n_anchors: int, n_sets: int, rng: np.random.Generator) -> np.ndarray:
    """Sets of anchors, each the centres of k-means from a start of its own.

    Parameters
    ----------
    points
        (n, d) float32, with at least `n_anchors` distinct rows.
    n_anchors, n_sets
        m and S.
    rng
        Draws the starts.

    Returns
    -------
    (S, m, d) float32.
    """
    seeds = rng.integers(2**31, size=n_sets)
    sets = []
    with progress_bar(n_sets, unit="set", name="anchors") as bar:
        for seed in seeds:
            sets.append(_centers(points, n_anchors, int(seed)))
            bar.update()
    return np.stack(sets).astype(np.float32)


def _centers(points: np.ndarray, n_anchors: int, seed: int) -> np.ndarray:
    method = KMeans(n_anchors, n_init=1, max_iter=_ITERATIONS, random_state=seed)
    return method.fit(points).cluster_centers_


def anchor_graph(points: np.ndarray, anchors: np.ndarray, n_nearest: int) -> sp.csr_matrix:
    """Weights of the edges between each cell and the anchors nearest to it, in every set.

    A cell at distances d_1 .. d_r from its r nearest anchors of a set is joined to them with weights proportional to
    exp(-d_j^2 / mean of the d_j^2).

    Parameters
    ----------
    points
        (n, d) float32.
    anchors
        (S, m, d) float32.
    n_nearest
        r; all anchors where there are no more.

    Returns
    -------
    CSR float32 (n, S m) with S r entries a row, which sum to 1.
    """
    n_sets, m, _ = anchors.shape
    n, r = len(points), min(n_nearest, m)
    columns, weights = np.empty((n, n_sets, r), dtype=np.int32), np.empty((n, n_sets, r), dtype=np.float32)
    for number, own in enumerate(anchors):
        for chunk in chunks(n, CHUNK):
            nearest, squares = _nearest(points[chunk], own, r)
            columns[chunk, number], weights[chunk, number] = nearest + number * m, _weights(squares) / n_sets
    return sp.csr_matrix(
        (weights.ravel(), columns.ravel(), np.arange(0, n * n_sets * r + 1, n_sets * r)), shape=(n, n_sets * m)
    )


def _nearest(points: np.ndarray, anchors: np.ndarray, r: int) -> tuple[np.ndarray, np.ndarray]:
    """The r nearest anchors of each point, by number, and their squared distances, both (n, r)."""
    order = (anchors**2).sum(1) / 2 - points @ anchors.T  # half the squared distance, less what all anchors share
    nearest = np.arange(len(anchors)) + np.zeros((len(points), 1), dtype=np.int64)
    if r < len(anchors):
        nearest = np.argpartition(order, r - 1, axis=1)[:, :r]
    nearest.sort(axis=1)
    squares = np.empty(nearest.shape, dtype=np.float32)
    for column in range(r):
        squares[:, column] = ((points - anchors[nearest[:, column]]) ** 2).sum(1)
    return nearest, squares


def _weights(squares: np.ndarray) -> np.ndarray:
    mean = squares.mean(1, keepdims=True)
    weights = np.exp(-np.divide(squares, mean, out=np.zeros_like(squares), where=mean > 0))
    return weights / weights.sum(1, keepdims=True)
