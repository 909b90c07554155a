"""Training of BGFormer: warm-up, centres from a partition, then clustering until assignments stay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from .._training import progress_bar
from ._config import Config
from ._encoder import BGFormer
from ._losses import clustering_loss, soft_assignment, zinb_loss
from ._quantiser import commitment_loss
from ._scores import Scores, chunks


class Counts(NamedTuple):
    """Counts of N cells in the G genes of the panel."""

    x: sp.csr_matrix
    """(N, G) float32."""
    total: np.ndarray
    """(N,), the counts of each cell in all genes."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What training leaves."""

    network: BGFormer
    centers: Tensor
    """(K, d)."""
    scale: float
    """s of the soft assignment."""
    z: np.ndarray
    """(N, d) float32."""
    q: np.ndarray
    """(N, K) float32, soft assignment."""
    history: list[dict[str, Any]]
    """A row an epoch."""


def token_count(config: Config, n_clusters: int) -> int:
    """m: eight a cluster, within 64 and 512, unless the settings say."""
    return config.n_tokens or min(512, max(64, 8 * n_clusters))


def train_network(
    counts: Counts,
    scores: Scores,
    n_clusters: int,
    partition: Callable[[np.ndarray], np.ndarray],
    config: Config,
    *,
    device: torch.device,
    seed: int,
) -> Trained:
    """Train the network, and with it K centres.

    Parameters
    ----------
    counts
        Of at least two cells.
    scores
        What makes z-scores of them.
    n_clusters
        K.
    partition
        Given z after warm-up, (N, d), the partition (N,) whose means the centres start from, within 0 .. K - 1.
    config
        Settings.
    device
        Where to train.
    seed
        Of everything random.
    """
    n, n_genes = counts.x.shape
    init, draws = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)
    noise = torch.Generator(device).manual_seed(seed + 2)
    network = BGFormer(config, n_genes, token_count(config, n_clusters), init=init, noise=noise).to(device)
    run = _Run(network, counts, scores, config, draws, noise, device)
    rates = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
    optimizer = torch.optim.AdamW(network.parameters(), fused=True, **rates)
    centers, scale = None, 1.0
    labels = np.full(n, -1)
    history: list[dict[str, Any]] = []
    warm_up = min(config.warm_up_epochs, config.n_epochs)
    n_epochs = config.n_epochs if config.clustering_weight else warm_up
    with progress_bar(n_epochs, name="network") as bar:
        for epoch in range(n_epochs):
            if epoch == warm_up:
                centers, scale = _set_centers(run.embed(), partition, n_clusters, device)
                optimizer.add_param_group({"params": [centers], "weight_decay": 0.0})
                labels = run.assign(centers, scale).argmax(1)
            row = {"epoch": epoch, **run.epoch(optimizer, centers, scale)}
            if centers is not None:
                before, labels = labels, run.assign(centers, scale).argmax(1)
                row["changed"] = float(np.mean(before != labels))
            history.append(row)
            bar.update()
            bar.set_postfix(loss=f"{row['loss']:.3f}")
            if centers is not None and row["changed"] < config.tolerance:
                break
    if centers is None:
        centers, scale = _set_centers(run.embed(), partition, n_clusters, device)
    z = run.embed()
    q = _soft(z, centers.detach(), scale, device)
    return Trained(network, centers.detach(), scale, z, q, history)


def _set_centers(
    z: np.ndarray, partition: Callable[[np.ndarray], np.ndarray], n_clusters: int, device: torch.device
) -> tuple[torch.nn.Parameter, float]:
    """Class means in z, and the mean squared distance to them."""
    labels = partition(z)
    members = np.eye(n_clusters)[labels]
    size = members.sum(0)[:, None]
    means = np.divide(members.T @ z, size, out=np.tile(z.mean(0).astype(np.float64), (n_clusters, 1)), where=size > 0)
    scale = float(np.mean(((z - means[labels]) ** 2).sum(1)))
    centers = torch.from_numpy(means.astype(np.float32)).to(device)
    return torch.nn.Parameter(centers), max(scale, 1e-6)


def _soft(z: np.ndarray, centers: Tensor, scale: float, device: torch.device) -> np.ndarray:
    parts = [
        soft_assignment(torch.from_numpy(z[chunk]).to(device), centers, scale).cpu().numpy() for chunk in chunks(len(z))
    ]
    return np.concatenate(parts)


@dataclass(eq=False)
class _Run:
    network: BGFormer
    counts: Counts
    scores: Scores
    config: Config
    draws: torch.Generator
    noise: torch.Generator
    device: torch.device

    def epoch(self, optimizer: torch.optim.Optimizer, centers: Tensor | None, scale: float) -> dict[str, float]:
        """One pass over all cells in random order; the mean of each loss over cells."""
        self.network.train()
        sums: dict[str, float] = {}
        n = len(self.counts.total)
        for cells in self._batches():
            losses, e = self._losses(cells, centers, scale)
            optimizer.zero_grad(set_to_none=True)
            losses["loss"].backward()
            optimizer.step()
            if e is not None:
                self.network.quantiser.refresh(e, self.noise)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(cells) / n
        self.network.eval()
        return sums

    def _losses(
        self, cells: np.ndarray, centers: Tensor | None, scale: float
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """The losses of a batch, and its embeddings for the quantiser."""
        config, network = self.config, self.network
        part, total = self.counts.x[cells], self.counts.total[cells]
        x = torch.from_numpy(self.scores.z_scores(part, total)).to(self.device)
        target = torch.from_numpy(part.toarray()).to(self.device)
        size = torch.from_numpy((total / self.scores.target_sum).astype(np.float32)[:, None]).to(self.device)
        noisy = x + config.noise * torch.randn(x.shape, generator=self.noise, device=self.device)
        losses = {"reconstruction": zinb_loss(target, *network.decoder(network(noisy), size))}
        loss, e = config.reconstruction_weight * losses["reconstruction"], None
        if config.attention:
            e = network.anchor_encoder(x)
            quantised, _ = network.quantiser(e)
            losses["commitment"] = commitment_loss(e, quantised, config.commitment)
            losses["anchors"] = zinb_loss(target, *network.anchor_decoder(quantised, size))
            loss = loss + config.commitment_weight * losses["commitment"] + config.anchor_weight * losses["anchors"]
        if centers is not None:
            losses["clustering"] = clustering_loss(soft_assignment(network(x), centers, scale))
            loss = loss + config.clustering_weight * losses["clustering"]
        return {"loss": loss, **losses}, None if e is None else e.detach()

    def _batches(self) -> Iterator[np.ndarray]:
        n = len(self.counts.total)
        order = torch.randperm(n, generator=self.draws).numpy()
        yield from np.array_split(order, max(1, min(math.ceil(n / self.config.batch_size), n // 2)))

    def embed(self) -> np.ndarray:
        return embed_cells(self.network, self.counts, self.scores, self.device)

    def assign(self, centers: Tensor, scale: float) -> np.ndarray:
        return _soft(self.embed(), centers.detach(), scale, self.device)


@torch.no_grad()
def embed_cells(
    network: BGFormer, counts: Counts, scores: Scores, device: torch.device, *, known: np.ndarray | None = None
) -> np.ndarray:
    """z of all cells, (N, d) float32; `known` (G,) says which genes they have, all by default."""
    network.eval()
    parts = []
    for chunk in chunks(len(counts.total)):
        x = torch.from_numpy(scores.z_scores(counts.x[chunk], counts.total[chunk], known)).to(device)
        parts.append(network(x).cpu().numpy())
    return np.concatenate(parts)
