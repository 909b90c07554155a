"""A graph neural network on the shown edges, whose scores correct given log-odds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._layers import Dropout, linear, mlp
from .._training import Keeper, Schedule, train
from ..graph import Aggregate, Engine, neighbor_mean
from ._config import Config


class Part(NamedTuple):
    """Edges to pass messages along, and pairs to learn from while those are all that is known."""

    edges: np.ndarray
    """(n_tfs, n_genes) bool."""
    asked: np.ndarray
    """(n_tfs, n_genes) bool."""
    offset: np.ndarray
    """(n_tfs, n_genes) float64, log-odds to correct."""


class LinkGNN(nn.Module):
    """Scores of pairs from vectors of genes: mean layers over the network, one head for TFs and one for targets.

    H' = ReLU(H W_own + D^-1 A H W_around) twice; u = MLP_tf(H), v = MLP_target(H); score_ij = u_i . v_j + c_j, which is 0
    at first, since the last layer for targets starts at zero.

    Parameters
    ----------
    d_in
        Columns of the gene vectors.
    init, noise
        Generators of the initial weights (CPU) and of dropout masks (the device of training).
    """

    def __init__(self, config: Config, d_in: int, *, init: torch.Generator, noise: torch.Generator) -> None:
        super().__init__()
        widths = [d_in] + [config.width] * config.n_layers
        self.own = nn.ModuleList(linear(a, b, init) for a, b in zip(widths, widths[1:], strict=False))
        self.around = nn.ModuleList(linear(a, b, init, bias=False) for a, b in zip(widths, widths[1:], strict=False))
        self.dropout = Dropout(config.dropout, noise)
        d = config.width // 2
        self.tf_head = mlp(sum(widths), config.width, d, init)
        self.target_head = mlp(sum(widths), config.width, d + 1, init)
        nn.init.zeros_(self.target_head[-1].weight)
        nn.init.zeros_(self.target_head[-1].bias)

    def forward(self, vectors: Tensor, mean: Aggregate, tfs: Tensor) -> Tensor:
        """Scores (n_tfs, n_genes) from vectors (n_genes, d_in); `tfs` are rows of them, (n_tfs,)."""
        h, states = vectors, [vectors]
        for own, around in zip(self.own, self.around, strict=True):
            h = self.dropout((own(h) + mean(around(h))).relu())
            states.append(h)
        states = torch.cat(states, dim=1)
        u, v = self.tf_head(states[tfs]), self.target_head(states)
        return u @ v[:, :-1].T / u.shape[1] ** 0.5 + v[:, -1]


def fit_gnn(
    parts: list[Part],
    known: np.ndarray,
    final: Part,
    vectors: np.ndarray,
    tfs: np.ndarray,
    config: Config,
    *,
    device: torch.device,
    engine: Engine,
    seed: int,
    progress: object,
) -> tuple[np.ndarray, list[dict[str, float]]]:
    """Train on each part in turn, and score every pair with the edges of `final`.

    In each part messages pass along some of the training edges, and the loss is on others: so the network learns to
    predict an edge it does not see.

    Parameters
    ----------
    parts
        Of the training pairs.
    known
        Edges, (n_tfs, n_genes) bool; read at the pairs that the parts ask for.
    final
        All training edges, and the log-odds to correct with them; `asked` is not read.
    vectors
        (n_genes, d).

    Returns
    -------
    The corrected log-odds, (n_tfs, n_genes) float64, and a row of history an epoch.
    """
    init = torch.Generator().manual_seed(seed)
    noise = torch.Generator(device).manual_seed(seed + 1)
    network = LinkGNN(config, vectors.shape[1], init=init, noise=noise).to(device)
    points = torch.as_tensor(vectors, dtype=torch.float32, device=device)
    rows = torch.as_tensor(tfs, dtype=torch.int64, device=device)
    truth = torch.as_tensor(known, dtype=torch.float32, device=device)
    means = [_mean_over(part.edges, tfs, engine, device) for part in parts]
    asked = [torch.as_tensor(np.flatnonzero(part.asked), device=device) for part in parts]
    offsets = [torch.as_tensor(part.offset, dtype=torch.float32, device=device) for part in parts]

    def run_epoch(step) -> float:
        losses = []
        for mean, pairs, offset in zip(means, asked, offsets, strict=True):
            logits = (offset + network(points, mean, rows)).ravel()[pairs]
            loss = F.binary_cross_entropy_with_logits(logits, truth.ravel()[pairs])
            step(loss)
            losses.append(loss.item())
        return float(np.mean(losses))

    schedule = Schedule(
        n_epochs=config.n_epochs,
        steps_per_epoch=len(parts),
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        patience=np.inf,
        decoupled=True,
    )
    epochs = train(network, run_epoch, None, schedule, progress=progress, keeper=Keeper(None, {}, init))
    with torch.no_grad():
        scores = network(points, _mean_over(final.edges, tfs, engine, device), rows)
    history = [{"epoch": number, "loss": epoch.loss} for number, epoch in enumerate(epochs)]
    return final.offset + scores.double().cpu().numpy(), history


def _mean_over(edges: np.ndarray, tfs: np.ndarray, engine: Engine, device: torch.device) -> Aggregate:
    """The mean over a gene's targets and regulators."""
    found = np.nonzero(edges)
    n_genes = edges.shape[1]
    graph = sp.csr_matrix((np.ones(len(found[0])), (tfs[found[0]], found[1])), shape=(n_genes, n_genes))
    return neighbor_mean(graph.maximum(graph.T).tocsr(), engine, device)
