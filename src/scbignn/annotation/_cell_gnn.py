"""The cell-level GNN p_theta: mean aggregation over the learned kNN graph (arXiv 2312.10310, Eqs. 7-8)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .._layers import Dropout, linear, mlp, standardize_inputs
from ..graph import Aggregate, SparseProduct
from ._config import Config


class CellGNN(nn.Module):
    """p_theta(y | X): input z, mean-aggregation layers, jumping knowledge, classifier.

    Parameters
    ----------
    config
        Widths, layers, dropout.
    n_genes, n_labels
        T and C.
    init, noise
        Generators of the initial weights (CPU) and of dropout masks (the device of training).
    """

    def __init__(
        self, config: Config, n_genes: int, n_labels: int, *, init: torch.Generator, noise: torch.Generator
    ) -> None:
        super().__init__()
        d = config.width
        self.gene_input = SparseMLP(n_genes, d, d, init)
        self.layers = nn.ModuleList(
            MeanLayer(2 * d if layer == 0 else d, d, init) for layer in range(config.n_cell_layers)
        )
        self.dropout = Dropout(config.dropout, noise)
        self.classifier = mlp((2 + config.n_cell_layers) * d, d, n_labels, init)

    @torch.no_grad()
    def start(self, x: SparseProduct, h: Tensor, mean: Aggregate, *, gene_mean: Tensor, gene_std: Tensor) -> None:
        """Set initial weights so that genes, of the given mean and deviation, and states vary on a scale of 1."""
        standardize_inputs(self.gene_input.inner, gene_mean, gene_std)
        states = self.states(x, h, mean)
        standardize_inputs(self.classifier[0], states.mean(0), states.std(0))

    def forward(self, x: SparseProduct, h: Tensor, mean: Aggregate) -> Tensor:
        """x: X (N, T); h: (N, d), constant; mean: Z -> D^-1 A_c Z. Returns logits (N, C)."""
        return self.classifier(self.dropout(self.states(x, h, mean)))

    def states(self, x: SparseProduct, h: Tensor, mean: Aggregate) -> Tensor:
        """Jumping knowledge: the input z and every layer's output side by side, (N, (2 + L) d)."""
        states = [torch.cat([h, self.gene_input(x)], dim=1)]  # z, (N, 2 d)
        for layer in self.layers:
            states.append(layer(states[-1], mean))  # (N, d)
        return torch.cat(states, dim=1)


class SparseMLP(nn.Module):
    """MLP(x) of Eq. 7 on sparse rows: X (N, T) -> (N, d_out), at a cost that follows the non-zeros of X."""

    def __init__(self, n_genes: int, d_hidden: int, d_out: int, init: torch.Generator) -> None:
        super().__init__()
        self.inner = linear(n_genes, d_hidden, init)
        self.outer = linear(d_hidden, d_out, init)

    def forward(self, x: SparseProduct) -> Tensor:
        return self.outer((x(self.inner.weight.T.contiguous()) + self.inner.bias).relu())


class MeanLayer(nn.Module):
    """Eq. 8: Z' = MLP_c(D^-1 A_c Z W_c); (N, d_in) -> (N, d). The mean is taken at the narrower width, of Z W_c."""

    def __init__(self, d_in: int, d: int, init: torch.Generator) -> None:
        super().__init__()
        self.w_c = linear(d_in, d, init, bias=False)
        self.mlp_c = mlp(d, d, d, init)

    def forward(self, z: Tensor, mean: Aggregate) -> Tensor:
        return self.mlp_c(mean(self.w_c(z)))
