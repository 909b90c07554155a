"""Attention between the genes of one cell in memory linear in their number: FAVOR+ (arXiv 2009.14794), as scBERT has it."""

from __future__ import annotations

import torch
from torch import Tensor

#: What is added to every feature, so that none is 0.
_EPS = 1e-4
#: Positions whose features are in memory together.
_CHUNK = 1024


def performer_attention(
    q: Tensor, k: Tensor, v: Tensor, projection: Tensor, *, received: bool = False
) -> tuple[Tensor, Tensor | None]:
    """softmax(Q K^T / sqrt d) V by random features, without the L x L matrix.

    With phi(x)_m = exp(w_m . x' - |x'|^2 / 2 - s) + eps, x' = x / d^(1/4), and stabilisers s that cancel but for eps (of a
    query the largest of its own w_m . x', of keys the largest of the cell), A_ij = phi(q_i) . phi(k_j) / D_i with D_i such
    that rows sum to 1. Keys and values are summed up once, chunk by chunk, and every query reads the sums.

    Parameters
    ----------
    q, k, v
        (H, L, d), of one cell.
    projection
        w, (M, d).
    received
        Also return how much attention each position receives.

    Returns
    -------
    A V, (H, L, d), and the mean of A over heads and queries, (L,), whose sum is 1; None where it is not asked for.
    """
    n_heads, length, d = q.shape
    w = projection.T * d**-0.25
    context = v.new_zeros(n_heads, len(projection), d)
    total = v.new_zeros(n_heads, len(projection))
    highest = v.new_tensor(-torch.inf)
    for start in range(0, length, _CHUNK):
        part = slice(start, start + _CHUNK)
        logits, size = _logits(k[:, part], w)
        before, highest = highest, torch.maximum(highest, logits.max())
        weight = (logits - size - highest).exp_()
        shrink = (before - highest).exp()
        context = context * shrink + weight.transpose(1, 2) @ v[:, part]
        total = total * shrink + weight.sum(1)
    # eps stands outside the exponential, so it is added when the stabiliser is known.
    context += _EPS * v.sum(1)[:, None]
    total += _EPS * length
    out = torch.empty_like(v)
    asked = torch.zeros_like(total)
    for start in range(0, length, _CHUNK):
        part = slice(start, start + _CHUNK)
        logits, size = _logits(q[:, part], w)
        features = (logits - size - logits.amax(-1, keepdim=True)).exp_().add_(_EPS)
        features /= features @ total[..., None]
        out[:, part] = features @ context
        if received:
            asked += features.sum(1)
    if not received:
        return out, None
    found = v.new_empty(length)
    for start in range(0, length, _CHUNK):
        part = slice(start, start + _CHUNK)
        logits, size = _logits(k[:, part], w)
        features = (logits - size - highest).exp_().add_(_EPS)
        found[part] = (features @ asked[..., None])[..., 0].mean(0) / length
    return out, found


def _logits(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """w_m . x', (H, l, M), and |x'|^2 / 2, (H, l, 1)."""
    return x @ w, x.square().sum(-1, keepdim=True) * (0.5 * x.shape[-1] ** -0.5)
