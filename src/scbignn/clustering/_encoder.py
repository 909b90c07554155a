"""The networks of BGFormer: cells attend to m anchor tokens, so that cost is linear in cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._layers import Dropout, linear
from ._config import Config
from ._quantiser import Quantiser

#: Bounds of the decoded mean and dispersion.
_MEAN, _DISPERSION = (1e-5, 1e6), (1e-4, 1e4)


class BipartiteAttention(nn.Module):
    """Cells attend to tokens: (B, d), (m, d) -> (B, d).

    The cell itself is the query; keys and values are linear maps of the tokens. Each head has its own d / H entries of
    all three, and its result lands in the same entries of the same cell.
    """

    def __init__(self, width: int, n_heads: int, init: torch.Generator, *, scale: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.factor = (width // n_heads) ** -0.5 if scale else 1.0
        self.keys = linear(width, width, init)
        self.values = linear(width, width, init)

    def weights(self, n: Tensor, tokens: Tensor) -> Tensor:
        """softmax over tokens of the scaled products, (H, B, m)."""
        return torch.softmax(self._split(n) @ self._split(self.keys(tokens)).mT * self.factor, dim=2)

    def forward(self, n: Tensor, tokens: Tensor) -> Tensor:
        found = self.weights(n, tokens) @ self._split(self.values(tokens))  # (H, B, d / H)
        return found.transpose(0, 1).reshape(n.shape)

    def _split(self, x: Tensor) -> Tensor:
        return x.view(len(x), self.n_heads, -1).transpose(0, 1)


class Decoder(nn.Module):
    """Parameters of the zero-inflated negative binomial: (B, d) -> mean, dispersion, logit of dropout, (B, G) each."""

    def __init__(self, width: int, n_genes: int, init: torch.Generator) -> None:
        super().__init__()
        self.hidden = linear(width, 2 * width, init)
        self.mean, self.dispersion, self.dropout = (linear(2 * width, n_genes, init) for _ in range(3))

    def forward(self, z: Tensor, size_factor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """`size_factor` (B, 1) multiplies the mean."""
        h = self.hidden(z)
        mean = torch.exp(self.mean(h).clamp(max=15)).clamp(*_MEAN) * size_factor
        return mean, F.softplus(self.dispersion(h)).clamp(*_DISPERSION), self.dropout(h)


def anchor_encoder(n_genes: int, width: int, init: torch.Generator) -> nn.Sequential:
    """f_x: (B, G) -> (B, d)."""
    return nn.Sequential(
        linear(n_genes, width, init),
        nn.BatchNorm1d(width),
        nn.ReLU(),
        linear(width, max(width // 4, 1), init),
        nn.BatchNorm1d(max(width // 4, 1)),
        nn.ReLU(),
        linear(max(width // 4, 1), width, init),
    )


class BGFormer(nn.Module):
    """z-scores of cells to embeddings, through tokens; without attention a plain encoder of the same widths."""

    def __init__(
        self, config: Config, n_genes: int, n_tokens: int, *, init: torch.Generator, noise: torch.Generator
    ) -> None:
        super().__init__()
        d = config.width
        self.input = linear(n_genes, d, init)
        self.norm = nn.LayerNorm(d)
        self.attention = (
            BipartiteAttention(d, config.n_heads, init, scale=config.scale_attention) if config.attention else None
        )
        self.norm_ffn = nn.LayerNorm(d)
        self.ffn = nn.Sequential(linear(d, d, init), nn.ReLU(), linear(d, d, init))
        self.dropout = Dropout(config.dropout, noise)
        self.norm_out = nn.LayerNorm(d)
        self.out = nn.Sequential(linear(d, max(d // 2, 1), init), nn.ReLU(), linear(max(d // 2, 1), d, init))
        self.norm_last = nn.LayerNorm(d)
        self.decoder = Decoder(d, n_genes, init)
        if config.attention:
            self.anchor_encoder = anchor_encoder(n_genes, d, init)
            self.quantiser = Quantiser(n_tokens, d, init)
            self.anchor_decoder = Decoder(d, n_genes, init)

    def forward(self, x: Tensor) -> Tensor:
        """g: (B, G) -> z, (B, d). The tokens get no gradient from here."""
        u = self.input(x)
        z = n = self.norm(u)
        if self.attention is not None:
            z = n + self.dropout(self.attention(n, self.quantiser.tokens.detach()))
        z = z + self.dropout(self.ffn(self.norm_ffn(z)))
        return self.norm_last(F.normalize(self.out(self.norm_out(z)) + u, dim=1))

    def attention_weights(self, x: Tensor) -> Tensor:
        """Attention of cells to tokens, on the mean of heads, (B, m)."""
        return self.attention.weights(self.norm(self.input(x)), self.quantiser.tokens).mean(0)
