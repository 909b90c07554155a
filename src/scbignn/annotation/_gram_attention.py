"""R P with R = rowsoftmax(P P^T), Eq. 4 of scBiGNN (arXiv 2312.10310), of many cells at once on a CPU.

Torch's fused kernel is made for wide heads and takes nine times as long as the floating-point operations of narrow ones
need. One matrix P as query, key and value leaves less to do than attention in general: P P^T is symmetric, and no entry of
it is larger than the longest row's square, so that exponentials need no shift while that is small.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numba import njit, types
from numba.extending import intrinsic
from torch import Tensor

from ._loops import (
    D_HEAD,
    FLOAT,
    HIGH,
    MATRIX,
    MAX_LENGTH,
    ONE,
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
    set_four,
)

#: The largest entry of P P^T, as an exponent of 2, at which sums and products of exponentials are surely normal numbers ...
_UNSHIFTED = 80
#: ... and by how much exponents may be shifted down until a row of small ones, the largest of which is above 0, loses digits.
_MAX_SHIFT = 100
#: The least exponent whose power is surely a normal number, and the shift up to which none is less: entries of P P^T are no smaller
#: than the largest with a minus.
_LEAST = -124
_SAFE_SHIFT = (-_LEAST - _UNSHIFTED) // 2
_LANES = 8
#: Entries of P P^T that are worth another thread, 2 ms of work or so.
_ENTRIES_PER_THREAD = 1_000_000

_INT = np.int32
#: Added to a number, it leaves its nearest integer in the lowest bits.
_ROUND = FLOAT(3 << 22)
_LN2 = FLOAT(math.log(2))


def _polynomial(degree: int = 5) -> list[np.float32]:
    """Coefficients of 2^t for |t| <= 1/2, off by 1e-7 at most."""
    nodes = np.cos(np.pi * (np.arange(64) + 0.5) / 64) / 2
    fit = np.polynomial.Chebyshev.fit(nodes, 2**nodes, degree, domain=[-0.5, 0.5])
    return [FLOAT(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef]


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
    if not is_compilable(p) or lengths.max() > MAX_LENGTH:
        return None
    per_two = scale / math.log(2)  # exp(scale * s) = 2^(per_two * s)
    largest = per_two * float(_largest_square(p.detach().numpy()))
    if not largest <= _UNSHIFTED + _MAX_SHIFT:
        return None
    return _GramAttention.apply(p, starts, lengths, math.sqrt(per_two), max(0, math.ceil(largest) - _UNSHIFTED))


class _GramAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, p: Tensor, starts: np.ndarray, lengths: np.ndarray, root: float, shift: int) -> Tensor:
        p = p.contiguous()
        out, per_sum = _room_like(p, lengths), _room_like(p[:, 0], lengths)
        ctx.cells = starts, lengths, FLOAT(root), _INT(shift)
        _of_cells(_forward, *ctx.cells, *arrays(p, per_sum, out))
        ctx.save_for_backward(p, out, per_sum)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        p, out, per_sum = ctx.saved_tensors
        found = _room_like(p, ctx.cells[1])
        _of_cells(_backward, *ctx.cells, *arrays(p, per_sum, out, gradient.contiguous(), found))
        return found, None, None, None, None


def _room_like(x: Tensor, lengths: np.ndarray) -> Tensor:
    """For numbers of every position, the last axis; 0 where there is padding, which no cell writes to."""
    room = torch.empty_like(x, memory_format=torch.contiguous_format)
    return room if lengths.sum() == x.shape[-1] else room.zero_()


def _of_cells(kernel: Callable, starts: np.ndarray, lengths: np.ndarray, *arguments: object) -> None:
    """The cells, some for each of torch's threads; no cell's numbers depend on how many there are."""
    n_heads = len(arguments[-1])  # (H, 8, N)
    n_entries = n_heads * int((lengths**2).sum())
    n_threads = max(1, min(torch.get_num_threads(), n_entries // _ENTRIES_PER_THREAD))
    parts = [(starts[part::n_threads].copy(), lengths[part::n_threads].copy()) for part in range(n_threads)]
    in_threads(kernel, parts, *arguments)


# --- compiled ---------------------------------------------------------------------------------------------------------
#
# Of E, which is symmetric, row i is found from the first position of i's own eight on. What it holds from there on is added up
# for i; what it holds beyond these eight belongs to the other positions too, who are given theirs from two rows at once.

#: Without another order of sums, which _exp2 relies on.
_in_order = njit(cache=True, nogil=True, error_model="numpy", fastmath={"nnan", "ninf", "nsz", "contract", "arcp"})


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


@_in_order
def _exp2(y, rounding):
    """2^(y - shift) with `rounding` = _ROUND - shift: a polynomial, to whose exponent the nearest integer is added."""
    rounded = y + rounding
    t = y - (rounded - rounding)
    t2 = t * t
    power = (_C0 + t * _C1) + t2 * ((_C2 + t * _C3) + t2 * (_C4 + t * _C5))
    return _with_bits(_INT(_bits_of(power) + (_bits_of(rounded) << _INT(23))))


@inlined
def _raise(x, e0, e1, shift, first, last):
    """Two rows of exponents to the least that may be, before they are shifted."""
    if shift > _SAFE_SHIFT:
        least = FLOAT(shift + _LEAST)
        for j in range(first, last):
            x[at(e0 + j)] = max(x[at(e0 + j)], least)
            x[at(e1 + j)] = max(x[at(e1 + j)], least)


@compiled
def _largest_square(p):
    """The largest square of a row of P, or no number if there is such a row: numbers without a sign compare as their bits do."""
    largest = _INT(0)
    for head in range(len(p)):
        for j in range(p.shape[2]):
            square = ZERO
            for d in range(D_HEAD):
                square += p[at(head), at(d), at(j)] ** 2
            largest = max(largest, _INT(_bits_of(square) & _INT(0x7FFFFFFF)))
    return _with_bits(largest)


@compiled
def _forward(starts, lengths, root, shift, p, per_sum, out):  # noqa: PLR0917 (called by position)
    """out_j = sum_i E_ij p_i / z_j with E = 2^(k k^T - shift), k = root * p, and z its sums; per_sum is 1 / z."""
    acc, z, e0, e1 = MATRIX, 2 * MATRIX, 2 * MATRIX + S, 2 * MATRIX + 2 * S
    rounding = _ROUND - FLOAT(shift)
    x = np.empty(2 * MATRIX + 3 * S, FLOAT)
    for cell in range(len(starts)):
        start, n = starts[cell], lengths[cell]
        n_lanes = -(-n // _LANES) * _LANES
        for head in range(len(p)):
            for d in range(D_HEAD):
                for j in range(n):
                    x[at(d * S + j)] = root * p[at(head), at(d), at(start + j)]
                for j in range(n, n_lanes):
                    x[at(d * S + j)] = 0
                for j in range(n_lanes):
                    x[at(acc + d * S + j)] = 0
            x[z : z + n_lanes] = 0
            for i in range(0, n, 2):
                own = i // _LANES * _LANES
                beyond = own + _LANES
                low0, high0, low1, high1 = four(x, i), four(x, i + HIGH), four(x, i + 1), four(x, i + 1 + HIGH)
                for j in range(own, n_lanes):
                    x[at(e0 + j)] = dot(low0, high0, x, j)
                    x[at(e1 + j)] = dot(low1, high1, x, j)
                _raise(x, e0, e1, shift, own, n_lanes)
                for j in range(own, n_lanes):
                    x[at(e0 + j)] = _exp2(x[at(e0 + j)], rounding)
                    x[at(e1 + j)] = _exp2(x[at(e1 + j)], rounding)
                for j in range(n, n_lanes):
                    x[at(e0 + j)] = x[at(e1 + j)] = 0
                if i + 1 == n:
                    for j in range(own, n_lanes):
                        x[at(e1 + j)] = 0
                for k in range(2):
                    total_z, total_low, total_high = ZERO, ZEROS, ZEROS
                    for j in range(own, n_lanes):
                        e_ij = x[at(e0 + k * S + j)]
                        total_z += e_ij
                        total_low = plus(total_low, e_ij, four(x, j))
                        total_high = plus(total_high, e_ij, four(x, j + HIGH))
                    x[at(z + i + k)] += total_z
                    set_four(x, acc + i + k, plus(four(x, acc + i + k), ONE, total_low))
                    set_four(x, acc + i + k + HIGH, plus(four(x, acc + i + k + HIGH), ONE, total_high))
                for j in range(beyond, n_lanes):
                    x[at(z + j)] += x[at(e0 + j)] + x[at(e1 + j)]
                add_two(x, acc, e0, low0, high0, low1, high1, beyond, n_lanes)
            for j in range(n):
                one = ONE / x[at(z + j)]
                per_sum[at(head), at(start + j)] = one
                x[at(z + j)] = one / root
            for d in range(D_HEAD):
                for j in range(n):
                    out[at(head), at(d), at(start + j)] = x[at(acc + d * S + j)] * x[at(z + j)]


@compiled
def _backward(starts, lengths, root, shift, p, per_sum, out, gradient, found):  # noqa: PLR0917 (called by position)
    """Gradient in p of sum_j gradient_j . out_j.

    With y_j = gradient_j / z_j / root and c_j = gradient_j . out_j / z_j, E_ij pulls by w_ij = ln 2 E_ij (y_i . k_j + y_j . k_i
    - c_i - c_j), which is symmetric as E is: the gradient in k_j is root times sum_i w_ij k_i + E_ij y_i.
    """
    acc, y, c = MATRIX, 2 * MATRIX, 3 * MATRIX
    per_root, rounding = ONE / root, _ROUND - FLOAT(shift)
    e0, e1, w0, w1 = c + S, c + 2 * S, c + 3 * S, c + 4 * S
    x = np.empty(3 * MATRIX + 5 * S, FLOAT)
    for cell in range(len(starts)):
        start, n = starts[cell], lengths[cell]
        n_lanes = -(-n // _LANES) * _LANES
        for head in range(len(p)):
            x[c : c + n_lanes] = 0
            for d in range(D_HEAD):
                for j in range(n):
                    share = per_sum[at(head), at(start + j)] * gradient[at(head), at(d), at(start + j)]
                    x[at(y + d * S + j)] = per_root * share
                    x[at(c + j)] += share * out[at(head), at(d), at(start + j)]
                for j in range(n):
                    x[at(d * S + j)] = root * p[at(head), at(d), at(start + j)]
                for j in range(n, n_lanes):
                    x[at(d * S + j)] = x[at(y + d * S + j)] = 0
                for j in range(n_lanes):
                    x[at(acc + d * S + j)] = 0
            for i in range(0, n, 2):
                own = i // _LANES * _LANES
                beyond = own + _LANES
                low0, high0, low1, high1 = four(x, i), four(x, i + HIGH), four(x, i + 1), four(x, i + 1 + HIGH)
                for j in range(own, n_lanes):
                    x[at(e0 + j)] = dot(low0, high0, x, j)
                    x[at(e1 + j)] = dot(low1, high1, x, j)
                for j in range(own, n_lanes):
                    x[at(w0 + j)] = dot(low0, high0, x, y + j) - x[at(c + j)]
                    x[at(w1 + j)] = dot(low1, high1, x, y + j) - x[at(c + j)]
                y_low0, y_high0, c0 = four(x, y + i), four(x, y + i + HIGH), x[at(c + i)]
                y_low1, y_high1, c1 = four(x, y + i + 1), four(x, y + i + 1 + HIGH), x[at(c + i + 1)]
                for j in range(own, n_lanes):
                    x[at(w0 + j)] += dot(y_low0, y_high0, x, j) - c0
                    x[at(w1 + j)] += dot(y_low1, y_high1, x, j) - c1
                _raise(x, e0, e1, shift, own, n_lanes)
                for j in range(own, n_lanes):
                    first, second = _exp2(x[at(e0 + j)], rounding), _exp2(x[at(e1 + j)], rounding)
                    x[at(e0 + j)], x[at(e1 + j)] = first, second
                    x[at(w0 + j)] *= _LN2 * first
                    x[at(w1 + j)] *= _LN2 * second
                for k in range(2):
                    total_low, total_high = ZEROS, ZEROS
                    for j in range(own, n_lanes):
                        e, w = x[at(e0 + k * S + j)], x[at(w0 + k * S + j)]
                        total_low = plus(plus(total_low, w, four(x, j)), e, four(x, y + j))
                        total_high = plus(plus(total_high, w, four(x, j + HIGH)), e, four(x, y + j + HIGH))
                    set_four(x, acc + i + k, plus(four(x, acc + i + k), ONE, total_low))
                    set_four(x, acc + i + k + HIGH, plus(four(x, acc + i + k + HIGH), ONE, total_high))
                for j in range(beyond, n_lanes):
                    pulled = plus(plus(four(x, acc + j), x[at(w0 + j)], low0), x[at(w1 + j)], low1)
                    set_four(x, acc + j, plus(plus(pulled, x[at(e0 + j)], y_low0), x[at(e1 + j)], y_low1))
                for j in range(beyond, n_lanes):
                    pulled = plus(plus(four(x, acc + j + HIGH), x[at(w0 + j)], high0), x[at(w1 + j)], high1)
                    set_four(x, acc + j + HIGH, plus(plus(pulled, x[at(e0 + j)], y_high0), x[at(e1 + j)], y_high1))
            for d in range(D_HEAD):
                for j in range(n):
                    found[at(head), at(d), at(start + j)] = root * x[at(acc + d * S + j)]
