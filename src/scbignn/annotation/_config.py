"""Every choice of the method that is not forced by its equations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Config:
    """Settings of scBiGNN (arXiv 2312.10310).

    The default is the configuration that `scbignn.tl.annotate` runs; :meth:`paper` is the published method. Where the
    paper is silent, the value is ours and the field says so ("ours").
    """

    # Input
    n_top_genes: int = 1000
    """T, genes of highest variance after normalisation that enter both networks (the paper's example)."""
    target_sum: float = 1e6
    """s of the normalisation log(1 + s x / total)."""
    top_genes_from: Literal["all", "labeled"] = "all"
    """Cells whose variance ranks the genes: all (the paper; transductive) or the labelled ones only."""

    # Gene-level GNN, q
    gene_width: int = 32
    """Width of gene and count embeddings (ours; every width the paper states is 32)."""
    width: int = 32
    """Width of each layer's output and of the hidden layer of every MLP, in both networks."""
    n_layers: int = 1
    """Self-attention layers (the paper: 1 for BaronMouse, 2 for its other data)."""
    n_heads: int = 4
    """Heads a layer, each of width `width / n_heads` (the paper: 4 for BaronMouse, 1 for its other data)."""
    read_out: Literal["learned", "mean"] = "learned"
    """Eq. 5: one learned weight a gene (started at the mean) or the mean over expressed genes."""
    scale_attention: bool = False
    """Divide attention logits by the root of the head width (ours; the paper does not)."""
    residual: bool = False
    """Add each attention layer's input to its output where the widths agree (ours; the paper does not)."""
    layer_norm: bool = False
    """Layer norm after each attention layer (ours; the paper names none)."""
    dropout: float = 0.0
    """Dropout before both classifiers (ours; the paper names none)."""
    gene_dropout: float = 0.5
    """Share of each cell's expressed genes left out, drawn anew each epoch, while q trains (ours)."""

    # Cell-level GNN, p
    n_neighbors: int = 5
    """k of the kNN graph over h (the paper: about 5 suffices; the result is flat in k)."""
    symmetric_graph: bool = False
    """Let an edge run both ways (ours; the paper's D^-1 A form suggests a directed graph)."""
    self_loops: bool = False
    """Count a cell among its own neighbours (ours; jumping knowledge carries the cell's own state already)."""
    n_cell_layers: int = 3
    """Mean-aggregation layers of Eq. 8."""

    # EM
    n_rounds: int = 3
    """Rounds of M- and E-step after pre-training."""
    pseudo_labels: Literal["sample", "soft", "hard"] = "sample"
    """Labels of unlabelled cells: drawn anew at each update (the paper), the exact expectation, or the mode."""
    beta: float = 1.0
    """Weight of labelled cells in the E-step."""
    e_step_weights: Literal["sums", "batches"] = "sums"
    """Weigh the batch means of unlabelled and labelled cells by their numbers, an unbiased estimate of the sums that the
    paper writes, or equally (ours)."""
    warm_start: bool = True
    """Go on with the weights of the round before instead of new ones (ours)."""
    final_m_step: bool = True
    """Close with an M-step, so that p has seen the last h (ours)."""

    # Training (all ours: the paper states none of it)
    gene_learning_rate: float = 1e-2
    """Peak rate of Adam for q in pre-training."""
    e_step_learning_rate: float = 3e-3
    """Peak rate of Adam for q in an E-step, which starts from weights that are good already."""
    gene_weight_decay: float = 1e-5
    """L2 penalty of q in Adam."""
    cell_learning_rate: float = 3e-3
    """Peak rate of Adam for p, on the full graph."""
    cell_weight_decay: float = 1e-2
    """L2 penalty of p in Adam."""
    pretrain_epochs: int = 40
    """Most epochs of pre-training q on labelled cells, unless `pretrain_updates` asks for more."""
    pretrain_updates: int = 600
    """Epochs are added to pre-training until it has so many updates: few cells make short epochs."""
    e_step_epochs: int = 8
    """Most epochs of q in one E-step, unless `e_step_updates` asks for more."""
    e_step_updates: int = 100
    """Epochs are added to an E-step until it has so many updates."""
    m_step_updates: int = 200
    """Most full-graph updates of p in one M-step."""
    patience: float = 0.4
    """Share of a stage's epochs without a better validation loss after which the stage stops."""
    batch_size: int = 32
    """Labelled cells in a batch of q; an E-step adds as many unlabelled ones."""
    validation_fraction: float = 0.1
    """Share of the labelled cells, stratified, kept out of training for early stopping only."""

    # Gene importance
    min_count: int = 10
    """Gene pairs expressed together in fewer cells are left out of the averaged attention (ours)."""

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """The published method with its BaronMouse settings; `changes` replace fields.

        The paper runs its other data with ``Config.paper(n_layers=2, n_heads=1)``, and Zheng68K and Zhengsorted also
        with ``read_out="mean"``.
        """
        return cls(**changes)

    def __post_init__(self) -> None:
        for name in _COUNTS:
            self._require(name, _is_count(getattr(self, name), 1), "an integer >= 1")
        for name in ("n_rounds", "min_count"):
            self._require(name, _is_count(getattr(self, name), 0), "an integer >= 0")
        for name in ("target_sum", "gene_learning_rate", "e_step_learning_rate", "cell_learning_rate", "patience"):
            self._require(name, getattr(self, name) > 0, "a number above 0")
        for name in ("beta", "gene_weight_decay", "cell_weight_decay"):
            self._require(name, getattr(self, name) >= 0, "a number of at least 0")
        for name in ("dropout", "gene_dropout", "validation_fraction"):
            self._require(name, 0 <= getattr(self, name) < 1, "a number within [0, 1)")
        for name, choices in _CHOICES.items():
            self._require(name, getattr(self, name) in choices, " or ".join(repr(choice) for choice in choices))
        self._require(
            "final_m_step", self.final_m_step or self.n_rounds > 0, "True where n_rounds=0: p needs an M-step"
        )
        self._require("n_heads", self.width % self.n_heads == 0, f"a divisor of width={self.width}")

    def _require(self, name: str, holds: bool, wanted: str) -> None:  # noqa: FBT001
        if not holds:
            msg = f"Config: {name}={getattr(self, name)!r} must be {wanted}."
            raise ValueError(msg)

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, ready for JSON."""
        fields = dataclasses.asdict(self)
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in fields.items()}


def _is_count(value: object, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= least


_COUNTS = (
    "n_top_genes",
    "gene_width",
    "width",
    "n_layers",
    "n_heads",
    "n_neighbors",
    "n_cell_layers",
    "pretrain_epochs",
    "pretrain_updates",
    "e_step_epochs",
    "e_step_updates",
    "m_step_updates",
    "batch_size",
)
_CHOICES = {
    "top_genes_from": ("all", "labeled"),
    "read_out": ("learned", "mean"),
    "pseudo_labels": ("sample", "soft", "hard"),
    "e_step_weights": ("sums", "batches"),
}
