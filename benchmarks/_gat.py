"""A graph attention network on known edges in the manner of GENELink, on any split."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scbignn._layers import linear, mlp
from scbignn.graph import Attend, choose_engine, neighbor_attention

#: Heads and their widths, layer by layer; those of the first stand side by side, of the last the mean is taken.
_HEADS, _WIDTHS = 3, (128, 64)
_EPOCHS, _BATCH, _RATE, _DECAY = 20, 256, 3e-3, 0.99
#: Rate at which all further steps together move a weight by 1e-6 at most, since the rate falls with every batch.
_STILL = 1e-8


class GAT(nn.Module):
    """Two layers of attention over genes, a perceptron for each role, inner products."""

    def __init__(self, n_cells: int, generator: torch.Generator) -> None:
        super().__init__()
        inputs = (n_cells, _HEADS * _WIDTHS[0])
        self.project = nn.ModuleList(
            linear(a, _HEADS * b, generator, bias=False) for a, b in zip(inputs, _WIDTHS, strict=True)
        )
        self.sides = nn.ParameterList(
            linear(d, 2 * _HEADS, generator).weight.detach().view(2, _HEADS, d) for d in _WIDTHS
        )
        self.roles = nn.ModuleList(mlp(_WIDTHS[1], 32, 16, generator) for _ in range(2))

    def forward(self, h: Tensor, attend: Attend) -> tuple[Tensor, Tensor]:
        """(genes, cells) -> (genes, 16) as TFs, (genes, 16) as targets."""
        for number, (project, sides) in enumerate(zip(self.project, self.sides, strict=True)):
            z = project(h).unflatten(1, (_HEADS, -1))
            out = attend(z, *((z * side).sum(-1) for side in sides))
            h = F.elu(out.flatten(1)) if number == 0 else out.mean(1)
        return self.roles[0](h), self.roles[1](h)


def graph_attention(known: np.ndarray, shown: np.ndarray, x: np.ndarray, tfs: np.ndarray, seed: int) -> np.ndarray:
    """Scores of all pairs, (n_tfs, n_genes), after training on the shown ones; the last epoch counts.

    Training ends early where the rate has fallen so far that weights stay as they are.
    """
    generator = torch.Generator().manual_seed(seed)
    n_genes = known.shape[1]
    tf, gene = np.nonzero(known & shown)
    graph = sp.csr_matrix((np.ones(len(tf)), (tfs[tf], gene)), shape=(n_genes, n_genes))
    graph = (graph.maximum(graph.T) + sp.identity(n_genes)).tocsr()
    device = torch.device("cpu")
    attend = neighbor_attention(graph, choose_engine("auto", device), device)
    z = (x - x.mean(0)) / np.maximum(x.std(0), 1e-9)
    points = torch.as_tensor(z.T, dtype=torch.float32)
    network = GAT(points.shape[1], generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    slower = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=_DECAY)
    tf, gene = (torch.as_tensor(part) for part in np.nonzero(shown))
    truth = torch.as_tensor(known[shown], dtype=torch.float32)
    own = torch.as_tensor(tfs)
    batches = (batch for _ in range(_EPOCHS) for batch in torch.randperm(len(truth), generator=generator).split(_BATCH))
    for batch in batches:
        if slower.get_last_lr()[0] < _STILL:
            break
        as_tf, as_target = network(points, attend)
        logits = (as_tf[own[tf[batch]]] * as_target[gene[batch]]).sum(1)
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(logits, truth[batch]).backward()
        optimizer.step()
        slower.step()
    with torch.no_grad():
        as_tf, as_target = network(points, attend)
        return (as_tf[own] @ as_target.T).double().numpy()
