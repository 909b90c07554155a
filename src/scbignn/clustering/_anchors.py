"""Anchors, and the sparse bipartite graph between cells and anchors."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.cluster import KMeans
from tqdm.auto import tqdm

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


def sets_a_batch(config: Config, n_batches: int) -> int:
    """Sets of anchors of each batch: as many in all as the settings say, or some more, for each has two or more."""
    return max(min(2, config.n_anchor_sets), -(-config.n_anchor_sets // n_batches))


def batches_with_anchors(batches: np.ndarray, config: Config, n_clusters: int) -> np.ndarray | None:
    """Which batches get anchors of their own: those with five cells an anchor among the cells that anchors are learned from.

    Where fewer than two batches have so many, fewer anchors will do, down to twice the number of clusters.

    Parameters
    ----------
    batches
        Codes, (n,).
    config, n_clusters
        As in :func:`anchor_count`.

    Returns
    -------
    (n,) int64: codes of those batches, and -1 for cells of others; None where there are fewer than two.
    """
    n_cells, least = min(len(batches), config.max_fit_cells), 2 * n_clusters
    most = np.bincount(batches) * (n_cells / len(batches)) / _CELLS_PER_ANCHOR
    wanted = anchor_count(config, n_cells, n_cells, n_clusters)
    while np.sum(most >= wanted) < 2 and wanted > least:
        wanted = max(wanted // 2, least)
    has = most >= wanted
    return np.where(has, np.cumsum(has) - 1, -1)[batches] if has.sum() > 1 else None


def find_anchors(
    points: np.ndarray, n_anchors: int, n_sets: int, rng: np.random.Generator, progress: tqdm | None = None
) -> np.ndarray:
    """Sets of anchors, each the centres of k-means from a start of its own.

    Parameters
    ----------
    points
        (n, d) float32, with at least `n_anchors` distinct rows.
    n_anchors, n_sets
        m and S.
    rng
        Draws the starts.
    progress
        Goes on by one a set.

    Returns
    -------
    (S, m, d) float32.
    """
    sets = []
    for seed in rng.integers(2**31, size=n_sets):
        sets.append(_centers(points, n_anchors, int(seed)))
        if progress is not None:
            progress.update()
    return np.stack(sets).astype(np.float32)


def _centers(points: np.ndarray, n_anchors: int, seed: int) -> np.ndarray:
    method = KMeans(n_anchors, n_init=1, max_iter=_ITERATIONS, random_state=seed)
    return method.fit(points).cluster_centers_


def anchor_graph(points: np.ndarray, anchors: np.ndarray, n_nearest: int, n_batches: int = 1) -> sp.csr_matrix:
    """Weights of the edges between each cell and the anchors nearest to it, in every set.

    A cell at distances d_1 .. d_r from its r nearest anchors of a set is joined to them with weights proportional to
    exp(-d_j^2 / mean of the d_j^2). With B batches, a cell is joined to r anchors of the set that each of them has, and mean
    and proportion are over all B r: a batch whose anchors are all far from the cell counts less.

    Parameters
    ----------
    points
        (n, d) float32.
    anchors
        (S B, m, d) float32, a set of each batch in turn.
    n_nearest
        r; all anchors where there are no more.
    n_batches
        B.

    Returns
    -------
    CSR float32 (n, S B m) with S B r entries a row, which sum to 1.
    """
    n_sets, m, _ = anchors.shape
    n, r = len(points), min(n_nearest, m)
    columns, weights = np.empty((n, n_sets, r), dtype=np.int32), np.empty((n, n_sets, r), dtype=np.float32)
    for chunk in chunks(n, CHUNK):
        for number, own in enumerate(anchors):
            nearest, weights[chunk, number] = _nearest(points[chunk], own, r)
            columns[chunk, number] = nearest + number * m
        joined = weights[chunk].reshape(-1, n_sets // n_batches, n_batches * r)
        weights[chunk] = _weights(joined).reshape(-1, n_sets, r) * (n_batches / n_sets)
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
    """Of squared distances, along the last axis."""
    mean = squares.mean(-1, keepdims=True)
    weights = np.exp(-np.divide(squares, mean, out=np.zeros_like(squares), where=mean > 0))
    return weights / weights.sum(-1, keepdims=True)
