"""What one token after another goes through on a CPU: Eqs. 3 and 5 of scBiGNN (arXiv 2312.10310), and a layer's norm.

Torch reads and writes all tokens for each addition and each product. Here a token is read once, and written once. Loops go through
tokens in one thread: a cache full of them takes a tenth of a millisecond, less than a thread is worth.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ._loops import FLOAT, ONE, ZERO, arrays, at, compiled, is_compilable


def embed(genes: Tensor, values: Tensor, table: Tensor, count: nn.Sequential) -> Tensor | None:
    """Eq. 3: e_gene[j] + MLP_count(x_ij); differentiable once in values and weights.

    An MLP of one number and h hidden units is h + 1 straight lines, one after another: what it says of a number is found from the
    line on which it lies.

    Parameters
    ----------
    genes, values
        (N,) int64 and float32.
    table
        e_gene, (T, d) float32, on the CPU.
    count
        MLP_count, as :func:`scbignn._layers.mlp` makes it, 1 -> d.

    Returns
    -------
    (N, d); None if weights are of another type, or Numba is told not to compile: torch must see to it.
    """
    return _Embed.apply(genes, values, table, *lines_of(count)) if is_compilable(table) else None


def add_and_normalize(f: Tensor, out: Tensor, norm: nn.LayerNorm) -> Tensor | None:
    """LayerNorm(f + out) of (N, d) float32 each; differentiable once in all of them. None as of :func:`embed`."""
    return _Normalize.apply(f, out, norm.weight, norm.bias, norm.eps) if is_compilable(f) else None


def weigh_and_sum(
    f: Tensor, weights: Tensor, genes: Tensor, table: Tensor, starts: np.ndarray, lengths: np.ndarray
) -> Tensor | None:
    """h_i = sum_j weight_ij v_j * f_ij over the genes j of cell i; differentiable once in f, weights and v.

    Parameters
    ----------
    f
        (N, d) float32, on the CPU.
    weights, genes
        (N,) float32 and int64.
    table
        v, (T, d) float32.
    starts, lengths
        (n,) int64: where each cell begins, and how many genes it has.

    Returns
    -------
    (n, d); None as of :func:`embed`.
    """
    return _WeighAndSum.apply(f, weights, genes, table, starts, lengths) if is_compilable(f) else None


def lines_of(count: nn.Sequential) -> tuple[Tensor, Tensor, Tensor]:
    """Ends (h,), ascending, and offsets and slopes, (h + 1, d) each, of the lines that an MLP of one number consists of.

    Line k holds for numbers above k of the ends. A unit without a slope never changes: its end is infinite, or none, which
    comes last.
    """
    w1, b1, w2 = count[0].weight[:, 0], count[0].bias, count[2].weight.T
    with torch.no_grad():
        ends, order = (-b1 / w1).sort()
        above = torch.ones(len(ends) + 1, len(ends)).tril(-1)  # numbers of which line are above which end
        active = torch.where(w1[order].signbit(), 1 - above, above)
    units = active[:, order.argsort()]
    return ends, torch.addmm(count[2].bias, units, b1[:, None] * w2), units @ (w1[:, None] * w2)


class _Embed(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (called by position)
        ctx, genes: Tensor, values: Tensor, table: Tensor, ends: Tensor, offsets: Tensor, slopes: Tensor
    ) -> Tensor:
        out = table.new_empty(len(genes), table.shape[1])
        _embed(*arrays(genes, values, table, ends, offsets, slopes, out))
        ctx.save_for_backward(genes, values, ends, slopes)
        ctx.n_genes = len(table)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        genes, values, ends, slopes = ctx.saved_tensors
        d_values, d_table = torch.empty_like(values), gradient.new_zeros(ctx.n_genes, gradient.shape[1])
        d_offsets, d_slopes = torch.zeros_like(slopes), torch.zeros_like(slopes)
        _embed_back(*arrays(genes, values, ends, slopes, gradient.contiguous(), d_values, d_table, d_offsets, d_slopes))
        return None, d_values, d_table, None, d_offsets, d_slopes


class _Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, f: Tensor, out: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        f, out = f.contiguous(), out.contiguous()
        found, moments = torch.empty_like(f), f.new_empty(len(f), 2)
        _normalize(FLOAT(eps), *arrays(f, out, weight, bias, found, moments))
        ctx.save_for_backward(f, out, weight, moments)
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        f, out, weight, moments = ctx.saved_tensors
        found, d_weight, d_bias = torch.empty_like(f), torch.zeros_like(weight), torch.zeros_like(weight)
        _normalize_back(*arrays(f, out, weight, moments, gradient.contiguous(), found, d_weight, d_bias))
        return found, found, d_weight, d_bias, None


class _WeighAndSum(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (called by position)
        ctx, f: Tensor, weights: Tensor, genes: Tensor, table: Tensor, starts: np.ndarray, lengths: np.ndarray
    ) -> Tensor:
        f, out = f.contiguous(), f.new_zeros(len(starts), f.shape[1])
        _weigh_and_sum(starts, lengths, *arrays(f, weights, genes, table, out))
        ctx.save_for_backward(f, weights, genes, table)
        ctx.cells = starts, lengths
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        f, weights, _, table = ctx.saved_tensors
        found = [torch.zeros_like(part) for part in (f, weights, table)]
        _weigh_and_sum_back(*ctx.cells, *arrays(*ctx.saved_tensors, gradient.contiguous(), *found))
        d_f, d_weights, d_table = found
        return d_f, d_weights, None, d_table, None, None


# --- compiled ---------------------------------------------------------------------------------------------------------


@compiled
def _line(x, ends):
    """How many ends x is above."""
    k = np.int32(0)
    for u in range(len(ends)):
        k += np.int32(x > ends[at(u)])
    return k


@compiled
def _embed(genes, values, table, ends, offsets, slopes, out):  # noqa: PLR0917 (called by position)
    for i in range(len(genes)):
        gene, x, k = genes[i], values[i], _line(values[i], ends)
        for d in range(table.shape[1]):
            out[at(i), at(d)] = table[at(gene), at(d)] + (offsets[at(k), at(d)] + x * slopes[at(k), at(d)])


@compiled
def _embed_back(genes, values, ends, slopes, gradient, d_values, d_table, d_offsets, d_slopes):  # noqa: PLR0917 (called by position)
    for i in range(len(genes)):
        gene, x, k, slope = genes[i], values[i], _line(values[i], ends), ZERO
        for d in range(gradient.shape[1]):
            pull = gradient[at(i), at(d)]
            slope += pull * slopes[at(k), at(d)]
            d_table[at(gene), at(d)] += pull
            d_offsets[at(k), at(d)] += pull
            d_slopes[at(k), at(d)] += x * pull
        d_values[i] = slope


@compiled
def _normalize(eps, f, out, weight, bias, found, moments):  # noqa: PLR0917 (called by position)
    """`moments` are the mean of a token, and one by its standard deviation."""
    width = f.shape[1]
    for i in range(len(f)):
        total = ZERO
        for d in range(width):
            found[at(i), at(d)] = f[at(i), at(d)] + out[at(i), at(d)]
            total += found[at(i), at(d)]
        mean, squares = total / FLOAT(width), ZERO
        for d in range(width):
            squares += (found[at(i), at(d)] - mean) ** 2
        per_std = ONE / np.sqrt(squares / FLOAT(width) + eps)
        for d in range(width):
            found[at(i), at(d)] = (found[at(i), at(d)] - mean) * per_std * weight[at(d)] + bias[at(d)]
        moments[i] = mean, per_std


@compiled
def _normalize_back(f, out, weight, moments, gradient, found, d_weight, d_bias):  # noqa: PLR0917 (called by position)
    """With x the normalised token and g = gradient * weight: (g - mean(g) - x mean(g x)) by the standard deviation."""
    width = f.shape[1]
    for i in range(len(f)):
        mean, per_std = moments[i]
        pull, turn = ZERO, ZERO
        for d in range(width):
            x = (f[at(i), at(d)] + out[at(i), at(d)] - mean) * per_std
            g = gradient[at(i), at(d)] * weight[at(d)]
            pull += g
            turn += g * x
        pull, turn = pull / FLOAT(width), turn / FLOAT(width)
        for d in range(width):
            x = (f[at(i), at(d)] + out[at(i), at(d)] - mean) * per_std
            g = gradient[at(i), at(d)]
            found[at(i), at(d)] = per_std * (g * weight[at(d)] - pull - x * turn)
            d_weight[at(d)] += g * x
            d_bias[at(d)] += g


@compiled
def _weigh_and_sum(starts, lengths, f, weights, genes, table, out):  # noqa: PLR0917 (called by position)
    for cell in range(len(starts)):
        for i in range(starts[cell], starts[cell] + lengths[cell]):
            weight, gene = weights[i], genes[i]
            for d in range(f.shape[1]):
                out[at(cell), at(d)] += weight * table[at(gene), at(d)] * f[at(i), at(d)]


@compiled
def _weigh_and_sum_back(starts, lengths, f, weights, genes, table, gradient, d_f, d_weights, d_table):  # noqa: PLR0917 (called by position)
    for cell in range(len(starts)):
        for i in range(starts[cell], starts[cell] + lengths[cell]):
            weight, gene, slope = weights[i], genes[i], ZERO
            for d in range(f.shape[1]):
                pull = gradient[at(cell), at(d)]
                slope += pull * table[at(gene), at(d)] * f[at(i), at(d)]
                d_f[at(i), at(d)] = weight * pull * table[at(gene), at(d)]
                d_table[at(gene), at(d)] += weight * pull * f[at(i), at(d)]
            d_weights[i] = slope
