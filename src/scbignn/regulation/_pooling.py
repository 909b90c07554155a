"""From a vector of each gene in each cell to one vector a gene, with the cells passing by one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn

from .._layers import linear
from .._training import progress_bar
from ._config import Config


class CellStates(NamedTuple):
    """What a transformer makes of one cell."""

    vectors: Tensor
    """(g, d), a vector a gene."""
    attention: Tensor
    """(g,), attention that each gene receives, the mean over layers, heads and queries; 1 where all receive the same."""


class CellEncoder(Protocol):
    """A transformer that reads the genes of one cell."""

    def places(self, names: Sequence[str]) -> np.ndarray:
        """The place of each name among the genes it knows, (n,) int64; -1 where it has none."""

    def states(
        self, x: sp.csr_matrix, places: np.ndarray, device: torch.device, *, received: bool
    ) -> Iterator[CellStates]:
        """Of each cell, for the g columns that have a place; attention where it is asked for."""


def draw_encoded(x: sp.csr_matrix, config: Config, rng: np.random.Generator) -> sp.csr_matrix:
    """All cells, or as many as an encoder may read."""
    n_cells = x.shape[0]
    if n_cells <= config.n_encoded_cells:
        return x
    return x[np.sort(rng.choice(n_cells, config.n_encoded_cells, replace=False))]


def encode_genes(
    model: CellEncoder,
    x: sp.csr_matrix,
    names: Sequence[str],
    config: Config,
    *,
    device: torch.device,
) -> np.ndarray:
    """The vectors that a transformer gives genes, pooled over cells, (n_genes, d) float64; NaN where it knows none.

    With ``config.pooling="learned"`` those in the k cells that count, (n_genes, k, d).

    Parameters
    ----------
    x
        Natural log1p of counts per 10,000, CSR, (n_cells, n_genes).
    names
        Of the genes.
    """
    places = model.places(names)
    with progress_bar(x.shape[0], "cell") as progress:

        def passing() -> Iterator[CellStates]:
            for state in model.states(x, places, device, received=config.pooling != "mean"):
                yield state
                progress.update()

        pooled = pool_cells(passing(), config)
    found = np.full((len(names), *pooled.shape[1:]), np.nan)
    found[places >= 0] = pooled
    return found


def pool_cells(cells: Iterable[CellStates], config: Config) -> np.ndarray:
    """One vector a gene, (g, d) float64; memory does not grow with cells.

    ``"mean"`` is the mean over cells. ``"attention"`` keeps of each gene the `n_representative` cells k where it receives the
    most attention a, and weights them by the softmax of a / `temperature`. ``"learned"`` returns these cells' vectors as they
    are, (g, k, d), for :class:`LearnedPooling`.
    """
    if config.pooling == "mean":
        return _mean(cells)
    scores = vectors = None
    n_cells = 0
    for h, a in cells:
        n_cells += 1
        if vectors is None:
            vectors = h.new_zeros(config.n_representative, *h.shape)
            scores = a.new_full((config.n_representative, len(a)), -torch.inf)
        lowest, place = scores.min(0)  # of those still free, the first
        genes = torch.nonzero(a > lowest)[:, 0]
        scores[place[genes], genes] = a[genes]
        vectors[place[genes], genes] = h[genes]
    if config.pooling == "learned":
        return vectors[:n_cells].transpose(0, 1).double().cpu().numpy()
    weight = (scores / config.temperature).softmax(0)
    return torch.einsum("kg,kgd->gd", weight, vectors).double().cpu().numpy()


class LearnedPooling(nn.Module):
    """z_g = sum_k w_gk h_gk, w = softmax_k of v . tanh(U h_gk): (g, k, d) -> (g, d). It starts as the mean, with v = 0."""

    def __init__(self, d: int, init: torch.Generator) -> None:
        super().__init__()
        self.hidden = linear(d, d, init)
        self.score = linear(d, 1, init, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, cells: Tensor) -> Tensor:
        weight = self.score(self.hidden(cells).tanh()).softmax(1)
        return (weight * cells).sum(1)


def _mean(cells: Iterable[CellStates]) -> np.ndarray:
    total, n_cells = 0.0, 0
    for h, _ in cells:
        total, n_cells = total + h.double(), n_cells + 1
    return (total / n_cells).cpu().numpy()
