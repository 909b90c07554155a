"""Sums over neighbours with weights that are given or learned: one signature each, two engines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor

from ._mean import Aggregate, Engine, _import_dgl
from ._product import SparseProduct

#: z (n, H, d), left (n, H), right (n, H) -> (n, H, d).
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
_SLOPE = 0.2


def neighbor_sum(
    weights: sp.csr_matrix, engine: Engine, device: torch.device, dtype: torch.dtype = torch.float32
) -> Aggregate:
    """The map Z -> W Z for constant weights W, (n, n), differentiable in Z, (n, d); one of GCN's layers.

    Parameters
    ----------
    weights
        Entry (i, j) is stored where j sends to i.
    engine
        `"dgl"` or `"torch"`, from :func:`choose_engine`. Both give the same values and gradients to rounding.
    device, dtype
        Where Z will be, and of which floating type.
    """
    if engine == "torch":
        return SparseProduct(weights, device, dtype)
    graph, dgl = _dgl_graph(weights, device)
    values = torch.tensor(weights.tocoo().data, dtype=dtype, device=device)[:, None]
    return lambda z: dgl.ops.u_mul_e_sum(graph, z, values)


def neighbor_attention(adjacency: sp.csr_matrix, engine: Engine, device: torch.device) -> Attend:
    """Attention of H heads over neighbours (GAT, arXiv 1710.10903), differentiable in all it is given.

    out_i = sum_j alpha_ij z_j over the neighbours j of i, alpha_ij = softmax_j LeakyReLU(left_i + right_j), slope 0.2;
    0 where i has no neighbour.

    Parameters
    ----------
    adjacency
        (n, n): entry (i, j) is stored where j is a neighbour of i. Values are ignored.
    engine
        `"dgl"` or `"torch"`, from :func:`choose_engine`. Both give the same values and gradients to rounding.
    device
        Where z, left and right will be.
    """
    return (_dgl_attention if engine == "dgl" else _torch_attention)(adjacency, device)


def _torch_attention(adjacency: sp.csr_matrix, device: torch.device) -> Attend:
    edges = adjacency.tocoo()
    to, source = (torch.as_tensor(part.astype(np.int64), device=device) for part in (edges.row, edges.col))

    def attend(z: Tensor, left: Tensor, right: Tensor) -> Tensor:
        logits = F.leaky_relu(left[to] + right[source], _SLOPE)
        place = to[:, None].expand_as(logits)
        highest = torch.full_like(left, -torch.inf).scatter_reduce(0, place, logits.detach(), "amax")
        weight = (logits - highest[to]).exp()
        total = torch.zeros_like(left).index_add(0, to, weight)
        out = torch.zeros_like(z).index_add(0, to, weight[..., None] * z[source])
        return out / torch.where(total > 0, total, 1)[..., None]

    return attend


def _dgl_attention(adjacency: sp.csr_matrix, device: torch.device) -> Attend:
    graph, dgl = _dgl_graph(adjacency, device)

    def attend(z: Tensor, left: Tensor, right: Tensor) -> Tensor:
        logits = F.leaky_relu(dgl.ops.u_add_v(graph, right.contiguous(), left.contiguous()), _SLOPE)
        weight = dgl.ops.edge_softmax(graph, logits[..., None])
        return dgl.ops.u_mul_e_sum(graph, z.contiguous(), weight)

    return attend


def _dgl_graph(adjacency: sp.csr_matrix, device: torch.device):
    """A DGL graph whose edges are the entries in their order: messages travel from column to row."""
    dgl = _import_dgl()
    edges = adjacency.tocoo()
    to, source = torch.from_numpy(edges.row.astype(np.int32)), torch.from_numpy(edges.col.astype(np.int32))
    graph = dgl.graph((source, to), num_nodes=adjacency.shape[0]).to(device)
    graph.create_formats_()
    return graph, dgl
