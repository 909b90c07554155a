"""k nearest neighbours of every cell: exact while that is cheap, by an inverted file above, or by a search of the user's."""

from __future__ import annotations

import logging
import math
import re
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.base import clone
from torch import Tensor

logger = logging.getLogger(__name__)

#: Above this many cells on a CPU the search is approximate (an exact search is quadratic in cells).
EXACT_LIMIT = 50_000
#: On other devices the exact search stays affordable for longer.
EXACT_LIMIT_ACCELERATOR = 1_000_000
#: Distances that are in memory at a time, and the most rows that are looked at together.
BLOCK_ENTRIES, BLOCK_ROWS = 16_000_000, 4096
#: Candidates for each neighbour asked for. The search compares squares, which lose digits where clusters are tight and
#: far apart; the nearest are then picked among the candidates by exact distances.
CANDIDATES = 4
_RECALL_SAMPLE = 500
#: Relative, of a distance: pairs that tie are the same neighbour to the recall.
_ROUNDING = 1e-5
#: Pairs of points whose distance is computed at a time.
_BLOCK_PAIRS = 262_144
_MIN_RECALL = 0.95


class Neighbors(NamedTuple):
    """The directed kNN graph: row i lists the k neighbours of cell i, nearest first, never cell i itself.

    `indices` has shape (n, k) and dtype int64; `distances`, of the same shape, holds Euclidean distances in float32.
    """

    indices: np.ndarray
    distances: np.ndarray
    recall: float | None = None
    """Share of the true neighbours that were found, of a sample of cells; None where the search was exact."""

    def first(self, k: int) -> Neighbors:
        """The k nearest of these."""
        return self._replace(
            indices=np.ascontiguousarray(self.indices[:, :k]), distances=np.ascontiguousarray(self.distances[:, :k])
        )

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


def nearest_neighbors(
    points: np.ndarray, k: int, *, device: torch.device, seed: int = 0, transformer: Any = None
) -> Neighbors:
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
    transformer
        What searches instead: an instance with the interface of :class:`sklearn.neighbors.KNeighborsTransformer`. It is
        cloned and asked for k + 1 neighbours, or for its own `n_neighbors` where that is more; a `random_state` of None
        becomes `seed`. Of what it finds the nearest k are kept, in Euclidean distance, whatever its own metric.

    Raises
    ------
    ValueError
        k is not within 1 and n - 1, or the transformer does not give k neighbours of each point.
    """
    n = len(points)
    if not 1 <= k < n:
        msg = f"k={k} neighbours cannot be found among {n} cells. Use n_neighbors between 1 and {n - 1}."
        raise ValueError(msg)
    x = _tensor(points, device)
    x = x - x.mean(0)
    is_exact = transformer is None and n <= (EXACT_LIMIT if device.type == "cpu" else EXACT_LIMIT_ACCELERATOR)
    if transformer is not None:
        indices, distances = _transformed(x, _ask(transformer, points, k, seed), k, type(transformer).__name__)
    elif is_exact:
        indices, distances = _exact(x, torch.arange(n, device=device), k)
    else:
        indices, distances = _inverted_file(x, k, seed)
    recall = None if is_exact else _check_recall(x, distances, seed)
    return Neighbors(indices.cpu().numpy(), distances.cpu().numpy(), recall)


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
    squares, n_candidates = x.square().sum(1), min(CANDIDATES * k, len(x))
    indices, distances = [], []
    for block in asked.split(_rows_together(len(x))):
        scores = torch.addmm(squares[None], block, x.T, alpha=-2)
        candidates = scores.topk(n_candidates, dim=1, largest=False, sorted=False).indices
        found = _among_candidates(block, x, candidates, k)
        indices.append(found[0])
        distances.append(found[1])
    return Neighbors(torch.cat(indices).cpu().numpy(), torch.cat(distances).cpu().numpy())


def _rows_together(n_points: int) -> int:
    """How many rows are compared with so many points at a time."""
    return min(BLOCK_ROWS, max(1, BLOCK_ENTRIES // n_points))


def _tensor(points: np.ndarray, device: torch.device) -> Tensor:
    return torch.as_tensor(np.ascontiguousarray(points, dtype=np.float32), device=device)


def _exact(x: Tensor, rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest other points of the given rows and their distances, (len(rows), k) each, in blocks of bounded memory."""
    squares, n_candidates = x.square().sum(1), min(CANDIDATES * k, len(x) - 1)
    indices, distances = rows.new_empty(len(rows), k), x.new_empty(len(rows), k)
    size = _rows_together(len(x))
    for start in range(0, len(rows), size):
        places = slice(start, start + size)
        own = rows[places]
        block = x[own]
        scores = torch.addmm(squares[None], block, x.T, alpha=-2)  # squared distance less the row's own constant
        scores[torch.arange(len(own), device=x.device), own] = torch.inf
        candidates = scores.topk(n_candidates, dim=1, largest=False, sorted=False).indices
        indices[places], distances[places] = _among_candidates(block, x, candidates, k)
    return indices, distances


def _inverted_file(x: Tensor, k: int, seed: int, *, n_probe: int = 32, n_iterations: int = 5) -> tuple[Tensor, Tensor]:
    """Approximately the same, of all points: each looks only into the `n_probe` lists nearest to its own centroid."""
    n, device = len(x), x.device
    n_lists, n_candidates = int(2 * math.sqrt(n)), min(CANDIDATES * k, n - 1)
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
    indices, distances = order.new_empty(n, k), x.new_empty(n, k)
    for own, near in zip(lists, probes, strict=True):
        candidates = torch.cat([lists[j] for j in near])
        if len(candidates) <= n_candidates:
            candidates = torch.arange(n, device=device)
        points, norms = x[candidates], squares[candidates][None]
        for rows in own.split(_rows_together(len(candidates))):
            block = x[rows]
            scores = torch.addmm(norms, block, points.T, alpha=-2)
            scores.masked_fill_(rows[:, None] == candidates[None], torch.inf)
            best = candidates[scores.topk(n_candidates, dim=1, largest=False, sorted=False).indices]
            indices[rows], distances[rows] = _among_candidates(block, x, best, k)
    return indices, distances


def _nearest_centroid(x: Tensor, centroids: Tensor) -> Tensor:
    squares = centroids.square().sum(1)[None]
    blocks = x.split(max(1, BLOCK_ENTRIES // len(centroids)))
    return torch.cat([torch.addmm(squares, block, centroids.T, alpha=-2).argmin(1) for block in blocks])


def describe_search(transformer: Any) -> str | None:
    """The kind and the parameters of a transformer, alike in every process; None where there is none."""
    if transformer is None:
        return None
    kind = f"{type(transformer).__module__}.{type(transformer).__qualname__}"
    given = sorted(transformer.get_params(deep=False).items())
    return re.sub(r" at 0x[0-9a-fA-F]+", "", f"{kind}({', '.join(f'{name}={value!r}' for name, value in given)})")


def _ask(transformer: Any, points: np.ndarray, k: int, seed: int) -> Any:
    """What a clone of the transformer makes of the points.

    Those of scikit-learn and of pynndescent do not count the point itself in `n_neighbors`, although they list it; others
    do. So that there are k others in either case, one more is asked for.
    """
    mine, n = clone(transformer), len(points)
    given = mine.get_params(deep=False)
    mine.set_params(n_neighbors=min(max(k + 1, given["n_neighbors"] or 0), n - 1))
    if given.get("random_state", seed) is None:
        mine.set_params(random_state=seed)
    found = mine.fit_transform(np.ascontiguousarray(points, dtype=np.float32))
    return found.get() if hasattr(found, "get") and not sp.issparse(found) else found  # from a GPU


def _transformed(x: Tensor, found: Any, k: int, name: str) -> tuple[Tensor, Tensor]:
    """The k nearest of the points that a transformer found, and their distances, by differences; (n, k) each."""
    n = len(x)
    mend = (
        "Pass transformer=sklearn.neighbors.KNeighborsTransformer(), or leave it out for the search that is built in."
    )
    if not sp.issparse(found) or found.shape != (n, n):
        what = f"of shape {found.shape}" if hasattr(found, "shape") else "without a shape"
        msg = f"{name} gave a {type(found).__name__} {what}, not a sparse matrix of shape ({n}, {n}). {mend}"
        raise ValueError(msg)
    edges = sp.coo_array(found)
    if not np.isfinite(edges.data).all():
        msg = f"{name} gave {np.sum(~np.isfinite(edges.data))} distances that are not finite. {mend}"
        raise ValueError(msg)
    others = (edges.row != edges.col) & (edges.col >= 0)
    row, column = (torch.from_numpy(part[others].astype(np.int64)).to(x.device) for part in (edges.row, edges.col))
    key = torch.unique(row * n + column)  # each pair once, by row and column
    row, column = key // n, key % n
    n_found = torch.bincount(row, minlength=n)
    if n_found.min() < k:
        lacking = int((n_found < k).sum())
        msg = (
            f"{name} found fewer than {k} neighbours of {lacking} of {n} cells, and {int(n_found.min())} of one. Give it "
            f"a larger n_neighbors. {mend}"
        )
        raise ValueError(msg)
    parts = zip(row.split(_BLOCK_PAIRS), column.split(_BLOCK_PAIRS), strict=True)
    squared = torch.cat([(x[cells] - x[near]).square().sum(1) for cells, near in parts])
    order = squared.argsort(stable=True)
    order = order[row[order].argsort(stable=True)]  # by row, then by distance, then by column
    place = torch.arange(len(row), device=x.device) - (n_found.cumsum(0) - n_found)[row[order]]
    order = order[place < k].view(n, k)
    return column[order], squared[order].sqrt()


def _check_recall(x: Tensor, distances: Tensor, seed: int) -> float:
    """Share of the neighbours found of a sample that are no farther than the k-th true one; a low one is warned of."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(x), generator=generator)[:_RECALL_SAMPLE].to(x.device)
    k = distances.shape[1]
    _, truth = _exact(x, rows, k)
    recall = (distances[rows] <= (1 + _ROUNDING) * truth[:, -1:]).double().mean().item()
    if recall < _MIN_RECALL:
        logger.warning(
            "the approximate kNN search finds %.1f %% of the true neighbours (of %d cells checked). A more thorough one: "
            "transformer=sklearn.neighbors.KNeighborsTransformer(), which is exact, or pynndescent's "
            "PyNNDescentTransformer(n_neighbors=%d), of which the nearest %d are kept.",
            100 * recall,
            len(rows),
            3 * k,
            k,
        )
    return recall


def _among_candidates(queries: Tensor, x: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest candidates of each row and their distances, by differences; ties go to the smaller index."""
    ordered = candidates.sort(dim=1).values
    squared = (queries[:, None] - x[ordered]).square().sum(-1)
    squared, order = squared.sort(dim=1, stable=True)
    return ordered.gather(1, order[:, :k]), squared[:, :k].sqrt()
