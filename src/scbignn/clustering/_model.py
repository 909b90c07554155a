"""A clustering as plain data: what it takes to assign further cells, to save and to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from .._checkpoints import below, prefixed
from .._files import Parts
from .._hub import as_table, card
from .._saved_model import SavedModel
from ._config import Config
from ._encoder import BGFormer
from ._landmarks import Landmarks
from ._losses import soft_assignment
from ._network import Counts, embed_cells
from ._scores import Scores, chunks

#: Fields of scores and of landmarks that are arrays.
_SCORES = ("panel", "gene_share", "center", "scale", "middle", "loadings")
_LANDMARKS = ("anchors", "mapping", "shares")


class Net(NamedTuple):
    """A trained network and its centres."""

    weights: dict[str, Tensor]
    """On the CPU."""
    centers: np.ndarray
    """(K, d) float32."""
    scale: float


class Assigned(NamedTuple):
    """What is said of N cells."""

    memberships: np.ndarray
    """(N, K) float32, rows sum to 1."""
    embedding: np.ndarray
    """float32, (N, K), singular vectors, or (N, width), z of the network."""
    graph: sp.csr_matrix
    """Weights of cells to anchors, CSR float32 (N, S m)."""
    attention: sp.csr_matrix | None
    """The largest attention of cells to the network's tokens, CSR float32 (N, tokens)."""


@dataclass(frozen=True, eq=False)
class Model(SavedModel):
    """What :func:`scbignn.tl.fit_clusters` learned. It holds no cells: anchors, genes, and what anchors say."""

    kind: ClassVar[str] = "clustering"
    genes: np.ndarray
    """(M,) names, str."""
    config: Config
    scores: Scores
    """From counts to components."""
    landmarks: Landmarks
    net: Net | None = None
    about: dict[str, Any] = field(default_factory=dict)
    """Where it comes from: versions, slot and kind of the expression, seed."""

    @property
    def n_clusters(self) -> int:
        """K."""
        return self.landmarks.shares.shape[1] if self.net is None else len(self.net.centers)

    def _parts(self) -> Parts:
        arrays = {f"scores.{name}": getattr(self.scores, name) for name in _SCORES}
        arrays |= {f"landmarks.{name}": getattr(self.landmarks, name) for name in _LANDMARKS}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
        if self.net is not None:
            tensors |= {"net.centers": torch.from_numpy(self.net.centers), **prefixed(net=self.net.weights)}
        about = {
            "genes": self.genes.tolist(),
            "config": self.config.to_dict(),
            "target_sum": self.scores.target_sum,
            "n_batches": self.landmarks.n_batches,
            "net_scale": None if self.net is None else self.net.scale,
            "about": self.about,
        }
        return Parts(tensors, about)

    @classmethod
    def _of_parts(cls, parts: Parts) -> Model:
        tensors, about = parts
        arrays = {name: tensor.numpy() for name, tensor in tensors.items() if "/" not in name}
        config = Config(**about["config"])
        net = None
        if about["net_scale"] is not None:
            net = Net(below(tensors, "net"), arrays["net.centers"], about["net_scale"])
        scores = Scores(
            target_sum=about["target_sum"], clip=config.clip, **{name: arrays[f"scores.{name}"] for name in _SCORES}
        )
        found = {name: arrays[f"landmarks.{name}"] for name in _LANDMARKS}
        landmarks = Landmarks(n_nearest=config.n_nearest, **found, n_batches=about.get("n_batches", 1))
        return Model(np.asarray(about["genes"], dtype=str), config, scores, landmarks, net, about["about"])

    def _card(self, repo_id: str) -> str:
        return model_card(self, repo_id)

    def __repr__(self) -> str:
        n_sets, m, _ = self.landmarks.anchors.shape
        network = ", with a network" if self.net else ""
        return (
            f"clustering model: {self.n_clusters} clusters, {len(self.genes)} genes ({len(self.scores.panel)} used), "
            f"{n_sets} sets of {m} anchors{network}"
        )

    def new_network(self, device: torch.device) -> BGFormer:
        """The network, for inference."""
        weights = self.net.weights
        n_tokens = len(weights["quantiser.tokens"]) if self.config.attention else 0
        network = BGFormer(
            self.config, len(self.scores.panel), n_tokens, init=torch.Generator(), noise=torch.Generator(device)
        )
        network.load_state_dict(weights)
        return network.to(device).eval()


def assign(
    model: Model,
    graph: sp.csr_matrix,
    counts: Callable[[], Counts],
    *,
    device: torch.device,
    known: np.ndarray | None = None,
) -> Assigned:
    """Memberships and the rest, of the cells of a graph.

    Parameters
    ----------
    model
        What was learned.
    graph
        Edges of the cells to the anchors.
    counts
        Gives the counts of the panel; called where there is a network.
    device
        Where the network runs.
    known
        (G,) bool, genes of the panel that the cells have; all by default.
    """
    landmarks = model.landmarks
    if model.net is None:
        return Assigned(landmarks.memberships(graph), landmarks.embedding(graph), graph, None)
    given = counts()
    network = model.new_network(device)
    z = embed_cells(network, given, model.scores, device, known=known)
    centers = torch.from_numpy(model.net.centers)
    q = [soft_assignment(torch.from_numpy(z[chunk]), centers, model.net.scale).numpy() for chunk in chunks(len(z))]
    attention = _attention(network, given, model, device, known) if model.config.attention else None
    return Assigned(np.concatenate(q), z, graph, attention)


@torch.no_grad()
def _attention(
    network: BGFormer, counts: Counts, model: Model, device: torch.device, known: np.ndarray | None
) -> sp.csr_matrix:
    """The `n_nearest` largest entries of each row."""
    values, columns = [], []
    for chunk in chunks(len(counts.total)):
        x = torch.from_numpy(model.scores.z_scores(counts.x[chunk], counts.total[chunk], known)).to(device)
        weights = network.attention_weights(x).cpu()
        top = weights.topk(min(model.config.n_nearest, weights.shape[1]), dim=1)
        values.append(top.values.numpy())
        columns.append(top.indices.numpy())
    n, r = len(counts.total), values[0].shape[1]
    entries = np.concatenate(values).ravel(), np.concatenate(columns).ravel(), np.arange(0, n * r + 1, r)
    found = sp.csr_matrix(entries, shape=(n, len(network.quantiser.tokens)))
    found.sort_indices()
    return found


def model_card(model: Model, repo_id: str) -> str:
    """What a repository says of the model, in Markdown."""
    about, config, default = model.about, model.config.to_dict(), Config().to_dict()
    changed = {name: value for name, value in config.items() if value != default[name]}
    plain = {name: value for name, value in about.items() if not isinstance(value, dict)}
    sections = {
        "Use": "```python\nscbignn.tl.predict_clusters(query, model)\n```",
        "Genes": f"{len(model.genes):,}, such as {', '.join(model.genes[model.scores.panel[:10]])}.",
        "Config": as_table(changed, "field", "value") if changed else "The default.",
        "Where it comes from": as_table({**plain, **about.get("versions", {})}, "what", ""),
        "Privacy": "No cells are in it, only anchors, which are means of many.",
    }
    what = (
        f"Assigns single cells to {model.n_clusters} clusters, after BGFormer "
        "([arXiv 2602.07475](https://arxiv.org/abs/2602.07475))."
    )
    return card(repo_id, what, ["single-cell", "scRNA-seq", "clustering"], sections)
