"""A clustering as plain data: what it takes to assign further cells, to save and to read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from .._checkpoints import below, prefixed
from .._files import Parts, read_parts, write_parts
from .._hub import as_table, card, pull, share
from ._config import Config
from ._encoder import BGFormer
from ._landmarks import Landmarks
from ._losses import soft_assignment
from ._network import Counts, embed_cells
from ._scores import Scores, chunks

_KIND = "clustering"


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
class Model:
    """What :func:`scbignn.tl.fit_clusters` learned. It holds no cells: anchors, genes, and what anchors say."""

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

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the model to a folder, which :func:`scbignn.read_model` reads: tensors and one JSON file, no code.

        Parameters
        ----------
        path
            The folder; it is created.
        overwrite
            Replace a model that is there.

        Raises
        ------
        FileExistsError
            There is something at `path`, and it is not to be overwritten, or is no saved model.
        """
        write_parts(path, _KIND, _parts(self), overwrite=overwrite)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | None = None,
        private: bool = False,
        commit_message: str = "Upload model",
        endpoint: str | None = None,
    ) -> str:
        """Share the model on the Hugging Face Hub, with a card that says what it is. Needs the extra `scbignn[hub]`.

        It holds no cells.

        Parameters
        ----------
        repo_id
            "owner/name" of the repository; it is made if it does not exist.
        token
            Of a user who may write there; by default the one that `hf auth login` stored.
        private
            Of a new repository: whether others may not see it.
        commit_message
            What the hub's history says.
        endpoint
            Another hub than that of the environment variable `HF_ENDPOINT`, or https://huggingface.co.

        Returns
        -------
        Address of the repository. ``scbignn.read_model("hf://owner/name")`` reads the model.

        Raises
        ------
        ConnectionError
            The hub cannot be reached.
        ModuleNotFoundError
            huggingface_hub is not installed.
        PermissionError
            The hub does not let you.
        ValueError
            `repo_id` is no name of a repository.
        """
        where = {"token": token, "private": private, "message": commit_message, "endpoint": endpoint}
        return share(self.save, model_card(self, repo_id), repo_id, **where)

    @classmethod
    def from_hub(
        cls, repo_id: str, revision: str | None = None, *, token: str | None = None, endpoint: str | None = None
    ) -> Model:
        """Read a model from the Hugging Face Hub. Only its two files are downloaded, and nothing is run.

        Parameters
        ----------
        repo_id
            "owner/name" of the repository.
        revision
            Branch, tag or commit; by default the newest state.
        token, endpoint
            As in :meth:`push_to_hub`.

        Raises
        ------
        ConnectionError
            The hub cannot be reached, and the model was not read before.
        FileNotFoundError
            There is no such repository or revision, or you may not see it.
        ModuleNotFoundError
            huggingface_hub is not installed.
        ValueError
            `repo_id` is no name of a repository, or what is there is no such model, one of a newer version, or one that
            is incomplete or was changed.
        """
        return read_model(pull(repo_id, revision, token=token, endpoint=endpoint))

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


def read_model(path: str | Path) -> Model:
    """Read a model that :meth:`scbignn.clustering.Model.save` wrote. Nothing in the folder is run.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        It holds no such model, one of a newer version, or one that is incomplete or was changed.
    """
    tensors, about = read_parts(path, _KIND)
    try:
        return _from_parts(tensors, about)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"{path} does not hold what this version expects of a model ({error!r}). Fit and save it anew."
        raise ValueError(msg) from error


_SCORES = ("panel", "gene_share", "center", "scale", "middle", "loadings")
_LANDMARKS = ("anchors", "mapping", "shares")


def _parts(model: Model) -> Parts:
    arrays = {f"scores.{name}": getattr(model.scores, name) for name in _SCORES}
    arrays |= {f"landmarks.{name}": getattr(model.landmarks, name) for name in _LANDMARKS}
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    if model.net is not None:
        tensors |= {"net.centers": torch.from_numpy(model.net.centers), **prefixed(net=model.net.weights)}
    about = {
        "genes": model.genes.tolist(),
        "config": model.config.to_dict(),
        "target_sum": model.scores.target_sum,
        "n_batches": model.landmarks.n_batches,
        "net_scale": None if model.net is None else model.net.scale,
        "about": model.about,
    }
    return Parts(tensors, about)


def _from_parts(tensors: dict[str, Tensor], about: dict[str, Any]) -> Model:
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
