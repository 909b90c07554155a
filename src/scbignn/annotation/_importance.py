"""Attention between genes, averaged over cells, and the importance it gives each gene (arXiv 2312.10310, analyses)."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ._gene_gnn import GeneGNN
from ._tokens import Tokens

#: Rows of the expression matrix made dense at a time to count pairs of genes.
_ROWS = 4096


@torch.no_grad()
def mean_attention(gene_gnn: GeneGNN, x: sp.csr_matrix, *, min_count: int, device: torch.device) -> sp.csr_matrix:
    """A~[i, j]: attention of gene i to gene j, averaged over all attention matrices that contain both.

    There is one matrix a cell, layer and head. Pairs in fewer than `min_count` cells are left out, since an average
    over few cells is noise.

    Parameters
    ----------
    gene_gnn
        The trained q, on `device`.
    x
        Normalised expression, CSR, shape (N, T).
    min_count
        Fewest cells a pair must be expressed in.

    Returns
    -------
    CSR float32, shape (T, T). Row i need not sum to 1: the columns are averaged over different cells.
    """
    n_genes = x.shape[1]
    if not gene_gnn.layers:
        return sp.csr_matrix((n_genes, n_genes), dtype=np.float32)
    tokens = Tokens(x, device)
    total = torch.zeros(n_genes * n_genes, dtype=torch.float64, device=device)
    n_matrices = 0
    for cells in np.array_split(np.arange(x.shape[0]), -(-x.shape[0] // _ROWS)):
        for bucket in tokens.buckets(cells):
            layers = gene_gnn.attention(bucket)
            n_matrices = len(layers) * layers[0].shape[1]
            attention = sum(layer.sum(1, dtype=torch.float64) for layer in layers)  # (b, T, T)
            attention.masked_fill_(~bucket.expressed[:, :, None], 0)
            pair = bucket.genes[:, :, None] * n_genes + bucket.genes[:, None, :]
            total.index_add_(0, pair.flatten(), attention.flatten())
    count = _cells_with_both(x, device)
    keep = count >= max(1, min_count)
    mean = torch.where(keep, total.view(n_genes, n_genes) / (count * n_matrices), 0)
    return sp.csr_matrix(mean.float().cpu().numpy())


def _cells_with_both(x: sp.csr_matrix, device: torch.device) -> Tensor:
    """In how many cells each pair of genes is expressed, (T, T) float64."""
    count = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=device)
    for start in range(0, x.shape[0], _ROWS):
        expressed = torch.from_numpy(x[start : start + _ROWS].toarray() > 0).to(device, torch.float32)
        count += expressed.T @ expressed
    return count


def gene_importance(attention: sp.csr_matrix) -> np.ndarray:
    """s_j = sum_i A~[i, j], the attention that gene j receives; float64, shape (T,)."""
    return np.asarray(attention.astype(np.float64).sum(0)).ravel()
