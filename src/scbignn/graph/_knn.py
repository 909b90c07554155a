"""k nearest neighbours of every cell: exact while that is cheap, by an inverted file above."""

from __future__ import annotations

import logging
import math
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

logger = logging.getLogger(__name__)

#: Above this many cells on a CPU the search is approximate (an exact search is quadratic in cells).
EXACT_LIMIT = 50_000
#: On other devices the exact search stays affordable for longer.
EXACT_LIMIT_ACCELERATOR = 1_000_000
_BLOCK_ENTRIES = 16_000_000
#: Candidates for each neighbour asked for. The search compares squares, which lose digits where clusters are tight and
#: far apart; the nearest are then picked among the candidates by exact distances.
_CANDIDATES = 4
_RECALL_SAMPLE = 500
_MIN_RECALL = 0.95


class Neighbors(NamedTuple):
    """The directed kNN graph: row i lists the k neighbours of cell i, nearest first, never cell i itself.

    `indices` has shape (n, k) and dtype int64; `distances`, of the same shape, holds Euclidean distances in float32.
    """

    indices: np.ndarray
    distances: np.ndarray

    def distance_matrix(self) -> sp.csr_matrix:
        """The distances as a CSR matrix, shape (n, n), with k stored entries a row (also where a distance is 0)."""
        n, k = self.indices.shape
        entries = self.distances.ravel().copy(), self.indices.ravel().copy(), np.arange(0, n * k + 1, k)
        matrix = sp.csr_matrix(entries, shape=(n, n))
        matrix.sort_indices()
        return matrix

    def adjacency(self) -> sp.csr_matrix:
        """The edges as a CSR matrix of ones, shape (n, n); an edge is an edge also where the distance is 0."""
        matrix = self.distance_matrix()
        matrix.data[:] = 1
        return matrix


def nearest_neighbors(points: np.ndarray, k: int, *, device: torch.device, seed: int = 0) -> Neighbors:
    """The k nearest other points of each point in Euclidean distance.

    Parameters
    ----------
    points
        Shape (n, d), any floating type; computed in float32.
    k
        Number of neighbours, 1 <= k < n.
    device
        Where to compute.
    seed
        Seeds the centroids of the approximate search; the exact search draws nothing.

    Raises
    ------
    ValueError
        k is not within 1 and n - 1.
    """
    n = len(points)
    if not 1 <= k < n:
        msg = f"k={k} neighbours cannot be found among {n} cells. Use n_neighbors between 1 and {n - 1}."
        raise ValueError(msg)
    x = _tensor(points, device)
    x = x - x.mean(0)
    everyone = torch.arange(n, device=device)
    n_candidates = min(_CANDIDATES * k, n - 1)
    exact = n <= (EXACT_LIMIT if device.type == "cpu" else EXACT_LIMIT_ACCELERATOR)
    candidates = _exact(x, everyone, n_candidates) if exact else _inverted_file(x, n_candidates, seed)
    indices, distances = _nearest(x, everyone, candidates, k)
    if not exact:
        _warn_of_low_recall(x, indices, seed)
    return Neighbors(indices.cpu().numpy(), distances.cpu().numpy())


def nearest_among(queries: np.ndarray, points: np.ndarray, k: int, *, device: torch.device) -> Neighbors:
    """The k points nearest to each query in Euclidean distance, exactly.

    Parameters
    ----------
    queries
        Shape (m, d), any floating type; computed in float32.
    points
        Shape (n, d).
    k
        Number of points to find, 1 <= k <= n.
    device
        Where to compute.

    Returns
    -------
    Neighbors
        Of shape (m, k); `indices` count in `points`. What is found of a query does not depend on the other queries.
    """
    x = _tensor(points, device)
    center = x.mean(0)
    x, asked = x - center, _tensor(queries, device) - center
    squares, n_candidates = x.square().sum(1), min(_CANDIDATES * k, len(x))
    indices, distances = [], []
    for block in asked.split(min(4096, max(1, _BLOCK_ENTRIES // len(x)))):
        scores = torch.addmm(squares[None], block, x.T, alpha=-2)
        candidates = scores.topk(n_candidates, dim=1, largest=False, sorted=False).indices
        found = _among_candidates(block, x, candidates, k)
        indices.append(found[0])
        distances.append(found[1])
    return Neighbors(torch.cat(indices).cpu().numpy(), torch.cat(distances).cpu().numpy())


def _tensor(points: np.ndarray, device: torch.device) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(points, dtype=np.float32), device=device)


def _exact(x: Tensor, rows: Tensor, k: int) -> Tensor:
    """Indices (len(rows), k) of the nearest points, unordered, in blocks of bounded memory."""
    squares = x.square().sum(1)
    blocks = []
    for block in rows.split(max(1, _BLOCK_ENTRIES // len(x))):
        scores = torch.addmm(squares[None], x[block], x.T, alpha=-2)  # squared distance less the row's own constant
        scores[torch.arange(len(block), device=x.device), block] = torch.inf
        blocks.append(scores.topk(k, dim=1, largest=False, sorted=False).indices)
    return torch.cat(blocks)


def _inverted_file(x: Tensor, k: int, seed: int, *, n_probe: int = 32, n_iterations: int = 5) -> Tensor:
    """Approximate indices (n, k): each point looks only into the `n_probe` lists nearest to its own centroid."""
    n, device = len(x), x.device
    n_lists = int(2 * math.sqrt(n))
    generator = torch.Generator().manual_seed(seed)
    sample = x[torch.randperm(n, generator=generator)[: 40 * n_lists].to(device)]
    centroids = sample[:n_lists].clone()
    for _ in range(n_iterations):
        owner = _nearest_centroid(sample, centroids)
        size = torch.bincount(owner, minlength=n_lists)[:, None]
        total = torch.zeros_like(centroids).index_add_(0, owner, sample)
        centroids = torch.where(size > 0, total / size.clamp(min=1), centroids)

    owner = _nearest_centroid(x, centroids)
    order = torch.argsort(owner, stable=True)
    bounds = torch.bincount(owner, minlength=n_lists).cumsum(0).tolist()
    lists = [order[start:stop] for start, stop in zip([0, *bounds[:-1]], bounds, strict=True)]
    probes = torch.cdist(centroids, centroids).topk(min(n_probe, n_lists), dim=1, largest=False).indices.tolist()

    squares = x.square().sum(1)
    found = torch.empty(n, k, dtype=torch.int64, device=device)
    for own, near in zip(lists, probes, strict=True):
        candidates = torch.cat([lists[j] for j in near])
        if len(candidates) <= k:
            candidates = torch.arange(n, device=device)
        points, norms = x[candidates], squares[candidates][None]
        for rows in own.split(4096):
            scores = torch.addmm(norms, x[rows], points.T, alpha=-2)
            scores.masked_fill_(rows[:, None] == candidates[None], torch.inf)
            found[rows] = candidates[scores.topk(k, dim=1, largest=False, sorted=False).indices]
    return found


def _nearest_centroid(x: Tensor, centroids: Tensor) -> Tensor:
    squares = centroids.square().sum(1)[None]
    blocks = x.split(max(1, _BLOCK_ENTRIES // len(centroids)))
    return torch.cat([torch.addmm(squares, block, centroids.T, alpha=-2).argmin(1) for block in blocks])


def _warn_of_low_recall(x: Tensor, indices: Tensor, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(x), generator=generator)[:_RECALL_SAMPLE].to(x.device)
    k = indices.shape[1]
    truth, _ = _nearest(x, rows, _exact(x, rows, min(_CANDIDATES * k, len(x) - 1)), k)
    recall = (indices[rows][:, :, None] == truth[:, None, :]).sum().item() / (len(rows) * k)
    if recall < _MIN_RECALL:
        logger.warning(
            "the approximate kNN search finds %.1f %% of the true neighbours (of %d cells checked)",
            100 * recall,
            len(rows),
        )


def _nearest(x: Tensor, rows: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest candidates of each row and their distances, by differences; ties go to the smaller index."""
    blocks = zip(rows.split(16_384), candidates.split(16_384), strict=True)
    indices, distances = zip(*(_among_candidates(x[block], x, some, k) for block, some in blocks), strict=True)
    return torch.cat(indices), torch.cat(distances)


def _among_candidates(queries: Tensor, x: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    ordered = candidates.sort(dim=1).values
    squared = (queries[:, None] - x[ordered]).square().sum(-1)
    squared, order = squared.sort(dim=1, stable=True)
    return ordered.gather(1, order[:, :k]), squared[:, :k].sqrt()
