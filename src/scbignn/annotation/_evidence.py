"""What linear methods on all genes say of the cells, before the networks train."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils.extmath import randomized_svd

from ..graph import Neighbors, nearest_neighbors
from ._anchor import believe, fit_anchor
from ._config import Config

#: Components whose mean over neighbours the anchor of p sees beside the cell's own genes.
_N_SMOOTHED = 200
#: Neighbours in that mean.
_N_NEIGHBORS = 15


@dataclass(frozen=True)
class Evidence:
    """What linear methods on all genes say of N cells before the networks train."""

    gene_decisions: np.ndarray
    """(N, C) float32, of a machine on all genes of the cell; q corrects them."""
    cell_decisions: np.ndarray
    """(N, C) float32, of a machine on the cell and the mean of its neighbours; p corrects them."""
    components: np.ndarray
    """(N, F) float32, components of the normalised expression, centred."""

    @property
    def points(self) -> np.ndarray:
        """In what cells are neighbours: components and gene decisions side by side, each centred and of length 1."""
        return neighbor_points(self.components, self.gene_decisions)


def gather_evidence(
    x: sp.csr_matrix, y: np.ndarray, n_labels: int, config: Config, *, device: torch.device, seed: int
) -> Evidence:
    """Components of the expression, and the decisions of both anchors.

    The second machine sees [x, A s]: s are the leading components, and A is the mean over a cell's neighbours among
    components and decisions of the first. Only inner products of features matter to a linear machine, so A s stands
    for A x at a fraction of its size. Where labels are few, both machines are then refitted on all cells, each with
    the label it is believed to have, on a graph made anew.

    Parameters
    ----------
    x
        Normalised expression of all genes, CSR, shape (N, M).
    y
        Label codes, shape (N,); -1 where unlabelled.
    """
    smooth = _components(x, _N_SMOOTHED, seed)
    components = smooth[:, : config.n_components]
    rng = np.random.default_rng(seed)

    def cell_anchor(decisions: np.ndarray, **fitting: Any) -> np.ndarray:
        points = neighbor_points(components, decisions)
        neighbors = nearest_neighbors(points, min(_N_NEIGHBORS, len(y) - 1), device=device, seed=seed)
        both = sp.hstack([x, sp.csr_matrix(_mean_with_self(neighbors) @ smooth)]).tocsr()
        return fit_anchor(both, y, n_labels, seed=seed, **fitting).decisions

    gene = fit_anchor(x, y, n_labels, seed=seed).decisions
    cell = cell_anchor(gene)
    n_refits = config.anchor_refits if np.sum(y >= 0) <= config.few_labels * n_labels else 0
    for refit in range(n_refits):
        believed, last = believe(cell, y, rng), refit + 1 == n_refits
        cell = cell_anchor(cell, believed=believed, out_of_fold=last)
        if last:
            gene = fit_anchor(x, y, n_labels, seed=seed, believed=believed).decisions
    return Evidence(gene, cell, components)


def neighbor_points(components: np.ndarray, decisions: np.ndarray) -> np.ndarray:
    """Components and an anchor's decisions side by side, each centred and of length 1; (N, F), (N, C) -> (N, F + C)."""
    parts = [part - part.mean(0) for part in (components, decisions)]
    lengths = [np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    return np.hstack([part / np.maximum(length, 1e-12) for part, length in zip(parts, lengths, strict=True)])


def _components(x: sp.csr_matrix, n_components: int, seed: int) -> np.ndarray:
    """Leading components, by randomised singular value decomposition, centred; (N, F) float32, F <= n_components."""
    n_components = max(1, min(n_components, min(x.shape) - 1))
    left, size, _ = randomized_svd(x, n_components, n_iter=3, random_state=seed)
    scores = left * size
    return (scores - scores.mean(0)).astype(np.float32)


def _mean_with_self(neighbors: Neighbors) -> sp.csr_matrix:
    graph = neighbors.adjacency()
    graph = graph + sp.eye_array(graph.shape[0], dtype=graph.dtype)
    return sp.csr_matrix(graph / (neighbors.indices.shape[1] + 1))
