"""What linear methods on all genes say of the cells, before the networks train."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils.extmath import randomized_svd
from tqdm.auto import tqdm

from .._expression import Rows, product
from ..graph import Neighbors
from ._anchor import Anchor, believe, fit_anchor
from ._config import Config
from ._linear import TOGETHER_CELLS, Linear
from ._machines import InnerProducts
from ._neighbors import cell_neighbors

#: Components whose mean over neighbours the anchor of p sees beside the cell's own genes.
N_SMOOTHED = 200
#: Cells whose components are found exactly; those of further cells are their projections.
DECOMPOSED_CELLS = 20_000
#: Neighbours in that mean.
N_NEIGHBORS = 15


class Views(NamedTuple):
    """Linear maps from a cell's M genes to what is known of it before the networks train: for cells that come later."""

    loadings: np.ndarray
    """(M, F) float32, right singular vectors."""
    center: np.ndarray
    """(F,) float32, mean scores."""
    gene: Linear
    """The machine on a cell's own genes, C labels."""
    cell: Linear
    """The machine on [x, A s], of M + F features."""
    points_center: np.ndarray
    """(n_components + C,) float32: the mean of components and gene decisions, from which directions are taken."""

    def scores(self, x: sp.csr_matrix | Rows) -> np.ndarray:
        """s: (N, M) -> (N, F) float32, centred."""
        return np.asarray(x @ self.loadings - self.center, dtype=np.float32)

    def points(self, scores: np.ndarray, gene_decisions: np.ndarray) -> np.ndarray:
        """In what cells are neighbours: (N, F), (N, C) -> (N, n_components + C)."""
        n_components = len(self.points_center) - gene_decisions.shape[1]
        return _directions(scores[:, :n_components], gene_decisions, self.points_center)

    def cell_level(self, x: sp.csr_matrix, mean_scores: np.ndarray) -> np.ndarray:
        """Decisions of the second machine about x and the mean of s over a neighbourhood; (N, M), (N, F) -> (N, C)."""
        return self.cell(x, mean_scores)


@dataclass(frozen=True)
class Evidence:
    """What linear methods on all genes say of N cells before the networks train."""

    gene_decisions: np.ndarray
    """(N, C) float32, of a machine on all genes of the cell; q corrects them."""
    cell_decisions: np.ndarray
    """(N, C) float32, of a machine on the cell and the mean of its neighbours; p corrects them."""
    scores: np.ndarray
    """(N, F) float32, s: principal components of the normalised expression, centred."""
    n_components: int
    """How many of them p and the graph see."""
    views: Views
    """What says the same of other cells."""
    neighbors: Neighbors | None = None
    """The nearest of each cell among these points, where they are known."""

    @property
    def components(self) -> np.ndarray:
        """(N, n_components), the leading scores."""
        return self.scores[:, : self.n_components]

    @property
    def points(self) -> np.ndarray:
        """In what cells are neighbours: components and gene decisions side by side, each centred and of length 1."""
        return neighbor_points(self.components, self.gene_decisions)

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields as arrays by name."""
        views, arrays = self.views, {}
        if self.neighbors is not None:
            arrays = {name: np.asarray(part) for name, part in self.neighbors._asdict().items() if part is not None}
        return arrays | {
            "gene_decisions": self.gene_decisions,
            "cell_decisions": self.cell_decisions,
            "scores": self.scores,
            "n_components": np.array([self.n_components]),
            "loadings": views.loadings,
            "center": views.center,
            "points_center": views.points_center,
            **{f"gene.{name}": part for name, part in views.gene._asdict().items()},
            **{f"cell.{name}": part for name, part in views.cell._asdict().items()},
        }

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> Evidence:
        """The inverse of :meth:`arrays`."""
        machines = [Linear(arrays[f"{name}.weights"], arrays[f"{name}.bias"]) for name in ("gene", "cell")]
        views = Views(arrays["loadings"], arrays["center"], *machines, arrays["points_center"])
        decisions = arrays["gene_decisions"], arrays["cell_decisions"]
        neighbors = None
        if "indices" in arrays:
            recall = float(arrays["recall"].item()) if "recall" in arrays else None
            neighbors = Neighbors(arrays["indices"], arrays["distances"], recall)
        return cls(*decisions, arrays["scores"], int(arrays["n_components"][0]), views, neighbors)


class MeanScores:
    """A s, the mean of scores (N, F) over each cell and its neighbours by A, (N, N); never in memory as a whole."""

    def __init__(self, mean: sp.csr_matrix, scores: np.ndarray) -> None:
        self._mean, self._scores = mean, scores

    def __getitem__(self, cells: np.ndarray) -> np.ndarray:
        return self._mean[cells] @ self._scores

    def __matmul__(self, matrix: np.ndarray) -> np.ndarray:
        return self._mean @ (self._scores @ matrix)


def gather_evidence(
    x: sp.csr_matrix | Rows,
    y: np.ndarray,
    n_labels: int,
    config: Config,
    *,
    device: torch.device,
    seed: int,
    gene: Anchor | None = None,
    transformer: Any = None,
    batches: np.ndarray | None = None,
    progress: tqdm | None = None,
    products: InnerProducts | None = None,
    before: Evidence | None = None,
) -> Evidence:
    """Components of the expression, and the decisions of both anchors.

    The second machine sees [x, A s]: s are the leading components, and A is the mean over a cell's neighbours among
    components and decisions of the first. Only inner products of features matter to a linear machine, so A s stands
    for A x at a fraction of its size. Where labels are few, both machines are then refitted on all cells, each with
    the label it is believed to have, on a graph made anew.

    Parameters
    ----------
    x
        Normalised expression of all genes, shape (N, M).
    y
        Label codes, shape (N,); -1 where unlabelled.
    gene
        The machine on a cell's own genes, where it was fitted already, with what it knows of inner products.
    transformer
        What searches neighbours; see :func:`scbignn.graph.nearest_neighbors`.
    batches
        Codes, shape (N,), for ``balanced_graph=True``.
    progress
        Goes on by one a machine.
    products
        As :func:`products_of` makes them.
    before
        Evidence on the same cells, when other labels were known: it has their components.
    """
    if before is None:
        scores, loadings, center = principal(x, N_SMOOTHED, seed)
    else:
        scores, loadings, center = before.scores, before.views.loadings, before.views.center
    components = scores[:, : config.n_components]
    rng, n_times = np.random.default_rng(seed), n_refits(config, y, n_labels)
    if products is None:
        known = None if gene is None or n_times else gene.products  # refits learn from all cells
        products = known or products_of(x, y, n_labels, config)

    def fitted(**fitting: Any) -> Anchor:
        anchor = fit_anchor(x, y, n_labels, seed=seed, products=products, **fitting)
        if progress is not None:
            progress.update()
        return anchor

    def nearest(decisions: np.ndarray) -> Neighbors:
        points, k = neighbor_points(components, decisions), min(N_NEIGHBORS, len(y) - 1)
        return cell_neighbors(points, k, config, batches, device=device, seed=seed, transformer=transformer)

    def cell_anchor(neighbors: Neighbors, **fitting: Any) -> Anchor:
        return fitted(beside=MeanScores(mean_with_self(neighbors), scores), **fitting)

    gene = gene or fitted()
    neighbors = nearest(gene.decisions)
    cell = cell_anchor(neighbors)
    for refit in range(n_times):
        believed, last = believe(cell.decisions, y, rng), refit + 1 == n_times
        cell = cell_anchor(nearest(cell.decisions), believed=believed, out_of_fold=last)
        if last:
            gene = fitted(believed=believed)
            neighbors = nearest(gene.decisions)
    points_center = np.concatenate([components.mean(0), gene.decisions.mean(0)])
    views = Views(loadings, center, gene.machine, cell.machine, points_center)
    return Evidence(gene.decisions, cell.decisions, scores, components.shape[1], views, neighbors)


def products_of(x: sp.csr_matrix | Rows, y: np.ndarray, n_labels: int, config: Config) -> InnerProducts:
    """Inner products of all cells where labels are few and cells are not many: most machines then learn from all."""
    return InnerProducts(x, keep=n_refits(config, y, n_labels) > 0 and x.shape[0] <= TOGETHER_CELLS)


def n_refits(config: Config, y: np.ndarray, n_labels: int) -> int:
    """How often the anchors are refitted on believed labels: not at all where labels are plenty."""
    return config.anchor_refits if np.sum(y >= 0) <= config.few_labels * n_labels else 0


def has_very_few(config: Config, y: np.ndarray, n_labels: int) -> bool:
    """Whether the networks learn from believed labels, too: too few labelled cells could be held out from the anchors."""
    return config.anchor and np.sum(y >= 0) <= config.very_few_labels * n_labels


def for_folds(config: Config, y: np.ndarray, n_labels: int) -> Config:
    """The config of runs without some of the labels, which are to learn from believed labels only if that of all does."""
    return config if has_very_few(config, y, n_labels) else dataclasses.replace(config, very_few_labels=0)


def n_of_evidence(config: Config, y: np.ndarray, n_labels: int) -> int:
    """How many machines evidence takes beside the first one on genes."""
    n_times = n_refits(config, y, n_labels)
    return 1 + n_times + (n_times > 0)


def neighbor_points(components: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """Components and an anchor's decisions side by side, each centred and of length 1; (N, F), (N, C) -> (N, F + C)."""
    return _directions(components, decisions, np.concatenate([components.mean(0), decisions.mean(0)]))


def _directions(components: np.ndarray, decisions: np.ndarray, center: np.ndarray) -> np.ndarray:
    n_components = components.shape[1]
    found = np.empty((len(components), len(center)), dtype=np.result_type(components, decisions, center))
    for place, part in ((slice(n_components), components), (slice(n_components, None), decisions)):
        direction = found[:, place]
        np.subtract(part, center[place], out=direction)
        direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)
    return found


def principal(
    x: sp.csr_matrix | Rows, n_components: int, seed: int, rows: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (n, F), centred, loadings (M, F) and the centre (F,), float32, F <= n_components, of some or all rows.

    By randomised singular value decomposition; of very many rows, that of a part of them.
    """
    n_cells = x.shape[0] if rows is None else len(rows)
    n_components = max(1, min(n_components, min(n_cells, x.shape[1]) - 1))
    if n_cells <= DECOMPOSED_CELLS:
        part = x if rows is None and sp.issparse(x) else x[slice(None) if rows is None else rows]
        left, size, right = randomized_svd(part, n_components, n_iter=3, random_state=seed)
        scores = left * size
    else:
        drawn = np.random.default_rng(seed).choice(n_cells, DECOMPOSED_CELLS, replace=False)
        drawn = np.sort(drawn if rows is None else rows[drawn])
        _, _, right = randomized_svd(x[drawn], n_components, n_iter=3, random_state=seed)
        scores = x @ right.T if rows is None else product(x, rows, right.T)
    center = scores.mean(0)
    scores -= center
    return tuple(part.astype(np.float32, copy=False) for part in (scores, right.T, center))


def mean_with_self(neighbors: Neighbors) -> sp.csr_matrix:
    """A: the mean over a cell and its neighbours, (N, N)."""
    n, k = neighbors.indices.shape
    index_type = np.int32 if n * (k + 1) < 2**31 else np.int64
    members = np.empty((n, k + 1), dtype=index_type)
    members[:, :k], members[:, k] = neighbors.indices, np.arange(n)
    members.sort(axis=1)
    starts = np.arange(0, n * (k + 1) + 1, k + 1, dtype=index_type)
    weights = np.full(n * (k + 1), 1 / (k + 1), dtype=np.float32)
    return sp.csr_matrix((weights, members.ravel(), starts), shape=(n, n))
