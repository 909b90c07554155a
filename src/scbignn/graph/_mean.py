"""Mean over neighbours, D^-1 A Z: one signature, two engines, one choice rule."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ._product import SparseProduct

logger = logging.getLogger(__name__)

Engine = Literal["dgl", "torch"]
Aggregate = Callable[[Tensor], Tensor]


def neighbor_mean(
    adjacency: sp.csr_matrix, engine: Engine, device: torch.device, dtype: torch.dtype = torch.float32
) -> Aggregate:
    """The map Z -> D^-1 A Z of scBiGNN's Eq. 8 (arXiv 2312.10310), differentiable in Z.

    Row i of the result is the mean of Z over the neighbours of cell i, and 0 where a cell has none.

    Parameters
    ----------
    adjacency
        A, shape (n, n): entry (i, j) is stored where cell j is a neighbour of cell i. Values are ignored.
    engine
        `"dgl"` or `"torch"`, from :func:`choose_engine`. Both give the same values and gradients to rounding.
    device, dtype
        Where Z, shape (n, d), will be, and of which floating type.
    """
    return (_dgl_mean if engine == "dgl" else _torch_mean)(adjacency, device, dtype)


def _torch_mean(adjacency: sp.csr_matrix, device: torch.device, dtype: torch.dtype) -> Aggregate:
    degree = np.diff(adjacency.indptr)
    weights = np.repeat(1.0 / np.maximum(degree, 1), degree)
    mean = sp.csr_matrix((weights, adjacency.indices, adjacency.indptr), shape=adjacency.shape)
    return SparseProduct(mean, device, dtype)


def _dgl_mean(adjacency: sp.csr_matrix, device: torch.device, _dtype: torch.dtype) -> Aggregate:
    dgl = _import_dgl()
    edges = adjacency.tocoo()
    cells, neighbors = torch.from_numpy(edges.row.astype(np.int32)), torch.from_numpy(edges.col.astype(np.int32))
    # A DGL message travels from source to destination: from the neighbour j to the cell i.
    graph = dgl.graph((neighbors, cells), num_nodes=adjacency.shape[0]).to(device)
    graph.create_formats_()
    return lambda z: dgl.ops.copy_u_mean(graph, z)


def choose_engine(backend: Literal["auto", "dgl", "torch"], device: torch.device) -> Engine:
    """DGL where it imports and accepts the device, else the torch engine; the reason for falling back is logged.

    Raises
    ------
    ValueError
        `backend` is none of the three.
    RuntimeError
        `backend="dgl"` and DGL cannot run on `device`.
    """
    if backend not in ("auto", "dgl", "torch"):
        msg = f'backend={backend!r} is unknown. Use backend="auto", "dgl" or "torch".'
        raise ValueError(msg)
    if backend == "torch":
        return "torch"
    obstacle = _dgl_obstacle(device)
    if obstacle is None:
        return "dgl"
    if backend == "dgl" and device.type == "cpu":
        msg = f'backend="dgl" was asked for, but {obstacle}. Use backend="torch", which gives the same result.'
        raise RuntimeError(msg)
    log = logger.warning if backend == "dgl" else logger.info
    log("the cell graph runs on the torch engine: %s", obstacle)
    return "torch"


def _dgl_obstacle(device: torch.device) -> str | None:
    """Why DGL cannot aggregate on `device`, found by trying a graph of one edge; None where it can."""
    try:
        dgl = _import_dgl()
    except Exception as error:  # noqa: BLE001 (a DGL that does not fit its torch fails in many ways)
        return f"DGL does not import ({type(error).__name__}: {_first_line(error)})"
    try:
        dgl.graph(([0], [1]), num_nodes=2).to(device)
    except (dgl.DGLError, AssertionError, RuntimeError) as error:
        return f"this DGL does not run on {device} ({_first_line(error)})"
    return None


def _import_dgl():
    # Without this, DGL prints, writes into the home directory, and fails where that is read-only.
    os.environ.setdefault("DGLBACKEND", "pytorch")
    import dgl

    return dgl


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else "no message"
