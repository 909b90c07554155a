"""The cell-level GNN p_theta: mean aggregation over the learned kNN graph (arXiv 2312.10310, Eqs. 7-8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .._layers import Correction, Dropout, linear, mlp, standardize_inputs
from ..graph import Aggregate, SparseProduct
from ._anchor import LOGIT_SCALE
from ._config import Config


class Cells(NamedTuple):
    """What is known of N cells before p trains."""

    x: SparseProduct | None
    """Expression of the panel, (N, T); None where p does not see genes."""
    gene_mean: Tensor | None = None
    """(T,) its mean, and below its standard deviation: what a new network is started with."""
    gene_std: Tensor | None = None
    features: Tensor | None = None
    """(N, F) in place of genes."""
    decisions: Tensor | None = None
    """(N, C) of the anchor, which the logits correct."""


class CellGNN(nn.Module):
    """p_theta(y | X): input z, mean-aggregation layers, jumping knowledge, classifier.

    Parameters
    ----------
    config
        Widths, layers, dropout.
    n_genes, n_labels, n_features
        T, C, and the columns of the features with ``config.cell_input="components"``.
    init, noise
        Generators of the initial weights (CPU) and of dropout masks (the device of training).
    """

    def __init__(
        self,
        config: Config,
        n_genes: int,
        n_labels: int,
        *,
        n_features: int = 0,
        init: torch.Generator,
        noise: torch.Generator,
    ) -> None:
        super().__init__()
        d = config.width
        self.sees_genes = config.cell_input == "genes"
        d_z = 2 * d if self.sees_genes else d
        self.n_known = d_known = n_labels if config.mask_labels else 0
        if self.sees_genes:
            self.gene_input = SparseMLP(n_genes, d, d, init)
            self.known_input = linear(d_known, d_z, init, bias=False) if d_known else None
        else:
            self.feature_input = nn.Sequential(linear(n_features + d_known, d, init), nn.BatchNorm1d(d), nn.ReLU())
        self.layers = nn.ModuleList(
            MeanLayer(config, d_z if layer == 0 else d, init, noise) for layer in range(config.n_cell_layers)
        )
        self.dropout = Dropout(0.0 if config.batch_norm else config.dropout, noise)
        d_out = d_z + config.n_cell_layers * d
        self.classifier = Correction(d_out, n_labels, LOGIT_SCALE) if config.anchor else mlp(d_out, d, n_labels, init)

    @torch.no_grad()
    def start(self, cells: Cells, h: Tensor, mean: Aggregate) -> None:
        """Set initial weights so that genes and states vary on a scale of 1."""
        if self.sees_genes:
            standardize_inputs(self.gene_input.inner, cells.gene_mean, cells.gene_std)
        if isinstance(self.classifier, nn.Sequential):
            states = torch.cat(self.states(cells, h, [mean] * len(self.layers)), dim=1)
            standardize_inputs(self.classifier[0], states.mean(0), states.std(0))

    def forward(self, cells: Cells, h: Tensor, mean: Aggregate, known: Tensor | None = None) -> Tensor:
        """Logits (N, C).

        Parameters
        ----------
        cells
            What is known of the cells beforehand.
        h
            Embedding of the gene-level network, (N, d), constant.
        mean
            Z -> D^-1 A_c Z.
        known
            Labels shown as input, one-hot, zero where hidden, (N, C); None shows none.
        """
        return self.logits(self.states(cells, h, [mean] * len(self.layers), known), cells.decisions)

    def states(self, cells: Cells, h: Tensor, means: Sequence[Aggregate], known: Tensor | None = None) -> list[Tensor]:
        """The input z, (N, d_z), and every layer's output, (N, d); each layer has a mean of its own."""
        states = [self.z(cells, h, known)]
        for layer, mean in zip(self.layers, means, strict=True):
            states.append(layer(states[-1], mean))
        return states

    def logits(self, states: list[Tensor], decisions: Tensor | None) -> Tensor:
        """Jumping knowledge: the classifier sees all states side by side, (N, d_z + L d) -> (N, C)."""
        everything = self.dropout(torch.cat(states, dim=1))
        return self.classifier(everything) if decisions is None else self.classifier(everything, decisions)

    def z(self, cells: Cells, h: Tensor, known: Tensor | None) -> Tensor:
        """The input, Eq. 7: h and an MLP of the genes, (N, 2 d); or one layer on features instead, (N, d)."""
        if not self.sees_genes:
            if known is None:
                known = cells.features.new_zeros(len(cells.features), self.n_known)
            return self.feature_input(torch.cat([cells.features, known], dim=1))
        z = torch.cat([h, self.gene_input(cells.x)], dim=1)
        return z if known is None else z + self.known_input(known)


class SparseMLP(nn.Module):
    """MLP(x) of Eq. 7 on sparse rows: X (N, T) -> (N, d_out), at a cost that follows the non-zeros of X."""

    def __init__(self, n_genes: int, d_hidden: int, d_out: int, init: torch.Generator) -> None:
        super().__init__()
        self.inner = linear(n_genes, d_hidden, init)
        self.outer = linear(d_hidden, d_out, init)

    def forward(self, x: SparseProduct) -> Tensor:
        return self.outer((x(self.inner.weight.T.contiguous()) + self.inner.bias).relu())


class MeanLayer(nn.Module):
    """Eq. 8: Z' = MLP_c(D^-1 A_c Z W_c); (N, d_in) -> (N, d). The mean is taken at the narrower width, of Z W_c.

    With batch norm, MLP_c is batch norm, ReLU and dropout.
    """

    def __init__(self, config: Config, d_in: int, init: torch.Generator, noise: torch.Generator) -> None:
        super().__init__()
        d = config.width
        self.w_c = linear(d_in, d, init, bias=False)
        if config.batch_norm:
            self.mlp_c = nn.Sequential(nn.BatchNorm1d(d), nn.ReLU(), Dropout(config.dropout, noise))
        else:
            self.mlp_c = mlp(d, d, d, init)

    def forward(self, z: Tensor, mean: Aggregate) -> Tensor:
        return self.mlp_c(mean(self.w_c(z)))
