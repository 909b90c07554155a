"""MLP_g of Eq. 4 (arXiv 2312.10310) of narrow heads on a CPU: two products with hardly any rows, and what is between them.

Torch takes five times as long as the floating-point operations need, and writes hidden units of all positions to memory. Here
they never leave the cache, and are found again on the way back.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ._loops import (
    D_HEAD,
    FLOAT,
    HIGH,
    MATRIX,
    ZERO,
    ZEROS,
    S,
    add_two,
    arrays,
    at,
    compiled,
    dot,
    four,
    in_threads,
    inlined,
    is_compilable,
    plus,
)

#: Positions whose hidden units stay in the cache.
_BLOCK = 256
#: Products of a weight and a number that are worth another thread, 2 ms of work or so.
_PRODUCTS_PER_THREAD = 32_000_000


def head_mlp(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor | None:
    """w2^T relu(w1^T x + b1) + b2 of every head; differentiable once in all of them.

    Parameters
    ----------
    x
        (H, 8, N) float32, on the CPU.
    w1, b1
        (H, 8, h) and (H, h), with an even h.
    w2, b2
        (H, h, 8) and (H, 8).

    Returns
    -------
    (N, 8 H), the heads side by side; None if x is of another type, or Numba is told not to compile: torch must see to it.
    """
    return _HeadMLP.apply(x, w1, b1, w2, b2) if is_compilable(x) else None


class _HeadMLP(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        x, w1 = x.contiguous(), w1.mT.contiguous()
        out = x.new_empty(x.shape[2], D_HEAD * len(x))
        in_threads(_forward, _parts(x, w1), *arrays(x, w1, b1, w2, b2, out))
        ctx.save_for_backward(x, w1, b1, w2)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, ...]:
        x, w1, b1, w2 = ctx.saved_tensors
        parts = _parts(x, w1)
        found = torch.empty_like(x)
        sums = [torch.zeros(len(parts), *shape) for shape in (w1.shape, b1.shape, w2.shape, x.shape[:2])]
        parts = [(*part, *(total[number].numpy() for total in sums)) for number, part in enumerate(parts)]
        in_threads(_backward, parts, *arrays(x, w1, b1, w2, gradient.contiguous(), found))
        d_w1, d_b1, d_w2, d_b2 = (total.sum(0) for total in sums)
        return found, d_w1.mT, d_b1, d_w2, d_b2


def _parts(x: Tensor, w1: Tensor) -> list[tuple[int, int]]:
    """First and last position of each thread's share."""
    n_blocks = -(-x.shape[2] // _BLOCK)
    n_products = 2 * w1.numel() * x.shape[2]
    n_threads = max(1, min(torch.get_num_threads(), n_products // _PRODUCTS_PER_THREAD, n_blocks))
    edges = [min(x.shape[2], part * n_blocks // n_threads * _BLOCK) for part in range(n_threads + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


# --- compiled ---------------------------------------------------------------------------------------------------------
#
# Two hidden units at a time, for all positions of a block.


@compiled
def _two_rows(weights, unit):
    """Lower and upper coordinates of a unit's weights, and of the next one's."""
    a, b = weights[unit], weights[unit + 1]
    return (a[0], a[1], a[2], a[3]), (a[4], a[5], a[6], a[7]), (b[0], b[1], b[2], b[3]), (b[4], b[5], b[6], b[7])


@compiled
def _relu(y):
    """No smaller than 0; what is no number stays none."""
    return ZERO if y <= ZERO else y


@inlined
def _set_hidden(x, to, low1, high1, low2, high2, bias1, bias2, n):  # noqa: PLR0917 (called by position)
    """Two hidden units of n positions, at `to` and `to` + S."""
    for j in range(n):
        x[at(to + j)] = _relu(dot(low1, high1, x, j) + bias1)
        x[at(to + S + j)] = _relu(dot(low2, high2, x, j) + bias2)


@compiled
def _forward(first, last, x_in, w1, b1, w2, b2, out):  # noqa: PLR0917 (called by position)
    """Positions `first` to `last` of out; w1 is (H, h, 8)."""
    acc, hidden = MATRIX, 2 * MATRIX
    x = np.empty(2 * MATRIX + 2 * S, FLOAT)
    for head in range(len(x_in)):
        for start in range(first, last, _BLOCK):
            n = min(_BLOCK, last - start)
            for d in range(D_HEAD):
                for j in range(n):
                    x[at(d * S + j)] = x_in[at(head), at(d), at(start + j)]
                for j in range(n):
                    x[at(acc + d * S + j)] = b2[head, d]
            for unit in range(0, w1.shape[1], 2):
                low1, high1, low2, high2 = _two_rows(w1[head], unit)
                _set_hidden(x, hidden, low1, high1, low2, high2, b1[head, unit], b1[head, unit + 1], n)
                low1, high1, low2, high2 = _two_rows(w2[head], unit)
                add_two(x, acc, hidden, low1, high1, low2, high2, 0, n)
            for j in range(n):
                for d in range(D_HEAD):
                    out[at(start + j), at(D_HEAD * head + d)] = x[at(acc + d * S + j)]


@compiled
def _backward(first, last, d_w1, d_b1, d_w2, d_b2, x_in, w1, b1, w2, gradient, found):  # noqa: PLR0917 (called by position)
    """Gradients in x at positions `first` to `last`; those in weights are added to d_w1 to d_b2, d_w1 as (H, h, 8)."""
    g, acc, hidden, pull = MATRIX, 2 * MATRIX, 3 * MATRIX, 3 * MATRIX + 2 * S
    x = np.empty(3 * MATRIX + 4 * S, FLOAT)
    for head in range(len(x_in)):
        for start in range(first, last, _BLOCK):
            n = min(_BLOCK, last - start)
            for d in range(D_HEAD):
                total = ZERO
                for j in range(n):
                    x[at(d * S + j)] = x_in[at(head), at(d), at(start + j)]
                    x[at(acc + d * S + j)] = 0
                for j in range(n):
                    x[at(g + d * S + j)] = gradient[at(start + j), at(D_HEAD * head + d)]
                    total += x[at(g + d * S + j)]
                d_b2[head, d] += total
            for unit in range(0, w1.shape[1], 2):
                low1, high1, low2, high2 = _two_rows(w1[head], unit)
                _set_hidden(x, hidden, low1, high1, low2, high2, b1[head, unit], b1[head, unit + 1], n)
                out_low1, out_high1, out_low2, out_high2 = _two_rows(w2[head], unit)
                for j in range(n):
                    pull1, pull2 = dot(out_low1, out_high1, x, g + j), dot(out_low2, out_high2, x, g + j)
                    x[at(pull + j)] = ZERO if x[at(hidden + j)] <= ZERO else pull1
                    x[at(pull + S + j)] = ZERO if x[at(hidden + S + j)] <= ZERO else pull2
                add_two(x, acc, pull, low1, high1, low2, high2, 0, n)
                for k in range(2):
                    total, total_low, total_high = ZERO, ZEROS, ZEROS
                    for j in range(n):
                        weight = x[at(pull + k * S + j)]
                        total += weight
                        total_low = plus(total_low, weight, four(x, j))
                        total_high = plus(total_high, weight, four(x, j + HIGH))
                    d_b1[head, unit + k] += total
                    _add(d_w1[head, unit + k], total_low, total_high)
                    total_low, total_high = ZEROS, ZEROS
                    for j in range(n):
                        weight = x[at(hidden + k * S + j)]
                        total_low = plus(total_low, weight, four(x, g + j))
                        total_high = plus(total_high, weight, four(x, g + j + HIGH))
                    _add(d_w2[head, unit + k], total_low, total_high)
            for d in range(D_HEAD):
                for j in range(n):
                    found[at(head), at(d), at(start + j)] = x[at(acc + d * S + j)]


@compiled
def _add(row, low, high):
    """Eight coordinates to a row."""
    for d in range(4):
        row[d] += low[d]
        row[4 + d] += high[d]
