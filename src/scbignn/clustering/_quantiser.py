"""Anchor tokens: each cell's embedding is replaced by the nearest of m vectors, and none of them is left idle."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

#: Share of the old frequency that is kept with each batch.
_KEPT = 0.9
#: How much `vq` pulls embeddings to tokens, against tokens to embeddings.
_PULL = 0.25
#: Over-used tokens are moved only once frequencies have settled.
_SETTLED = 1e-4


class Quantiser(nn.Module):
    """m tokens of width d, and how often each was used."""

    def __init__(self, n_tokens: int, width: int, init: torch.Generator) -> None:
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(n_tokens, width, generator=init))
        self.register_buffer("usage", torch.zeros(n_tokens))

    def forward(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (B, d) -> tokens of highest cosine (B, d), and their numbers (B,).

        The gradient of the first return value runs to the tokens alone.
        """
        nearest = similarity(e, self.tokens).argmax(1)
        return self.tokens[nearest], nearest

    @torch.no_grad()
    def refresh(self, e: Tensor, generator: torch.Generator) -> None:
        """Count the uses by a batch, and move idle and crowded tokens to cells; run once per update."""
        close = similarity(e, self.tokens)
        self.usage.copy_(updated_usage(self.usage, close.argmax(1)))
        self.tokens.copy_(relocated(self.tokens, e, close, self.usage, generator))


@torch.no_grad()
def similarity(e: Tensor, tokens: Tensor) -> Tensor:
    """Cosines, (B, d), (m, d) -> (B, m)."""
    return F.normalize(e, dim=1) @ F.normalize(tokens, dim=1).T


def updated_usage(usage: Tensor, nearest: Tensor) -> Tensor:
    """p <- 0.9 p + 0.1 f, where f is the share of the batch that each token is nearest to; (m,), (B,) -> (m,)."""
    share = torch.bincount(nearest, minlength=len(usage)).to(usage) / len(nearest)
    return _KEPT * usage + (1 - _KEPT) * share


def relocated(tokens: Tensor, e: Tensor, close: Tensor, usage: Tensor, generator: torch.Generator) -> Tensor:
    """Tokens after idle and crowded ones have moved towards cells.

    An idle token, of usage p near 0, moves by b = exp(-100 m p - 1e-3) of the way to a cell that no token fits well:
    cells are drawn in proportion to the largest entry of softmax(1 - cosine) over tokens. Once frequencies have settled (they
    sum to 1), a crowded token moves by b = exp(-10 mean(p) / p - 1e-3) of the way to the cell that has the median
    cosine with it.

    Parameters
    ----------
    tokens
        (m, d).
    e
        Embeddings of a batch, (B, d).
    close
        Their cosines, (B, m).
    usage
        p, (m,).
    generator
        Draws the cells.
    """
    m = len(tokens)
    unlike = torch.softmax(1 - close, dim=1).amax(1)
    drawn = torch.multinomial(unlike, m, replacement=True, generator=generator)
    b = torch.exp(-100 * m * usage - 1e-3)[:, None]
    tokens = (1 - b) * tokens + b * e[drawn]
    if usage.sum() >= 1 - _SETTLED:
        b = torch.exp(-10 * usage.mean() / usage.clamp(min=1e-12) - 1e-3)[:, None]
        middle = close.argsort(dim=0)[len(close) // 2]
        tokens = (1 - b) * tokens + b * e[middle]
    return tokens


def commitment_loss(e: Tensor, quantised: Tensor, kind: str) -> Tensor:
    """How far embeddings are from their tokens, (B, d), (B, d) -> ().

    "joint", as released: mean (e - c)^2, with gradient to both. "vq": mean (sg(e) - c)^2 + 0.25 mean (e - sg(c))^2, where
    sg stops the gradient.
    """
    if kind == "joint":
        return F.mse_loss(quantised, e)
    return F.mse_loss(quantised, e.detach()) + _PULL * F.mse_loss(e, quantised.detach())
