"""A graph neural network on the shown edges, whose scores correct given log-odds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._checkpoints import Keeper
from .._layers import Dropout, linear, mlp
from .._training import Schedule, train
from ..graph import Aggregate, Attend, Engine, neighbor_attention, neighbor_mean, neighbor_sum
from ._config import Config, Layer
from ._pooling import LearnedPooling


class Part(NamedTuple):
    """Edges to pass messages along, and pairs to learn from while those are all that is known."""

    edges: np.ndarray
    """(n_tfs, n_genes) bool."""
    asked: np.ndarray
    """(n_tfs, n_genes) bool."""
    offset: np.ndarray
    """(n_tfs, n_genes) float64, log-odds to correct."""


class LinkGNN(nn.Module):
    """Scores of pairs from vectors of genes: layers over the network, one head for TFs and one for targets.

    With Z = H W, layers are ReLU of
    - GraphSAGE (arXiv 1706.02216): H W_own + D^-1 A Z;
    - GCN (arXiv 1609.02907): D^-1/2 (A + I) D^-1/2 Z + b, where D counts the I too;
    - GAT (arXiv 1710.10903): attention over neighbours and oneself, heads side by side, + b.

    u = MLP_tf(H), v = MLP_target(H) of the states of all layers; score_ij = u_i . v_j + c_j, which is 0 at first, since the
    last layer for targets starts at zero.

    Parameters
    ----------
    d_in
        Columns of the gene vectors.
    d_cells
        The last so many of them are pooled from vectors in cells, by weights that are learned; 0 for none.
    init, noise
        Generators of the initial weights (CPU) and of dropout masks (the device of training).
    """

    def __init__(
        self, config: Config, d_in: int, *, init: torch.Generator, noise: torch.Generator, d_cells: int = 0
    ) -> None:
        super().__init__()
        widths = [d_in] + [config.width] * config.n_layers
        pairs = list(zip(widths, widths[1:], strict=False))
        self.layer, self.n_heads = config.layer, config.n_heads
        self.own = nn.ModuleList(linear(a, b, init) for a, b in pairs if self.layer == "sage")
        self.around = nn.ModuleList(linear(a, b, init, bias=False) for a, b in pairs)
        self.bias = nn.ParameterList(torch.zeros(b) for _, b in pairs if self.layer != "sage")
        attention = [linear(config.width, 2, init, bias=False).weight for _ in pairs if self.layer == "gat"]
        self.attention = nn.ParameterList(w.detach().unflatten(1, (self.n_heads, -1)) for w in attention)
        self.dropout = Dropout(config.dropout, noise)
        d = config.width // 2
        self.tf_head = mlp(sum(widths), config.width, d, init)
        self.target_head = mlp(sum(widths), config.width, d + 1, init)
        nn.init.zeros_(self.target_head[-1].weight)
        nn.init.zeros_(self.target_head[-1].bias)
        self.pooling = LearnedPooling(d_cells, init) if d_cells else None

    def forward(
        self, vectors: Tensor, messages: Aggregate | Attend, tfs: Tensor, cells: Tensor | None = None
    ) -> Tensor:
        """Scores (n_tfs, n_genes) from vectors (n_genes, d_in); `tfs` are rows of them, (n_tfs,).

        With `cells`, (n_genes, k, d_cells), the last columns of the vectors are what these are pooled to.
        """
        if cells is not None:
            vectors = torch.cat([vectors[:, : -cells.shape[-1]], self.pooling(cells)], dim=1)
        h, states = vectors, [vectors]
        for number in range(len(self.around)):
            h = self.dropout(self._pass(h, number, messages).relu())
            states.append(h)
        states = torch.cat(states, dim=1)
        u, v = self.tf_head(states[tfs]), self.target_head(states)
        return u @ v[:, :-1].T / u.shape[1] ** 0.5 + v[:, -1]

    def _pass(self, h: Tensor, number: int, messages: Aggregate | Attend) -> Tensor:
        """One layer before its ReLU."""
        z = self.around[number](h)
        if self.layer == "sage":
            return self.own[number](h) + messages(z)
        if self.layer == "gcn":
            return messages(z) + self.bias[number]
        z = z.unflatten(1, (self.n_heads, -1))
        left, right = ((z * w).sum(-1) for w in self.attention[number])
        return messages(z, left, right).flatten(1) + self.bias[number]


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
    cells: np.ndarray | None = None,
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
    cells
        (n_genes, k, d'), of which the last d' columns of `vectors` are means, to be pooled by weights that are learned.

    Returns
    -------
    The corrected log-odds, (n_tfs, n_genes) float64, and a row of history an epoch.
    """
    init = torch.Generator().manual_seed(seed)
    noise = torch.Generator(device).manual_seed(seed + 1)
    d_cells = 0 if cells is None else cells.shape[-1]
    network = LinkGNN(config, vectors.shape[1], init=init, noise=noise, d_cells=d_cells).to(device)
    in_cells = None if cells is None else torch.as_tensor(cells, dtype=torch.float32, device=device)
    points = torch.as_tensor(vectors, dtype=torch.float32, device=device)
    rows = torch.as_tensor(tfs, dtype=torch.int64, device=device)
    truth = torch.as_tensor(known, dtype=torch.float32, device=device)
    messages = [messages_over(part.edges, tfs, config.layer, engine, device) for part in parts]
    asked = [torch.as_tensor(np.flatnonzero(part.asked), device=device) for part in parts]
    offsets = [torch.as_tensor(part.offset, dtype=torch.float32, device=device) for part in parts]

    def run_epoch(step) -> float:
        losses = []
        for along, pairs, offset in zip(messages, asked, offsets, strict=True):
            logits = (offset + network(points, along, rows, in_cells)).ravel()[pairs]
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
        scores = network(points, messages_over(final.edges, tfs, config.layer, engine, device), rows, in_cells)
    history = [{"epoch": number, "loss": epoch.loss} for number, epoch in enumerate(epochs)]
    return final.offset + scores.double().cpu().numpy(), history


def messages_over(
    edges: np.ndarray, tfs: np.ndarray, layer: Layer, engine: Engine, device: torch.device
) -> Aggregate | Attend:
    """What a layer does with a gene's targets and regulators, from edges (n_tfs, n_genes)."""
    found = np.nonzero(edges)
    n_genes = edges.shape[1]
    graph = sp.csr_matrix((np.ones(len(found[0])), (tfs[found[0]], found[1])), shape=(n_genes, n_genes))
    graph = graph.maximum(graph.T).tocsr()
    if layer == "sage":
        return neighbor_mean(graph, engine, device)
    graph = graph.maximum(sp.identity(n_genes, format="csr")).tocsr()
    if layer == "gat":
        return neighbor_attention(graph, engine, device)
    scale = sp.diags(1 / np.sqrt(np.diff(graph.indptr)))
    return neighbor_sum((scale @ graph @ scale).tocsr(), engine, device)
