"""Losses of BGFormer besides that of the quantiser: zero-inflated counts, and clustering."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_EPS = 1e-6


def zinb_loss(counts: Tensor, mean: Tensor, dispersion: Tensor, dropout_logits: Tensor) -> Tensor:
    """Negative log-likelihood of counts under a zero-inflated negative binomial, on the mean of all entries.

    A count is 0 with probability pi, else negative binomial with this mean and variance mean + mean^2 / dispersion.

    Parameters
    ----------
    counts, mean, dispersion
        (B, G); mean and dispersion are positive.
    dropout_logits
        (B, G), the logit of pi.
    """
    none_of_nb = dispersion * (torch.log(dispersion) - torch.log(dispersion + mean))  # log of NB at 0
    log_kept = -F.softplus(dropout_logits)
    at_zero = torch.logaddexp(dropout_logits + log_kept, log_kept + none_of_nb)
    # Most counts are 0: gamma functions, which cost most, are computed for the others only.
    shown = counts.flatten().nonzero()[:, 0]
    parts = (counts, mean, dispersion, none_of_nb, log_kept, at_zero)
    y, mu, theta, none, kept, if_zero = (part.flatten()[shown] for part in parts)
    log_nb = (
        torch.lgamma(y + theta)
        - torch.lgamma(theta)
        - torch.lgamma(y + 1)
        + none
        + y * (torch.log(mu) - torch.log(theta + mu))
    )
    return -(at_zero.sum() + (kept + log_nb - if_zero).sum()) / counts.numel()


def soft_assignment(z: Tensor, centers: Tensor, scale: Tensor | float) -> Tensor:
    """q_ik in proportion to 1 / (1 + d_ik^2 / s), d_ik from cell to centre; (n, d), (K, d) -> (n, K).

    `scale`, s, is the mean squared distance of a cell to its own centre when the centres are set. The release has s = 1
    for centres of length 1 and embeddings of length root d, which makes all q nearly equal.
    """
    squares = (z[:, None] - centers).pow(2).sum(2)
    q = 1 / (1 + squares / scale)
    return q / q.sum(1, keepdim=True)


def clustering_loss(q: Tensor) -> Tensor:
    """KL(p || q) on the mean of cells, with the target p_ik in proportion to q_ik^2 / sum_i q_ik held fixed; (B, K) -> ()."""
    target = q.detach() ** 2 / q.detach().sum(0)
    target = target / target.sum(1, keepdim=True)
    return (target * torch.log((target + _EPS) / (q + _EPS))).sum(1).mean()
