"""A trained scBiGNN as plain data: what it takes to label cells that come later."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from .._checkpoints import below, prefixed
from .._files import Parts, read_parts, write_parts
from .._hub import as_table, card, pull, share
from ..graph import Neighbors
from ._calibration import Calibration
from ._cell_gnn import CellGNN
from ._config import Config
from ._evidence import Views
from ._gene_gnn import GeneGNN
from ._homophily import Homophily
from ._importance import Importance
from ._linear import Linear
from ._rejection import LabelShapes
from ._trust import Trust

if TYPE_CHECKING:
    from ._annotate import Annotation


class Reference(NamedTuple):
    """What p knows of the N cells that it was trained on, to which later cells are attached."""

    x: sp.csr_matrix
    """(N, T) float32, normalised expression of the panel."""
    y: np.ndarray
    """(N,) int64, label codes; -1 where unlabelled."""
    h: np.ndarray
    """(N, d) float32."""
    q: np.ndarray
    """(N, C) float32, gene-level probabilities."""
    neighbors: Neighbors
    """The learned graph among them."""
    scores: np.ndarray | None = None
    """(N, F) float32, principal components; this and what follows is None where the config has no use for it."""
    gene_decisions: np.ndarray | None = None
    """(N, C) float32, out of fold where labelled."""
    cell_decisions: np.ndarray | None = None
    """(N, C) float32, out of fold where labelled."""
    batches: np.ndarray | None = None
    """(N,) int64, batch codes; None where no batches were given."""


#: Fields of a reference that are plain arrays or None.
_OF_CELLS = ("y", "h", "q", "scores", "gene_decisions", "cell_decisions", "batches")


@dataclass(frozen=True, eq=False)
class Model:
    """What :func:`scbignn.tl.fit` learned: M genes, of which T are in the panel, C labels, N reference cells.

    It holds no counts, but the normalised expression of the panel for each reference cell: share a model as you would
    share that.
    """

    genes: np.ndarray
    """(M,) names, str."""
    labels: list[str]
    """C names, in natural order."""
    config: Config
    gene_share: np.ndarray
    """(M,) float64, the mean share of a reference cell's counts; sums to 1."""
    gene_mean: np.ndarray
    """(M,) float32, the mean of log-normalised expression over reference cells: what stands for a missing gene."""
    panel: np.ndarray
    """(T,) int64, the genes of the gene-level network."""
    views: Views | None
    features_center: np.ndarray | None
    features_scale: np.ndarray | None
    gene_weights: dict[str, Tensor]
    """The state of q, on the CPU."""
    cell_weights: dict[str, Tensor]
    """The state of p, on the CPU."""
    mean_length: float
    mean_total: float
    reference: Reference
    importance: Importance
    """Of the genes of the panel; a model of version 0.1 knows only the attention they receive."""
    homophily: Homophily
    """Of the graph among the reference."""
    history: list[dict[str, Any]]
    """How it was trained, a row an epoch."""
    trust: Trust | None = None
    """What labelled cells say of answers about others; None with ``cross_fit_folds=0``."""
    colors: list[str] | None = None
    """One a label, where the training data had a palette."""
    about: dict[str, Any] = field(default_factory=dict)
    """Where it comes from: versions, slot and kind of the expression, label column, seed, hash of the data."""

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
        write_parts(path, "annotation", _parts(self), overwrite=overwrite)

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

        Mind who may see it: a model holds the expression of its panel for every reference cell.

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
        n_cells, (n_genes, n_panel) = len(self.reference.y), (len(self.genes), len(self.panel))
        return (
            f"scBiGNN model: {len(self.labels)} labels, {n_genes} genes ({n_panel} in the panel), "
            f"{n_cells} reference cells, {np.sum(self.reference.y >= 0)} of them labelled"
        )

    @property
    def n_components(self) -> int:
        """How many of the scores p and the graph see."""
        return len(self.features_center) - 2 * len(self.labels)

    def new_gene_gnn(self, device: torch.device) -> GeneGNN:
        """q, for inference."""
        network = GeneGNN(
            self.config,
            len(self.panel),
            len(self.labels),
            mean_length=self.mean_length,
            mean_total=self.mean_total,
            init=torch.Generator(),
            noise=torch.Generator(device),
        )
        network.load_state_dict(self.gene_weights)
        return network.to(device).eval()

    def new_cell_gnn(self, device: torch.device) -> CellGNN:
        """p, for inference."""
        network = CellGNN(
            self.config,
            len(self.panel),
            len(self.labels),
            n_features=0 if self.features_center is None else len(self.features_center),
            init=torch.Generator(),
            noise=torch.Generator(device),
        )
        network.load_state_dict(self.cell_weights)
        return network.to(device).eval()

    def known(self, device: torch.device) -> Tensor | None:
        """Known labels of the reference as p is shown them, one-hot (N, C); None where it is shown none."""
        if not self.config.mask_labels:
            return None
        labelled = np.flatnonzero(self.reference.y >= 0)
        known = torch.zeros(len(self.reference.y), len(self.labels), device=device)
        known[labelled, self.reference.y[labelled]] = 1
        return known

    def features(self, scores: np.ndarray, gene_decisions: np.ndarray, cell_decisions: np.ndarray) -> np.ndarray:
        """The input of p, on the scale of training; (N, F), (N, C), (N, C) -> (N, n_components + 2 C) float32."""
        both = np.hstack([scores[:, : self.n_components], gene_decisions, cell_decisions])
        return (both - self.features_center) / self.features_scale


def model_of(
    found: Annotation,
    genes: np.ndarray,
    labels: list[str],
    *,
    trust: Trust | None = None,
    batches: np.ndarray | None = None,
    colors: list[str] | None = None,
    about: dict[str, Any] | None = None,
) -> Model:
    """What is kept of a run, so that it can label other cells.

    Parameters
    ----------
    found
        The run, on M genes and C labels.
    genes, labels
        Their names.
    trust
        What its labelled cells say of answers about others.
    batches
        Batch codes of its cells, shape (N,).
    colors
        One a label.
    about
        Where it comes from, ready for JSON.
    """
    fit, evidence = found.fit, found.evidence
    knows = (
        {}
        if evidence is None
        else {
            "scores": evidence.scores,
            "gene_decisions": evidence.gene_decisions,
            "cell_decisions": evidence.cell_decisions,
        }
    )
    return Model(
        genes=np.asarray(genes, dtype=str),
        labels=list(labels),
        config=found.config,
        gene_share=found.gene_share,
        gene_mean=found.gene_mean,
        panel=found.genes,
        views=None if evidence is None else evidence.views,
        features_center=fit.features_center,
        features_scale=fit.features_scale,
        gene_weights=_on_cpu(fit.gene_gnn),
        cell_weights=_on_cpu(fit.cell_gnn),
        mean_length=fit.gene_gnn.mean_length,
        mean_total=fit.gene_gnn.mean_total,
        reference=Reference(found.x, found.y, fit.h, fit.q, fit.neighbors, **knows, batches=batches),
        importance=found.importance,
        homophily=found.homophily,
        history=fit.history,
        trust=trust,
        colors=colors,
        about=about or {},
    )


def model_card(model: Model, repo_id: str) -> str:
    """What a repository says of the model, in Markdown."""
    n_cells, about, changed = len(model.reference.y), model.about, model.config.to_dict()
    default = Config().to_dict()
    counts = np.bincount(model.reference.y[model.reference.y >= 0], minlength=len(model.labels))
    sections = {
        "Use": f"```python\nscbignn.tl.predict(query, model)  # {len(model.genes):,} genes, matched by name\n```",
        "Labels": as_table(dict(zip(model.labels, counts.tolist(), strict=True)), "label", "labelled reference cells"),
        "Genes": f"{len(model.genes):,}, such as {', '.join(model.genes[model.panel[:10]])}.",
        "Confidence": _confidence(model),
        "Config": as_table({name: value for name, value in changed.items() if value != default[name]}, "field", "value")
        if changed != default
        else "The default.",
        "Where it comes from": as_table(
            {
                "reference cells": f"{n_cells:,}",
                "label column": about.get("labels_key"),
                "batch column": about.get("batch_key"),
                "expression": about.get("expression"),
                "seed": about.get("seed"),
                "sha256 of the expression": about.get("data"),
                **about.get("versions", {}),
            },
            "what",
            "",
        ),
        "Privacy": "No counts and no cell names are in it, but of every reference cell its label, the normalised "
        "expression of the panel and principal components.",
    }
    what = (
        f"Labels single cells with one of {len(model.labels)} labels, by scBiGNN "
        "([arXiv 2312.10310](https://arxiv.org/abs/2312.10310))."
    )
    return card(repo_id, what, ["single-cell", "scRNA-seq", "cell-type-annotation"], sections)


def _confidence(model: Model) -> str:
    if model.trust is None:
        return "Not calibrated: the model was not cross-fitted."
    calibration = model.trust.calibration
    by_batch = calibration.held_out == "batches"
    how = "whose whole batch was hidden" if by_batch else "whose label was hidden; that is no promise across batches"
    return (
        f"Calibrated on {sum(calibration.before.n_cells):,} labelled cells {how}. Expected calibration error "
        f"{calibration.before.ece:.4f} before, {calibration.after.ece:.4f} after."
    )


def read_model(path: str | Path) -> Model:
    """Read a model that :meth:`scbignn.annotation.Model.save` wrote. Nothing in the folder is run.

    Parameters
    ----------
    path
        The folder.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    ValueError
        It holds no model of scbignn, one of a newer version, or one that is incomplete or was changed.
    """
    tensors, about = read_parts(path, "annotation")
    try:
        return _from_parts(tensors, about)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        msg = f"{path} does not hold what this version expects of a model ({error!r}). Fit and save it anew."
        raise ValueError(msg) from error


#: Fields that are arrays or None, and those that are the same in JSON.
_ARRAYS = ("gene_share", "gene_mean", "panel", "features_center", "features_scale")
_PLAIN = ("labels", "mean_length", "mean_total", "colors", "about")


def _parts(model: Model) -> Parts:
    reference, views = model.reference, model.views
    arrays = {name: getattr(model, name) for name in _ARRAYS}
    arrays |= {f"reference.x.{name}": getattr(reference.x, name) for name in ("data", "indices", "indptr")}
    arrays |= {f"reference.neighbors.{name}": getattr(reference.neighbors, name) for name in ("indices", "distances")}
    arrays |= {f"reference.{name}": getattr(reference, name) for name in _OF_CELLS}
    arrays |= {f"importance.{name}": value for name, value in model.importance._asdict().items()}
    arrays |= {f"homophily.{name}": getattr(model.homophily, name) for name in ("learned_per_label", "raw_per_label")}
    if views is not None:
        arrays |= {f"views.{name}": getattr(views, name) for name in ("loadings", "center", "points_center")}
        for name in ("gene", "cell"):
            arrays |= {f"views.{name}.{part}": value for part, value in getattr(views, name)._asdict().items()}
    arrays |= {} if model.trust is None else _trust_arrays(model.trust)
    tensors = {
        name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items() if array is not None
    }
    about = {
        "genes": model.genes.tolist(),
        "config": model.config.to_dict(),
        "homophily": _without_nan({"learned": model.homophily.learned, "raw": model.homophily.raw}),
        **{name: getattr(model, name) for name in _PLAIN},
        "calibration": None if model.trust is None else model.trust.calibration.to_dict(),
        "history": [_without_nan(row) for row in model.history],
    }
    return Parts({**tensors, **prefixed(gene_weights=model.gene_weights, cell_weights=model.cell_weights)}, about)


def _from_parts(tensors: dict[str, Tensor], about: dict[str, Any]) -> Model:
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if "/" not in name}
    genes, panel = np.asarray(about["genes"], dtype=str), arrays["panel"]
    views = None
    if "views.loadings" in arrays:
        machines = [Linear(arrays[f"views.{name}.weights"], arrays[f"views.{name}.bias"]) for name in ("gene", "cell")]
        views = Views(arrays["views.loadings"], arrays["views.center"], *machines, arrays["views.points_center"])
    y = arrays["reference.y"]
    csr = tuple(arrays[f"reference.x.{name}"] for name in ("data", "indices", "indptr"))
    reference = Reference(
        x=sp.csr_matrix(csr, shape=(len(y), len(panel))),
        neighbors=Neighbors(arrays["reference.neighbors.indices"], arrays["reference.neighbors.distances"]),
        **{name: arrays.get(f"reference.{name}") for name in _OF_CELLS},
    )
    reference.x.check_format()
    homophily = Homophily(
        **_with_nan(about["homophily"]),
        learned_per_label=arrays["homophily.learned_per_label"],
        raw_per_label=arrays["homophily.raw_per_label"],
    )
    importance = Importance(*(arrays.get(f"importance.{name}") for name in Importance._fields))
    if "importance" in arrays:  # version 0.1
        importance = importance._replace(received=arrays["importance"])
    return Model(
        genes=genes,
        importance=importance,
        trust=_trust(arrays, about.get("calibration")),
        config=Config(**about["config"]),
        views=views,
        gene_weights=below(tensors, "gene_weights"),
        cell_weights=below(tensors, "cell_weights"),
        reference=reference,
        homophily=homophily,
        **{name: arrays.get(name) for name in _ARRAYS},
        **{name: about[name] for name in _PLAIN},
        history=[_with_nan(row) for row in about["history"]],
    )


_OF_TRUST = ("novelty", "predicted", "novelty_together")


def _trust_arrays(trust: Trust) -> dict[str, np.ndarray | None]:
    shapes = {} if trust.shapes is None else vars(trust.shapes)
    arrays = {f"trust.shapes.{name}": value for name, value in shapes.items()}
    return {**arrays, **{f"trust.{name}": getattr(trust, name) for name in _OF_TRUST}}


def _trust(arrays: dict[str, np.ndarray], calibration: dict[str, Any] | None) -> Trust | None:
    if calibration is None:
        return None
    prefix = "trust.shapes."
    shapes = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return Trust(
        calibration=Calibration.from_dict(calibration),
        shapes=LabelShapes(**shapes) if shapes else None,
        **{name: arrays.get(f"trust.{name}") for name in _OF_TRUST},
    )


def _without_nan(row: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no NaN; None stands for it."""
    return {name: None if value != value else value for name, value in row.items()}


def _with_nan(row: dict[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in row.items()}


def _on_cpu(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
