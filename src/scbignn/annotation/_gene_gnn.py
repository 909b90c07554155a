"""The gene-level GNN q_phi: self-attention over the expressed genes of one cell (arXiv 2312.10310, Eqs. 2-6)."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._layers import Correction, Dropout, linear, mlp, standardize_inputs
from ._anchor import LOGIT_SCALE
from ._config import Config
from ._tokens import Bucket, Tokens


class GeneGNN(nn.Module):
    """q_phi(y | x): embedding, attention layers, read-out, classifier.

    Parameters
    ----------
    config
        Widths, layers, heads, read-out.
    n_genes, n_labels
        T and C.
    mean_length
        Mean number of expressed genes a cell; the learned read-out starts at its inverse, which is mean pooling.
    mean_total
        Mean sum of a cell's values, the unit of the value-weighted read-out.
    init, noise
        Generators of the initial weights (CPU) and of dropout masks (the device of training).
    """

    def __init__(
        self,
        config: Config,
        n_genes: int,
        n_labels: int,
        *,
        mean_length: float,
        mean_total: float = 1.0,
        init: torch.Generator,
        noise: torch.Generator,
    ) -> None:
        super().__init__()
        d = config.width
        d_in = config.gene_width if config.n_layers == 0 else d
        self.width = d
        self.mean_length, self.mean_total = mean_length, mean_total
        self.embedding = GeneEmbedding(n_genes, config.gene_width, d, init)
        self.layers = nn.ModuleList(
            GramAttention(config, config.gene_width if layer == 0 else d, init) for layer in range(config.n_layers)
        )
        if config.read_out == "value":
            self.read_out = ValueReadOut(n_genes, d_in, d, mean_total, init)
        elif config.read_out == "learned":
            self.read_out = LearnedReadOut(n_genes, mean_length)
        else:
            self.read_out = MeanReadOut()
        self.norm = nn.Sequential(nn.BatchNorm1d(d), nn.ReLU()) if config.batch_norm else nn.Identity()
        self.dropout = Dropout(config.dropout, noise)
        self.classifier = Correction(d, n_labels, LOGIT_SCALE) if config.anchor else mlp(d, d, n_labels, init)

    @torch.no_grad()
    def start(self, tokens: Tokens, cells: np.ndarray) -> None:
        """Set initial weights so that counts and h vary on a scale of 1 over the given cells (see the docs, Concepts)."""
        values = torch.cat([bucket.values[bucket.expressed] for bucket in tokens.buckets(cells)])
        standardize_inputs(self.embedding.count[0], values.mean(), values.std())
        if isinstance(self.classifier, nn.Sequential):
            h = self(tokens, cells)
            standardize_inputs(self.classifier[0], h.mean(0), h.std(0))

    def forward(self, tokens: Tokens, cells: np.ndarray) -> Tensor:
        """h of the given cells, (b, d)."""
        return self.norm(self.pooled(tokens, cells))

    def pooled(self, tokens: Tokens, cells: np.ndarray) -> Tensor:
        """h before the norm, (b, d), of each cell by itself; 0 for one that expresses none of the genes."""
        buckets = list(tokens.buckets(cells))
        h = self.embedding.gene.new_zeros(len(cells), self.width)
        if buckets:
            rows = torch.cat([bucket.rows for bucket in buckets])
            h = h.index_copy(0, rows, torch.cat([self.embed(bucket, tokens.share) for bucket in buckets]))
        return h

    def embed(self, bucket: Bucket, share: float = 1.0) -> Tensor:
        """h, before the norm, of one bucket, of which a share of the expressed genes is present: genes and values (b, T) -> (b, d)."""
        f = self.embedding(bucket)  # (b, T, d_g)
        for layer in self.layers:
            f = layer(f, bucket.expressed)  # (b, T, d)
        return self.read_out(f, bucket, share)  # (b, d)

    def logits(self, h: Tensor, decisions: Tensor | None = None) -> Tensor:
        """Clf_g, Eq. 6: (b, d) -> (b, C); with an anchor a correction of its decisions (b, C)."""
        h = self.dropout(h)
        return self.classifier(h) if decisions is None else self.classifier(h, decisions)

    def attention(self, bucket: Bucket) -> list[Tensor]:
        """The attention matrices R of every layer, each (b, H, T, T); the columns of padding are 0."""
        f, matrices = self.embedding(bucket), []
        for number, layer in enumerate(self.layers):
            if number > 0:  # what the last one makes of f is not asked for
                f = self.layers[number - 1](f, bucket.expressed)
            matrices.append(layer.attention(f, bucket.expressed))
        return matrices


class GeneEmbedding(nn.Module):
    """Tokens, Eq. 3: e_ij = e_gene[j] + MLP_count(x_ij); (b, T) genes and values -> (b, T, d_g)."""

    def __init__(self, n_genes: int, d_g: int, d_hidden: int, init: torch.Generator) -> None:
        super().__init__()
        self.gene = nn.Parameter(torch.empty(n_genes, d_g).normal_(generator=init))
        self.count = mlp(1, d_hidden, d_g, init)

    def forward(self, bucket: Bucket) -> Tensor:
        return F.embedding(bucket.genes, self.gene) + self.count(bucket.values[..., None])


class GramAttention(nn.Module):
    """One layer, Eq. 4: P = F W_g, R = rowsoftmax(P P^T), F' = MLP_g(R P), each head with its own W_g and MLP_g.

    F: (b, T, d_in) -> F': (b, T, d), the heads' outputs side by side. One matrix W_g serves as query, key and value.
    """

    def __init__(self, config: Config, d_in: int, init: torch.Generator) -> None:
        super().__init__()
        self.n_heads, self.d_head = config.n_heads, config.width // config.n_heads
        self.scale = 1 / math.sqrt(self.d_head) if config.scale_attention else 1.0
        self.w_g = linear(d_in, config.width, init, bias=False)
        self.mlp_g = HeadMLP(self.n_heads, self.d_head, config.width, init)
        self.residual = config.residual and d_in == config.width
        self.norm = nn.LayerNorm(config.width) if config.layer_norm else nn.Identity()

    def project(self, f: Tensor) -> Tensor:
        """P of every head: (b, T, d_in) -> (b, H, T, d_h)."""
        return self.w_g(f).unflatten(-1, (self.n_heads, self.d_head)).transpose(1, 2)

    def forward(self, f: Tensor, expressed: Tensor) -> Tensor:
        p = self.project(f)
        mixed = F.scaled_dot_product_attention(p, p, p, attn_mask=expressed[:, None, None, :], scale=self.scale)
        out = self.mlp_g(mixed)
        return self.norm(f + out if self.residual else out)

    def attention(self, f: Tensor, expressed: Tensor) -> Tensor:
        """R itself, (b, H, T, T), which the fused kernel of `forward` never writes out."""
        p = self.project(f)
        logits = (self.scale * p) @ p.transpose(-1, -2)
        return logits.masked_fill_(~expressed[:, None, None, :], -torch.inf).softmax(-1)


class HeadMLP(nn.Module):
    """One MLP a head, all heads in two batched products: (b, H, T, d_h) -> (b, T, H d_h)."""

    def __init__(self, n_heads: int, d_head: int, d_hidden: int, init: torch.Generator) -> None:
        super().__init__()
        heads = [mlp(d_head, d_hidden, d_head, init) for _ in range(n_heads)]
        for name, layer in (("1", 0), ("2", 2)):
            self.register_parameter(f"w{name}", nn.Parameter(torch.stack([h[layer].weight.T for h in heads]).detach()))
            self.register_parameter(f"b{name}", nn.Parameter(torch.stack([h[layer].bias for h in heads]).detach()))

    def forward(self, x: Tensor) -> Tensor:
        b, n_heads, t, d_head = x.shape
        x = x.transpose(0, 1).reshape(n_heads, b * t, d_head)
        x = torch.baddbmm(self.b1[:, None], x, self.w1).relu()
        x = torch.baddbmm(self.b2[:, None], x, self.w2)
        return x.unflatten(1, (b, t)).permute(1, 2, 0, 3).flatten(2)


class LearnedReadOut(nn.Module):
    """Eq. 5 with one learned weight a gene, shared by all cells: h = sum_j alpha_j f_j; (b, T, d) -> (b, d).

    alpha is kept in units of 1 / mean_length, so that a step of the optimiser is small beside it. Where only a share of
    the expressed genes is present, the sum is divided by that share.
    """

    def __init__(self, n_genes: int, mean_length: float) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(n_genes))
        self.mean_length = mean_length

    def forward(self, f: Tensor, bucket: Bucket, share: float = 1.0) -> Tensor:
        alpha = F.embedding(bucket.genes, self.alpha[:, None])[..., 0] / (self.mean_length * share)
        return (alpha.masked_fill(~bucket.expressed, 0)[:, None] @ f)[:, 0]


class ValueReadOut(nn.Module):
    """h = sum_j x_j v_j * (W f_j), a learned vector v_j a gene in place of Eq. 5's number; (b, T, d_in) -> (b, d).

    x_j is in units of the mean sum of a cell. Where only a share of the expressed genes is present, the sum is divided
    by that share.
    """

    def __init__(self, n_genes: int, d_in: int, d: int, mean_total: float, init: torch.Generator) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.empty(n_genes, d).normal_(std=0.3, generator=init))
        self.w = linear(d_in, d, init)
        self.mean_total = mean_total

    def forward(self, f: Tensor, bucket: Bucket, share: float = 1.0) -> Tensor:
        value = bucket.values / (self.mean_total * share)  # 0 where padded
        return torch.einsum("bt,btd,btd->bd", value, F.embedding(bucket.genes, self.v), self.w(f))


class MeanReadOut(nn.Module):
    """Eq. 5 with alpha_j = 1 / T_i: the mean over the expressed genes; (b, T, d) -> (b, d)."""

    def forward(self, f: Tensor, bucket: Bucket, _share: float = 1.0) -> Tensor:
        weight = bucket.expressed / bucket.expressed.sum(1, keepdim=True)
        return (weight[:, None] @ f)[:, 0]
