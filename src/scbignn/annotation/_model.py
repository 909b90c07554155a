"""A trained scBiGNN as plain data: what it takes to label cells that come later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from .._files import Parts
from .._saved_model import SavedModel
from ._cell_gnn import CellGNN
from ._config import Config
from ._evidence import Views
from ._gene_gnn import GeneGNN
from ._homophily import Homophily
from ._importance import Importance
from ._model_card import model_card
from ._model_parts import fields_of, parts_of
from ._reference import Reference
from ._trust import Trust

if TYPE_CHECKING:
    from ._annotate import Annotation


@dataclass(frozen=True, eq=False)
class Model(SavedModel):
    """What :func:`scbignn.tl.fit` learned: M genes, of which T are in the panel, C labels, N reference cells.

    It holds no counts, but the normalised expression of the panel for each reference cell: share a model as you would
    share that.
    """

    kind: ClassVar[str] = "annotation"
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
    """Of the genes of the panel; a model of an early version knows only the attention they receive."""
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

    def _parts(self) -> Parts:
        return parts_of(self)

    @classmethod
    def _of_parts(cls, parts: Parts) -> Model:
        return cls(**fields_of(parts))

    def _card(self, repo_id: str) -> str:
        return model_card(self, repo_id)

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


def _on_cpu(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
