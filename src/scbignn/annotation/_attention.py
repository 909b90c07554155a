"""Attention between genes, averaged over cells, and the pairs of genes where it is strongest (arXiv 2312.10310)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from scipy.stats import norm
from torch import Tensor

from ._gene_gnn import GeneGNN
from ._tokens import Bucket, Tokens

#: Rows of the expression matrix looked at together.
_ROWS = 4096
#: Pairs of genes kept for each label.
_N_EDGES = 500
#: A variance below this is none.
_ROUNDING = 1e-20


class PairSums(NamedTuple):
    """Sums over cells, for each pair of genes, of a cell's attention averaged over layers and heads; (T, T) float64."""

    total: Tensor
    square: Tensor
    count: Tensor
    """Cells that express both."""

    def plus(self, other: PairSums, weight: float = 1.0) -> PairSums:
        """These and others, each cell of which stands for so many."""
        return PairSums(*(mine + weight * theirs for mine, theirs in zip(self, other, strict=True)))

    def mean(self, min_count: int) -> Tensor:
        """A~, the attention of i to j over all attention matrices that contain both; 0 for pairs in fewer cells."""
        return torch.where(self.count >= max(1, min_count), self.total / self.count, 0)

    def has_any(self, min_count: int) -> bool:
        """Whether any pair is in so many cells."""
        return bool((self.count >= max(1, min_count)).any())


def no_pairs(n_genes: int, device: torch.device) -> PairSums:
    """Sums over no cell."""
    return PairSums(*(torch.zeros(n_genes, n_genes, dtype=torch.float64, device=device) for _ in range(3)))


@torch.no_grad()
def attention_of_pairs(gene_gnn: GeneGNN, tokens: Tokens, x: sp.csr_matrix) -> PairSums:
    """Sums over all cells; nothing without attention layers.

    Parameters
    ----------
    gene_gnn
        The trained q.
    tokens, x
        The cells, (N, T).
    """
    n_genes, device = x.shape[1], tokens.device
    sums = no_pairs(n_genes, device)
    if not gene_gnn.layers:
        return sums
    for _, bucket in buckets_of(tokens):
        layers = gene_gnn.attention(bucket)
        mean = sum(layer.mean(1) for layer in layers) / len(layers)
        attention = mean.double()  # (b, T, T); sums over cells are in double
        attention.masked_fill_(~bucket.expressed[:, :, None], 0)
        pair = (bucket.genes[:, :, None] * n_genes + bucket.genes[:, None, :]).flatten()
        sums.total.view(-1).index_add_(0, pair, attention.flatten())
        sums.square.view(-1).index_add_(0, pair, attention.square_().flatten())
    return sums._replace(count=_cells_with_both(x, device))


def buckets_of(tokens: Tokens) -> Iterator[tuple[np.ndarray, Bucket]]:
    """All cells in buckets, and which cells each bucket holds."""
    n_cells = tokens.shape[0]
    for cells in np.array_split(np.arange(n_cells), -(-n_cells // _ROWS)):
        for bucket in tokens.buckets(cells):
            yield cells[bucket.rows.cpu().numpy()], bucket


def _cells_with_both(x: sp.csr_matrix, device: torch.device) -> Tensor:
    """In how many cells each pair of genes is expressed, (T, T) float64."""
    count = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=device)
    for start in range(0, x.shape[0], _ROWS):
        expressed = torch.from_numpy(x[start : start + _ROWS].toarray() > 0).to(device, torch.float32)
        count += expressed.T @ expressed
    return count


class Edges(NamedTuple):
    """Pairs of genes between which attention is strongest: E in all, label by label, the strongest first."""

    label: np.ndarray
    """(E,) int64, label code."""
    source: np.ndarray
    """(E,) int64, the gene that attends, counted in the panel."""
    target: np.ndarray
    """(E,) int64, the gene attended to."""
    weight: np.ndarray
    """(E,) float64, mean attention over the label's cells that express both."""
    n_cells: np.ndarray
    """(E,) int64, these cells."""
    z: np.ndarray
    """(E,) float64, how far the weight is from that of as many cells drawn from all labels, in standard deviations; NaN
    where there are no other cells."""
    p_adjusted: np.ndarray
    """(E,) float64, two-sided probability of such a z by the normal distribution, times the pairs of the label."""


class Strongest(NamedTuple):
    """The pairs of two genes with the strongest attention in one label's cells, strongest first."""

    label: int
    places: Tensor
    """Of the pairs, in a flat (T, T)."""
    total: Tensor
    count: Tensor
    """The sums there."""
    n_pairs: int
    """How many pairs there are to pick from."""


def strongest_pairs(label: int, sums: PairSums, min_count: int) -> Strongest:
    """Of the sums over one label's cells; pairs in fewer than `min_count` of them do not count."""
    mean = sums.mean(min_count).fill_diagonal_(0).flatten()
    n_pairs = int((mean > 0).sum())
    places = mean.topk(min(_N_EDGES, n_pairs)).indices
    return Strongest(label, places, sums.total.flatten()[places], sums.count.flatten()[places], n_pairs)


def edges_of(strongest: list[Strongest], everyone: PairSums) -> Edges:
    """The strongest pairs of every label, set against the cells of all labels.

    The null hypothesis is that labels say nothing of attention: the n cells of a label that express both genes are drawn
    without replacement from all N that do. Their mean attention then has the mean mu and the variance
    sigma^2 / n * (N - n) / (N - 1) of all, whatever its distribution.

    Parameters
    ----------
    strongest
        One a label.
    everyone
        Sums over the cells of all labels.
    """
    n_genes = len(everyone.total)
    label = np.repeat([one.label for one in strongest], [len(one.places) for one in strongest])
    n_pairs = np.repeat([one.n_pairs for one in strongest], [len(one.places) for one in strongest])
    places, total, n = (
        torch.cat([getattr(one, name) for one in strongest]).cpu().numpy() for name in ("places", "total", "count")
    )
    all_total, all_square, n_all = (part.flatten().cpu().numpy()[places] for part in everyone)
    mean = all_total / n_all
    variance = np.maximum(all_square / n_all - mean**2, 0) / n * (n_all - n) / np.maximum(n_all - 1, 1)
    z = np.divide(total / n - mean, np.sqrt(variance), out=np.full(len(n), np.nan), where=variance > _ROUNDING)
    p_adjusted = np.minimum(2 * norm.sf(np.abs(z)) * n_pairs, 1)
    return Edges(label, places // n_genes, places % n_genes, total / n, n.astype(np.int64), z, p_adjusted)
