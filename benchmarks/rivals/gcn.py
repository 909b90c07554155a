"""Two-layer graph convolutional network on the raw PCA graph (Kipf and Welling 2017), 1,000 most variable genes."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from sklearn.neighbors import kneighbors_graph

from scbignn.annotation import top_variance_genes
from scbignn.graph import SparseProduct

MODE = "transductive"


def predict(problem) -> np.ndarray:
    generator = torch.Generator().manual_seed(problem.seed)
    x = problem.x[:, top_variance_genes(problem.x, 1000)]
    x = torch.from_numpy(x.toarray() * np.sqrt(x.shape[1])).float()
    spread = _convolution(problem.components)
    first = torch.empty(x.shape[1], 64)
    second = torch.empty(64, problem.n_labels)
    for weight in (first, second):
        torch.nn.init.xavier_uniform_(weight, generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([{"params": [first], "weight_decay": 5e-4}, {"params": [second]}], lr=1e-2)
    y, train = torch.from_numpy(problem.y), torch.from_numpy(problem.train)
    smooth = spread(x)

    def logits(keep: float) -> torch.Tensor:
        hidden = (smooth @ first).relu()
        if keep < 1:
            hidden = hidden * torch.empty_like(hidden).bernoulli_(keep, generator=generator) / keep
        return spread(hidden @ second)

    for _ in range(200):
        optimizer.zero_grad()
        F.cross_entropy(logits(0.5)[train], y[train]).backward()
        optimizer.step()
    with torch.no_grad():
        return logits(1.0).softmax(1)[torch.from_numpy(problem.test)].numpy()


def _convolution(points: np.ndarray) -> SparseProduct:
    """Z -> D^-1/2 (A + I) D^-1/2 Z on the symmetric graph of 15 neighbours."""
    graph = kneighbors_graph(points, 15)
    graph = graph.maximum(graph.T) + sp.eye_array(len(points))
    scale = sp.diags_array(1 / np.sqrt(np.asarray(graph.sum(1)).ravel()))
    return SparseProduct(sp.csr_matrix(scale @ graph @ scale), torch.device("cpu"))
