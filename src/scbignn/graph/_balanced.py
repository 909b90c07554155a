"""Neighbours from every batch alike: each batch in turn gives its nearest cell, until there are k (after BBKNN)."""

from __future__ import annotations

import numpy as np
import torch

from ._knn import Neighbors, nearest_among


def balanced_neighbors(points: np.ndarray, batches: np.ndarray, k: int, *, device: torch.device) -> Neighbors:
    """k other points near to each point, as many of each batch as can be.

    The nearest of each batch come first, then the second nearest of each, and so on; of the batches of the last turn,
    for which k may not suffice, those whose cell is nearest. A batch gives floor(k / B) or ceil(k / B) neighbours unless
    it, or another, has no cell left. As by Polański et al. 2020 (BBKNN), but k stays what it is.

    The search is exact, so its time grows with the square of the number of points.

    Parameters
    ----------
    points
        Shape (n, d), any floating type; computed in float32.
    batches
        Codes, shape (n,).
    k
        Number of neighbours, 1 <= k < n.
    device
        Where to compute.

    Raises
    ------
    ValueError
        k is not within 1 and n - 1.
    """
    n = len(points)
    if not 1 <= k < n:
        msg = f"k={k} neighbours cannot be found among {n} cells. Use n_neighbors between 1 and {n - 1}."
        raise ValueError(msg)
    return _in_turn(points, points, batches, k, device, itself=True)


def balanced_among(
    queries: np.ndarray, points: np.ndarray, batches: np.ndarray, k: int, *, device: torch.device
) -> Neighbors:
    """k points near to each query, as many of each batch as can be; :func:`balanced_neighbors` says how.

    Parameters
    ----------
    queries
        Shape (m, d), any floating type; computed in float32.
    points
        Shape (n, d).
    batches
        Codes of the points, shape (n,).
    k
        Number of points to find, 1 <= k <= n.
    device
        Where to compute.

    Returns
    -------
    Neighbors
        Of shape (m, k); `indices` count in `points`. What is found of a query does not depend on the other queries.
    """
    return _in_turn(queries, points, batches, k, device, itself=False)


def _in_turn(
    queries: np.ndarray, points: np.ndarray, batches: np.ndarray, k: int, device: torch.device, *, itself: bool
) -> Neighbors:
    """The k candidates of lowest rank within their batch, of equal rank the nearest; never a point itself if `itself`."""
    parts = []
    for batch in np.unique(batches):
        members = np.flatnonzero(batches == batch)
        found = nearest_among(queries, points[members], min(k + itself, len(members)), device=device)
        indices, distances = members[found.indices], found.distances.copy()
        if itself:
            own = indices == np.arange(len(queries))[:, None]
            distances[own] = np.inf
            order = np.argsort(distances, axis=1, kind="stable")  # the point itself goes last
            indices, distances = (np.take_along_axis(part, order, axis=1) for part in (indices, distances))
        rank = np.where(np.isfinite(distances), np.arange(indices.shape[1]), len(points))
        parts.append((indices, distances, rank))
    indices, distances, rank = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    chosen = np.lexsort((distances, rank))[:, :k]  # along the last axis
    indices, distances = (np.take_along_axis(part, chosen, axis=1) for part in (indices, distances))
    order = np.argsort(distances, axis=1, kind="stable")
    return Neighbors(np.take_along_axis(indices, order, axis=1), np.take_along_axis(distances, order, axis=1))
