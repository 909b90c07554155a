"""The gene-level GNN q_phi: self-attention over the expressed genes of one cell (arXiv 2312.10310, Eqs. 2-6)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .._layers import Correction, Dropout, linear, mlp, standardize_inputs
from ._anchor import LOGIT_SCALE
from ._config import Config
from ._gram_attention import gram_attention
from ._head_mlp import head_mlp
from ._loops import D_HEAD
from ._token_loops import add_and_normalize, embed, weigh_and_sum
from ._tokens import Bucket, Packed, Ragged, Tokens, pack, packs

#: Heads up to this width are narrow.
_NARROW = 16


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
        h = self.embedding.gene.new_zeros(len(cells), self.width)
        rows, found = [], []
        for own, part in self.parts(tokens, cells):
            rows.append(own)
            found.append(self.embed(part, tokens.share))
        return h.index_copy(0, torch.cat(rows), torch.cat(found)) if rows else h

    def is_padded(self, tokens: Tokens) -> bool:
        """Whether cells are padded to the length of others, as torch's attention wants them, or go as they are."""
        return tokens.device.type != "cpu" or any(layer.d_head != D_HEAD for layer in self.layers)

    def parts(self, tokens: Tokens, cells: np.ndarray) -> Iterator[tuple[Tensor, Packed | Ragged]]:
        """The cells that express a gene in the form that suits the layers, and their places among the given ones."""
        if not self.is_padded(tokens):
            for rows, ragged in tokens.ragged(cells):
                yield torch.from_numpy(rows), ragged
        else:
            for buckets in packs(tokens.buckets(cells)):
                yield torch.cat([bucket.rows for bucket in buckets]), pack(buckets)

    def embed(self, tokens: Packed | Ragged, share: float = 1.0) -> Tensor:
        """h, before the norm, of n cells, of which a share of the expressed genes is present: (n, d)."""
        f = self.embedding(tokens)  # (N, d_g)
        for layer in self.layers:
            f = layer(f, tokens)  # (N, d)
        return self.read_out(f, tokens, share)  # (n, d)

    def logits(self, h: Tensor, decisions: Tensor | None = None) -> Tensor:
        """Clf_g, Eq. 6: (b, d) -> (b, C); with an anchor a correction of its decisions (b, C)."""
        h = self.dropout(h)
        return self.classifier(h) if decisions is None else self.classifier(h, decisions)

    def attention(self, bucket: Bucket) -> list[Tensor]:
        """The attention matrices R of every layer, each (b, H, T, T); the columns of padding are 0."""
        tokens = pack([bucket])
        f, matrices = self.embedding(tokens), []
        for number, layer in enumerate(self.layers):
            if number > 0:  # what the last one makes of f is not asked for
                f = self.layers[number - 1](f, tokens)
            matrices.append(layer.attention(f, tokens))
        return matrices


class GeneEmbedding(nn.Module):
    """Tokens, Eq. 3: e_ij = e_gene[j] + MLP_count(x_ij); (N,) genes and values -> (N, d_g)."""

    def __init__(self, n_genes: int, d_g: int, d_hidden: int, init: torch.Generator) -> None:
        super().__init__()
        self.gene = nn.Parameter(torch.empty(n_genes, d_g).normal_(generator=init))
        self.count = mlp(1, d_hidden, d_g, init)

    def forward(self, tokens: Packed | Ragged) -> Tensor:
        found = embed(tokens.genes, tokens.values, self.gene, self.count)
        return look_up(self.gene, tokens.genes) + self.count(tokens.values[:, None]) if found is None else found


def look_up(table: Tensor, genes: Tensor) -> Tensor:
    """Rows of a table, (T, d) and (N,) -> (N, d).

    On a CPU, gradients are added up in a third of the time that those of `F.embedding` take; on a GPU, these alone come out
    the same every time.
    """
    return table.index_select(0, genes) if genes.device.type == "cpu" else F.embedding(genes, table)


class GramAttention(nn.Module):
    """One layer, Eq. 4: P = F W_g, R = rowsoftmax(P P^T), F' = MLP_g(R P), each head with its own W_g and MLP_g.

    F: (N, d_in) -> F': (N, d) of the positions of many cells, the heads' outputs side by side. One matrix W_g serves as query,
    key and value.
    """

    def __init__(self, config: Config, d_in: int, init: torch.Generator) -> None:
        super().__init__()
        self.n_heads, self.d_head = config.n_heads, config.width // config.n_heads
        self.scale = 1 / math.sqrt(self.d_head) if config.scale_attention else 1.0
        self.w_g = linear(d_in, config.width, init, bias=False)
        self.mlp_g = HeadMLP(self.n_heads, self.d_head, config.width, init)
        self.residual = config.residual and d_in == config.width
        self.norm = nn.LayerNorm(config.width) if config.layer_norm else nn.Identity()

    def forward(self, f: Tensor, tokens: Packed | Ragged) -> Tensor:
        out = self.mlp_g(self.mix_ragged(f, tokens) if isinstance(tokens, Ragged) else self.mix(f, tokens))
        if not self.residual:
            return self.norm(out)
        found = add_and_normalize(f, out, self.norm) if isinstance(self.norm, nn.LayerNorm) else None
        return self.norm(f + out) if found is None else found

    def mix(self, f: Tensor, tokens: Packed) -> Tensor:
        """R P of every head: (N, d_in) -> (H, d_h, N)."""
        mixed = [
            F.scaled_dot_product_attention(p, p, p, attn_mask=bucket.expressed[:, None, None], scale=self.scale)
            for p, bucket in zip(self.project(f, tokens), tokens.buckets, strict=True)
        ]  # (b, H, T, d_h) each
        return torch.cat([part.transpose(1, 2).flatten(0, 1) for part in mixed]).permute(1, 2, 0)

    def mix_ragged(self, f: Tensor, tokens: Ragged) -> Tensor:
        """R P of every head: (N, d_in) -> (H, d_h, N)."""
        p = (self.w_g.weight @ f.T).unflatten(0, (self.n_heads, self.d_head))
        mixed = gram_attention(p, tokens.starts, tokens.lengths, self.scale)
        if mixed is None:
            parts = [part.mT[None] for part in p.split(tokens.lengths.tolist(), dim=2)]  # (1, H, T, d_h) each
            parts = [F.scaled_dot_product_attention(part, part, part, scale=self.scale)[0].mT for part in parts]
            mixed = torch.cat(parts, dim=2)
        return mixed

    def project(self, f: Tensor, tokens: Packed) -> list[Tensor]:
        """P of every head and bucket: (N, d_in) -> (b, H, T, d_h) each."""
        heads = (self.n_heads, self.d_head)
        return [part.unflatten(-1, heads).transpose(1, 2) for part in tokens.split(self.w_g(f))]

    def attention(self, f: Tensor, tokens: Packed) -> Tensor:
        """R itself of a single bucket, (b, H, T, T), which the fused kernel of `forward` never writes out."""
        (p,), (bucket,) = self.project(f, tokens), tokens.buckets
        logits = (self.scale * p) @ p.transpose(-1, -2)
        return logits.masked_fill_(~bucket.expressed[:, None, None], -torch.inf).softmax(-1)


class HeadMLP(nn.Module):
    """One MLP a head, all heads in two batched products: (H, d_h, N) -> (N, H d_h).

    Heads of width 8 have loops of their own on a CPU. Narrow heads keep positions last in between: a product of few rows and
    many columns takes half as long as one of many rows and few columns.
    """

    def __init__(self, n_heads: int, d_head: int, d_hidden: int, init: torch.Generator) -> None:
        super().__init__()
        heads = [mlp(d_head, d_hidden, d_head, init) for _ in range(n_heads)]
        for name, layer in (("1", 0), ("2", 2)):
            self.register_parameter(f"w{name}", nn.Parameter(torch.stack([h[layer].weight.T for h in heads]).detach()))
            self.register_parameter(f"b{name}", nn.Parameter(torch.stack([h[layer].bias for h in heads]).detach()))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > _NARROW:
            x = torch.baddbmm(self.b1[:, None], x.transpose(1, 2), self.w1).relu_()
            return torch.baddbmm(self.b2[:, None], x, self.w2).transpose(0, 1).flatten(1)
        out = head_mlp(x, self.w1, self.b1, self.w2, self.b2) if x.shape[1] == D_HEAD else None
        if out is None:
            x = (self.w1.transpose(1, 2) @ x).add_(self.b1[:, :, None]).relu_()
            out = (self.w2.transpose(1, 2) @ x).add_(self.b2[:, :, None]).flatten(0, 1).T
        return out


class LearnedReadOut(nn.Module):
    """Eq. 5 with one learned weight a gene, shared by all cells: h = sum_j alpha_j f_j; (N, d) -> (n, d).

    alpha is kept in units of 1 / mean_length, so that a step of the optimiser is small beside it. Where only a share of
    the expressed genes is present, the sum is divided by that share.
    """

    def __init__(self, n_genes: int, mean_length: float) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(n_genes))
        self.mean_length = mean_length

    def forward(self, f: Tensor, tokens: Packed | Ragged, share: float = 1.0) -> Tensor:
        alpha = look_up(self.alpha[:, None], tokens.genes) / (self.mean_length * share)
        return tokens.sum(alpha * tokens.expressed[:, None] * f)


class ValueReadOut(nn.Module):
    """h = sum_j x_j v_j * (W f_j), a learned vector v_j a gene in place of Eq. 5's number; (N, d_in) -> (n, d).

    x_j is in units of the mean sum of a cell. Where only a share of the expressed genes is present, the sum is divided
    by that share.
    """

    def __init__(self, n_genes: int, d_in: int, d: int, mean_total: float, init: torch.Generator) -> None:
        super().__init__()
        self.v = nn.Parameter(torch.empty(n_genes, d).normal_(std=0.3, generator=init))
        self.w = linear(d_in, d, init)
        self.mean_total = mean_total

    def forward(self, f: Tensor, tokens: Packed | Ragged, share: float = 1.0) -> Tensor:
        f, value = self.w(f), tokens.values / (self.mean_total * share)  # 0 where padded
        found = None
        if isinstance(tokens, Ragged):
            found = weigh_and_sum(f, value, tokens.genes, self.v, tokens.starts, tokens.lengths)
        return tokens.sum(value[:, None] * look_up(self.v, tokens.genes) * f) if found is None else found


class MeanReadOut(nn.Module):
    """Eq. 5 with alpha_j = 1 / T_i: the mean over the expressed genes; (N, d) -> (n, d)."""

    def forward(self, f: Tensor, tokens: Packed | Ragged, _share: float = 1.0) -> Tensor:
        expressed = tokens.expressed[:, None].to(f.dtype)
        return tokens.sum(expressed * f) / tokens.sum(expressed)
