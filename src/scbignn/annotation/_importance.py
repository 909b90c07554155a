"""Which genes a label rests on: the attention a gene receives, and what its expression adds to the decision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F

from .._training import progress_bar
from ._attention import Edges, attention_of_pairs, buckets_of, edges_of, no_pairs, strongest_pairs
from ._gene_gnn import GeneGNN
from ._tokens import Tokens, pack

#: Of a label with more cells, so many are looked at, and stand for all.
_CELLS_OF_LABEL = 2000


class Importance(NamedTuple):
    """Of T genes for C labels; NaN for a label that no cell has."""

    received: np.ndarray
    """(T,) float64, s_j = sum_i A~[i, j]: the attention a gene receives."""
    received_per_label: np.ndarray | None
    """(T, C) float32, the same over the cells of one label."""
    attribution: np.ndarray | None
    """(T,) float64, what a gene adds to a cell's margin, on the mean."""
    attribution_per_label: np.ndarray | None
    """(T, C) float32, the same over the cells of one label."""


class Anchored(NamedTuple):
    """The part of q's logits that an anchor has in N cells."""

    decisions: np.ndarray
    """(N, C)."""
    slopes: np.ndarray
    """(C, T), how they grow with normalised expression."""


def importance_of(
    gene_gnn: GeneGNN,
    x: sp.csr_matrix,
    labels: np.ndarray,
    n_labels: int,
    *,
    min_count: int,
    anchored: Anchored | None = None,
    device: torch.device,
    seed: int = 0,
) -> tuple[Importance, sp.csr_matrix, Edges]:
    """Attention and attribution, averaged over cells.

    **Attention** (arXiv 2312.10310, analyses): A~[i, j] is the attention of gene i to gene j, averaged over all attention
    matrices that contain both, one a cell, layer and head; a gene's importance is what it receives.

    **Attribution**: x_j d m / d x_j, averaged over cells, with the margin m = l_c - (max_c' l_c' + mean_c' l_c') / 2, where
    l are the logits of q, c is the label that the cell is given, and c' any other: what the expression of gene j adds, to
    first order, to the margin by which q prefers the label. Half of it is over the closest rival, which is what deletion
    of a gene brings up first, and half over all, which is what many deletions bring up.

    Parameters
    ----------
    gene_gnn
        The trained q, on `device`.
    x
        Normalised expression, CSR, shape (N, T).
    labels
        Code of the label that each cell is given, shape (N,).
    n_labels
        C.
    min_count
        Pairs in fewer cells are left out, since an average over few cells is noise.
    anchored
        What an anchor adds, if there is one.
    device
        Where to compute.
    seed
        Draws the cells of labels that have many.

    Returns
    -------
    Importance, A~ as CSR float32, shape (T, T), whose rows need not sum to 1, since columns are averaged over different
    cells; and the pairs of genes where attention is strongest.
    """
    gene_gnn.eval()
    n_genes, rng = x.shape[1], np.random.default_rng(seed)
    received, attributed = (np.full((n_genes, n_labels), np.nan, dtype=np.float32) for _ in range(2))
    n_cells = np.bincount(labels, minlength=n_labels)
    pairs = drawn = no_pairs(n_genes, device)
    strongest = []
    present = np.flatnonzero(n_cells).tolist()
    with progress_bar(len(present), unit="label", name="importance") as bar:
        for label in present:
            cells = np.sort(rng.permutation(np.flatnonzero(labels == label))[:_CELLS_OF_LABEL])
            tokens = Tokens(x[cells], device)
            own = attention_of_pairs(gene_gnn, tokens, x[cells])
            pairs, drawn = pairs.plus(own, n_cells[label] / len(cells)), drawn.plus(own)
            strongest.append(strongest_pairs(label, own, min_count))
            if own.has_any(min_count) or not gene_gnn.layers:
                received[:, label] = own.mean(min_count).sum(0).cpu().numpy()
            theirs = None if anchored is None else anchored._replace(decisions=anchored.decisions[cells])
            attributed[:, label] = _attribution(gene_gnn, tokens, label, theirs) / len(cells)
            bar.update()
    attention = sp.csr_matrix(pairs.mean(min_count).float().cpu().numpy())
    importance = Importance(
        np.asarray(attention.astype(np.float64).sum(0)).ravel(),
        received,
        np.nan_to_num(attributed.astype(np.float64)) @ (n_cells / n_cells.sum()),
        attributed,
    )
    return importance, attention, edges_of(strongest, drawn)


def _attribution(gene_gnn: GeneGNN, tokens: Tokens, label: int, anchored: Anchored | None) -> np.ndarray:
    """What each gene adds to the margin of the label, summed over cells; (T,) float64."""
    device = tokens.device
    total = torch.zeros(tokens.shape[1], dtype=torch.float64, device=device)
    if anchored is not None:
        slopes = torch.from_numpy(np.ascontiguousarray(anchored.slopes.T, dtype=np.float32)).to(device)
    for cells, bucket in buckets_of(tokens):
        values = bucket.values.clone().requires_grad_()
        h = gene_gnn.norm(gene_gnn.embed(pack([bucket._replace(values=values)])))
        decisions = None
        if anchored is not None:
            decisions = torch.from_numpy(anchored.decisions[cells]).to(device)
            change = torch.where(bucket.expressed, values - values.detach(), 0)  # 0, with the slope of the values
            decisions = decisions + torch.einsum("bt,btc->bc", change, F.embedding(bucket.genes, slopes))
        logits = gene_gnn.logits(h, decisions)
        others = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
        margin = logits[:, label] - (others.amax(1) + others.mean(1)) / 2
        (slope,) = torch.autograd.grad(margin.sum(), values)
        added = torch.where(bucket.expressed, slope * bucket.values, 0)
        total.index_add_(0, bucket.genes.flatten(), added.double().flatten())
    return total.cpu().numpy()
