"""A constant sparse matrix times a dense tensor, with a backward pass of its own."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
import torch.nn.functional as F
from torch import Tensor


class SparseProduct:
    """The map Z -> S Z for a constant sparse S, on any torch device.

    Both directions are weighted segment sums over rows (`embedding_bag`): S in CSR form runs forward, its transpose in
    CSR form runs backward. Time and memory follow the non-zeros, and nothing is scattered.

    Parameters
    ----------
    matrix
        S, shape (n, m), any SciPy sparse format.
    device, dtype
        Where Z will be, and of which floating type.
    """

    def __init__(
        self, matrix: sp.spmatrix | sp.sparray, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        forward = sp.csr_matrix(matrix)
        self._forward = _bags(forward, device, dtype)
        self._backward = _bags(forward.T.tocsr(), device, dtype)

    def __call__(self, z: Tensor) -> Tensor:
        """S Z, shape (n, d), for Z of shape (m, d)."""
        return _Product.apply(z, self._forward, self._backward)


def _bags(matrix: sp.csr_matrix, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """CSR parts as the indices, offsets and weights of `embedding_bag`; 32-bit indices wherever they suffice."""
    index = torch.int32 if max(*matrix.shape, matrix.nnz) <= np.iinfo(np.int32).max else torch.int64
    return (
        torch.tensor(matrix.indices, dtype=index, device=device),
        torch.tensor(matrix.indptr, dtype=index, device=device),
        torch.tensor(matrix.data, dtype=dtype, device=device),
    )


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z: Tensor, forward: tuple[Tensor, ...], backward: tuple[Tensor, ...]) -> Tensor:
        ctx.backward_bags = backward
        return _sum_bags(z, *forward)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _sum_bags(gradient.contiguous(), *ctx.backward_bags), None, None


def _sum_bags(z: Tensor, indices: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    return F.embedding_bag(indices, z, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True)
