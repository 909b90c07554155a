"""R P with R = rowsoftmax(P P^T), Eq. 4 of scBiGNN (arXiv 2312.10310), of many cells at once on a CPU.

Torch's fused kernel is made for wide heads and takes nine times as long as the floating-point operations of narrow ones
need. One matrix P as query, key and value leaves less to do than attention in general: P P^T is symmetric, and no entry of
it is larger than the longest row's square, so that exponentials need no shift while that is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import config, njit, types
from numba.extending import intrinsic
from torch import Tensor

#: The width of a head that the loops below are written for, and the longest sequence they have room for.
D_HEAD, MAX_LENGTH = 8, 4096
#: The largest entry of P P^T, as an exponent of 2, at which sums and products of exponentials are surely normal numbers ...
_UNSHIFTED = 80
#: ... and by how much exponents may be shifted down until a row of small ones, the largest of which is above 0, loses digits.
_MAX_SHIFT = 100
#: Floats from one coordinate to the next: constant, so that the compiler sees that rows do not overlap, and no multiple of a
#: page, since addresses so far apart share few places in the cache.
_S = MAX_LENGTH + 128
_LANES = 8
#: Entries of P P^T that are worth another thread, 2 ms of work or so.
_ENTRIES_PER_THREAD = 500_000

_FLOAT, _INT = np.float32, np.int32
#: Added to a number, it leaves its nearest integer in the lowest bits.
_ROUND = _FLOAT(3 << 22)
_LN2 = _FLOAT(math.log(2))


def _polynomial(degree: int = 5) -> list[np.float32]:
    """Coefficients of 2^t for |t| <= 1/2, off by 1e-7 at most."""
    nodes = np.cos(np.pi * (np.arange(64) + 0.5) / 64) / 2
    fit = np.polynomial.Chebyshev.fit(nodes, 2**nodes, degree, domain=[-0.5, 0.5])
    return [_FLOAT(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef]


_C0, _C1, _C2, _C3, _C4, _C5 = _polynomial()


def gram_attention(p: Tensor, starts: np.ndarray, lengths: np.ndarray, scale: float) -> Tensor | None:
    """Every cell's positions attend to one another, each head by itself; differentiable once in `p`.

    Parameters
    ----------
    p
        P of n cells, (H, 8, N) float32, on the CPU.
    starts, lengths
        (n,) int64: where each cell begins among the N positions, and how many it has. Other positions are padding.
    scale
        Of P P^T before the softmax.

    Returns
    -------
    (H, 8, N), 0 where padded; None if a cell is too long, or P too large, no number or of another type, or Numba is told
    not to compile: torch's kernel must see to it.
    """
    if config.DISABLE_JIT or p.dtype != torch.float32 or lengths.max() > MAX_LENGTH:
        return None
    per_two = scale / math.log(2)  # exp(scale * s) = 2^(per_two * s)
    largest = per_two * float(p.detach().square().sum(1).max())
    if not largest <= _UNSHIFTED + _MAX_SHIFT:
        return None
    return _GramAttention.apply(p, starts, lengths, math.sqrt(per_two), max(0, math.ceil(largest) - _UNSHIFTED))


class _GramAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, p: Tensor, starts: np.ndarray, lengths: np.ndarray, root: float, shift: int) -> Tensor:
        p = p.contiguous()
        out, per_sum = torch.zeros_like(p), p.new_zeros(len(p), p.shape[2])
        ctx.cells = starts, lengths, _FLOAT(root), _INT(shift)
        _in_threads(_forward, *ctx.cells, *(x.detach().numpy() for x in (p, per_sum, out)))
        ctx.save_for_backward(p, out, per_sum)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        p, out, per_sum = ctx.saved_tensors
        found = torch.zeros_like(p)
        _in_threads(_backward, *ctx.cells, *(x.numpy() for x in (p, per_sum, out, gradient.contiguous(), found)))
        return found, None, None, None, None


def _in_threads(kernel: Callable, starts: np.ndarray, lengths: np.ndarray, *arguments: object) -> None:
    """The cells, some for each of torch's threads; no cell's numbers depend on how many there are."""
    n_heads = len(arguments[-1])  # (H, 8, N)
    n_entries = n_heads * int((lengths**2).sum())
    n_threads = max(1, min(torch.get_num_threads(), n_entries // _ENTRIES_PER_THREAD))
    parts = [(starts[part::n_threads].copy(), lengths[part::n_threads].copy()) for part in range(n_threads)]
    if n_threads == 1:
        kernel(*parts[0], *arguments)
        return
    with ThreadPoolExecutor(n_threads) as threads:
        list(threads.map(lambda part: kernel(*part, *arguments), parts))


# --- compiled ---------------------------------------------------------------------------------------------------------
#
# Matrices of one cell and head stand coordinate by coordinate in one buffer: coordinate d of position j at d * _S + j from
# where the matrix begins. Loops over j have eight coordinates written out, neither sum over j nor branch, and become vector
# instructions.

_compiled = njit(
    cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "ninf", "nsz", "contract", "arcp"}
)  # but no other order of sums, which _exp2 relies on


def _reinterpreted(number, as_type):
    def generate(context, builder, _signature, given):
        return builder.bitcast(given[0], context.get_value_type(as_type))

    return as_type(number), generate


@intrinsic
def _bits_of(_typing, number):
    return _reinterpreted(number, types.int32)


@intrinsic
def _with_bits(_typing, number):
    return _reinterpreted(number, types.float32)


@_compiled
def _exp2(y, shift):
    """2^(y - shift), or 2^-126 where that is less: the nearest integer as exponent, a polynomial for what is left."""
    y = max(y, _FLOAT(shift - 126))
    rounded = y + _ROUND
    t = y - (rounded - _ROUND)
    t2 = t * t
    mantissa = (_C0 + t * _C1) + t2 * ((_C2 + t * _C3) + t2 * (_C4 + t * _C5))
    return mantissa * _with_bits(_INT((_bits_of(rounded) << _INT(23)) + _INT((_INT(127) - shift) << _INT(23))))


@_compiled
def _row(x, at):
    """The eight coordinates of one position."""
    return (
        x[at],
        x[at + _S],
        x[at + 2 * _S],
        x[at + 3 * _S],
        x[at + 4 * _S],
        x[at + 5 * _S],
        x[at + 6 * _S],
        x[at + 7 * _S],
    )


@_compiled
def _dot(row, x, at):
    """Inner product of a row and a position."""
    one = row[0] * x[at] + row[1] * x[at + _S] + row[2] * x[at + 2 * _S] + row[3] * x[at + 3 * _S]
    other = row[4] * x[at + 4 * _S] + row[5] * x[at + 5 * _S] + row[6] * x[at + 6 * _S] + row[7] * x[at + 7 * _S]
    return one + other


@_compiled
def _add(weight, row, x, at):
    """A row, so many times, to a position."""
    x[at] += weight * row[0]
    x[at + _S] += weight * row[1]
    x[at + 2 * _S] += weight * row[2]
    x[at + 3 * _S] += weight * row[3]
    x[at + 4 * _S] += weight * row[4]
    x[at + 5 * _S] += weight * row[5]
    x[at + 6 * _S] += weight * row[6]
    x[at + 7 * _S] += weight * row[7]


@_compiled
def _forward(starts, lengths, root, shift, p, per_sum, out):  # noqa: PLR0917 (called by position)
    """out_j = sum_i E_ij p_i / z_j with E = 2^(k k^T - shift), k = root * p, and z its sums; per_sum is 1 / z."""
    acc, z = D_HEAD * _S, 2 * D_HEAD * _S
    x = np.empty((2 * D_HEAD + 1) * _S, _FLOAT)
    for cell in range(len(starts)):
        start, n = starts[cell], lengths[cell]
        n_lanes = -(-n // _LANES) * _LANES
        for head in range(len(p)):
            for d in range(D_HEAD):
                for j in range(n_lanes):
                    x[d * _S + j] = root * p[head, d, start + j] if j < n else _FLOAT(0)
                    x[acc + d * _S + j] = 0
            x[z : z + n_lanes] = 0
            for i in range(n):
                k = _row(x, i)
                for j in range(n_lanes):
                    e = _exp2(_dot(k, x, j), shift)
                    x[z + j] += e
                    _add(e, k, x, acc + j)
            for j in range(n):
                per_sum[head, start + j] = _FLOAT(1) / x[z + j]
            for d in range(D_HEAD):
                for j in range(n):
                    out[head, d, start + j] = x[acc + d * _S + j] * per_sum[head, start + j] / root


@_compiled
def _backward(starts, lengths, root, shift, p, per_sum, out, gradient, found):  # noqa: PLR0917 (called by position)
    """Gradient in p of sum_j gradient_j . out_j.

    With y_j = gradient_j / z_j / root and c_j = gradient_j . out_j / z_j, E_ij pulls by w_ij = y_i . k_j + y_j . k_i - c_i -
    c_j, which is symmetric as E is: the gradient in k_j is root times sum_i E_ij (ln 2 w_ij k_i + y_i).
    """
    acc, y, c = D_HEAD * _S, 2 * D_HEAD * _S, 3 * D_HEAD * _S
    x = np.empty((3 * D_HEAD + 1) * _S, _FLOAT)
    for cell in range(len(starts)):
        start, n = starts[cell], lengths[cell]
        n_lanes = -(-n // _LANES) * _LANES
        for head in range(len(p)):
            x[c : c + n_lanes] = 0
            for d in range(D_HEAD):
                for j in range(n):
                    share = per_sum[head, start + j] * gradient[head, d, start + j]
                    x[d * _S + j] = root * p[head, d, start + j]
                    x[y + d * _S + j] = share / root
                    x[c + j] += share * out[head, d, start + j]
                for j in range(n, n_lanes):
                    x[d * _S + j] = x[y + d * _S + j] = 0
                x[acc + d * _S : acc + d * _S + n_lanes] = 0
            for i in range(n):
                k, g, own = _row(x, i), _row(x, y + i), x[c + i]
                for j in range(n_lanes):
                    e = _exp2(_dot(k, x, j), shift)
                    pull = (_dot(g, x, j) - own) + (_dot(k, x, y + j) - x[c + j])
                    _add(_LN2 * e * pull, k, x, acc + j)
                    _add(e, g, x, acc + j)
            for d in range(D_HEAD):
                for j in range(n):
                    found[head, d, start + j] = root * x[acc + d * _S + j]
