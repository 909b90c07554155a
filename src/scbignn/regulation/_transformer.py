"""A small transformer over the genes of a cell, pre-trained on the user's own cells by hiding expression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checkpoints import Keeper, below, prefixed
from .._expression import digest
from .._layers import linear, mlp
from .._training import Schedule, progress_bar, train
from ._config import Config
from ._encoders import components, standardize
from ._pooling import CellStates

_BATCH = 16
#: Standardised expression beyond this is cut off: genes that few cells express have very large values there.
_MAX_Z = 4.0
#: Queries whose attention is in memory together.
_CHUNK = 512


class GeneTransformer(nn.Module):
    """Vectors h_ij of the genes j of a cell i, from their standardised expression x_ij.

    F_ij = e_j + x_ij s_j + MLP(x_ij), or e_j + m where x_ij is hidden; then layers F' = F + W softmax(Q K^T / sqrt d) V of
    LN(F) and F'' = F' + MLP(LN(F')); h = LN(F). A gene's hidden value is read off as r_j . h_ij. At first s_j are the
    gene's loadings of the principal components, so that a mean over genes holds the components of the cell, and r_j = 0.

    Parameters
    ----------
    mean, deviation
        Of the log expression of G genes, (G,), by which it is standardised.
    init
        Generator of the initial weights.
    """

    def __init__(self, config: Config, mean: Tensor, deviation: Tensor, *, init: torch.Generator) -> None:
        super().__init__()
        d = config.encoder_width
        self.n_heads = config.encoder_heads
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)
        self.gene = nn.Parameter(torch.empty(len(mean), d).normal_(generator=init))
        self.slope = nn.Parameter(torch.zeros(len(mean), d))
        self.read = nn.Parameter(torch.zeros(len(mean), d))
        self.value = mlp(1, d, d, init)
        self.hidden = nn.Parameter(torch.empty(d).normal_(generator=init))
        depth = range(config.encoder_layers)
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in range(2 * len(depth) + 1))
        self.qkv = nn.ModuleList(linear(d, 3 * d, init, bias=False) for _ in depth)
        self.out = nn.ModuleList(linear(d, d, init) for _ in depth)
        self.mlps = nn.ModuleList(mlp(d, 4 * d, d, init) for _ in depth)

    @torch.no_grad()
    def start(self, z: Tensor) -> None:
        """Set slopes to loadings, each with variance 1 over genes, from standardised expression (n_cells, G)."""
        loadings = standardize(components(z.T.double().cpu().numpy(), self.slope.shape[1]))
        self.slope[:, : loadings.shape[1]] = torch.as_tensor(loadings, dtype=torch.float32, device=z.device)

    def standardize(self, x: Tensor) -> Tensor:
        """Log expression (..., G) to what the network reads; 0 for a gene without variance."""
        z = (x - self.mean) / self.deviation.clamp(min=1e-6)
        return torch.where(self.deviation > 1e-6, z, 0).clamp(-_MAX_Z, _MAX_Z)

    def embed(self, genes: Tensor, z: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Tokens: genes, values, which are hidden (b, T) -> (b, T, d)."""
        value = z[..., None] * F.embedding(genes, self.slope) + self.value(z[..., None])
        if hidden is not None:
            value = torch.where(hidden[..., None], self.hidden, value)
        return F.embedding(genes, self.gene) + value

    def forward(self, f: Tensor) -> Tensor:
        """Tokens to vectors, (b, T, d) -> (b, T, d)."""
        for layer in range(len(self.qkv)):
            q, k, v = self._heads(f, layer)
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            f = self._finish(f, mixed, layer)
        return self.norms[-1](f)

    def received(self, f: Tensor) -> Tensor:
        """Attention that each gene of one cell receives, (1, T, d) -> (T,), in units of the mean."""
        total = f.new_zeros(f.shape[1])
        for layer in range(len(self.qkv)):
            q, k, v = self._heads(f, layer)
            parts = []
            for start in range(0, f.shape[1], _CHUNK):
                a = (q[:, :, start : start + _CHUNK] @ k.transpose(2, 3) / q.shape[-1] ** 0.5).softmax(-1)
                total += a.mean((0, 1)).sum(0) / len(self.qkv)
                parts.append(a @ v)
            f = self._finish(f, torch.cat(parts, 2).transpose(1, 2).flatten(2), layer)
        return total

    def predict(self, h: Tensor, genes: Tensor) -> Tensor:
        """Values of hidden genes, (..., d) and (...) -> (...)."""
        return (h * F.embedding(genes, self.read)).sum(-1)

    def places(self, names: Sequence[str]) -> np.ndarray:
        """All genes, in the order that it was trained with."""
        return np.arange(len(names))

    @torch.no_grad()
    def states(
        self, x: sp.csr_matrix, places: np.ndarray, device: torch.device, *, received: bool
    ) -> Iterator[CellStates]:
        """Vectors of all genes in each cell, one cell at a time."""
        genes = torch.as_tensor(places, device=device)[None]
        for row in range(x.shape[0]):
            z = self.standardize(torch.as_tensor(x[row].toarray(), dtype=torch.float32, device=device))
            f = self.embed(genes, z)
            attention = self.received(f) if received else torch.ones(len(places), device=device)
            yield CellStates(self(f)[0], attention)

    def _heads(self, f: Tensor, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (b, H, T, d / H)."""
        qkv = self.qkv[layer](self.norms[2 * layer](f)).unflatten(-1, (3, self.n_heads, -1))
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def _finish(self, f: Tensor, mixed: Tensor, layer: int) -> Tensor:
        f = f + self.out[layer](mixed)
        return f + self.mlps[layer](self.norms[2 * layer + 1](f))


def fit_transformer(
    x: sp.csr_matrix, config: Config, *, device: torch.device, seed: int, checkpoint: Path | None = None
) -> tuple[GeneTransformer, list[dict[str, float]]]:
    """Pre-train on cells: of some genes of a cell a share is hidden, and told from the others by least squares.

    Parameters
    ----------
    x
        Log expression, CSR, (n_cells, G).
    checkpoint
        File that keeps the run while it trains, so that it goes on where it was interrupted.

    Returns
    -------
    The network, and a row of history an epoch.

    Raises
    ------
    ValueError
        The checkpoint is of another run.
    """
    n_cells, n_genes = x.shape
    generator = torch.Generator().manual_seed(seed)
    dense = torch.as_tensor(x.toarray(), dtype=torch.float32, device=device)
    network = GeneTransformer(config, dense.mean(0), dense.std(0, correction=0), init=generator).to(device)
    z = network.standardize(dense)
    network.start(z)
    n_context = min(config.encoder_context, n_genes)
    n_hidden = max(1, round(config.hidden_share * n_context))
    fingerprint = {"config": config.to_dict(), "seed": seed, "device": str(device), "expression": digest(x)}
    keeper = Keeper(checkpoint, fingerprint, generator)
    if keeper.n_finished:
        network.load_state_dict(below(keeper.finished, "module"))
        return network.eval(), keeper.history

    def run_epoch(step: Callable[[Tensor], None]) -> float:
        losses = []
        order = torch.randperm(n_cells, generator=generator)
        for cells in order.split(_BATCH):
            # Random order of genes: the first are shown, and of those the very first hidden.
            genes = torch.rand(len(cells), n_genes, generator=generator).argsort(1)[:, :n_context].to(device)
            truth = z[cells.to(device)].gather(1, genes)
            hidden = (torch.arange(n_context, device=device) < n_hidden).expand(len(cells), -1)
            h = network(network.embed(genes, truth, hidden))
            loss = F.mse_loss(network.predict(h[:, :n_hidden], genes[:, :n_hidden]), truth[:, :n_hidden])
            step(loss)
            losses.append(loss.item())
        return float(np.mean(losses))

    schedule = Schedule(
        n_epochs=config.encoder_epochs,
        steps_per_epoch=-(-n_cells // _BATCH),
        learning_rate=config.encoder_learning_rate,
        weight_decay=1e-2,
        patience=np.inf,
        decoupled=True,
    )
    with progress_bar(config.encoder_epochs) as progress:
        epochs = train(network, run_epoch, None, schedule, progress=progress, keeper=keeper)
    history = [{"epoch": number, "loss": epoch.loss} for number, epoch in enumerate(epochs)]
    keeper.finish_stage(prefixed(module=network.state_dict()), history)
    return network, history
