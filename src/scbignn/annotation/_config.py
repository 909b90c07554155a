"""Every choice of the method that is not forced by its equations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .._fields import fields_for_json, is_count, is_number


@dataclass(frozen=True)
class Config:
    """Settings of scBiGNN (arXiv 2312.10310).

    The default is what `scbignn.tl.annotate` runs: the paper's two networks and their EM, each network a correction of
    a linear classifier on all genes. :meth:`paper` is the published method. Fields that the paper knows nothing of are
    marked "ours"; what each part is worth is measured in the docs, Benchmark.
    """

    # Input
    n_top_genes: int = 256
    """T, the genes that enter the gene-level network (the paper's example: 1000)."""
    gene_panel: Literal["labels", "variance"] = "labels"
    """How they are chosen: they tell the labels apart among labelled cells (ours), or they vary most (the paper)."""
    top_genes_from: Literal["all", "labeled"] = "all"
    """Cells whose variance ranks the genes: all (the paper; transductive) or the labelled ones only."""
    genes_within_batches: bool = True
    """Where batches are given, rank genes by what they tell within each (ours)."""
    target_sum: float | None = None
    """s of the normalisation log(1 + s x / total) (the paper: 1e6). None (ours): 10,000, or 1,000 where that
    lets a linear machine tell held-out labelled cells apart better, by two standard errors."""
    unit_rows: bool = True
    """Scale each cell's normalised expression to length 1 (ours)."""

    # Linear anchors (ours)
    anchor: bool = True
    """Add the decisions of linear support-vector machines on all genes, times a learned scale, to the logits of both
    networks: for q a machine on the cell alone, for p one on the cell and the mean of its neighbours."""
    n_components: int = 30
    """Components of the normalised expression in which cells are neighbours for the anchor of p, for the graph with
    ``graph_from="components"`` and in the input of p with ``cell_input="components"``."""
    anchor_refits: int = 2
    """Where labels are few, the anchors are refitted so often on all cells, each with the label it is believed to
    have."""
    few_labels: int = 50
    """Labels are few where there are on average no more than this many labelled cells a label."""
    very_few_labels: int = 2
    """Where there are on average no more than this many, the networks learn from unlabelled cells, too: up to 200 of
    each label, with the label that the anchor of p believes they have. 0: never."""

    labels_from: Literal["auto", "p", "genes"] = "auto"
    """Who labels the cells: p, or the machine on a cell's own genes, by its decisions alone. "auto" (ours): p, unless
    neighbours mislead, so that the labels of held-out cells cost more than twice as much by the machine that sees them.
    Where labels are few, and without an anchor, it is p."""

    # Gene-level GNN, q
    gene_width: int = 32
    """Width of gene and count embeddings (ours; every width the paper states is 32)."""
    width: int = 32
    """Width of each layer's output and of the hidden layer of every MLP, in both networks."""
    n_layers: int = 1
    """Self-attention layers (the paper: 1 for BaronMouse, 2 for its other data)."""
    n_heads: int = 4
    """Heads a layer, each of width `width / n_heads` (the paper: 4 for BaronMouse, 1 for its other data)."""
    read_out: Literal["value", "learned", "mean"] = "value"
    """Eq. 5: one learned weight a gene (started at the mean) or the mean over expressed genes; "value" (ours) weighs
    by the expression itself and by a learned vector a gene instead of a number."""
    scale_attention: bool = True
    """Divide attention logits by the root of the head width (ours; the paper does not). Where nothing but MLP_g sees what
    attention mixes, as in the paper, that changes the unit of W_g and not what the network can say."""
    residual: bool = True
    """Add each attention layer's input to its output where the widths agree (ours; the paper does not)."""
    layer_norm: bool = True
    """Layer norm after each attention layer (ours; the paper names none)."""
    batch_norm: bool = True
    """Batch norm and ReLU on h, and in place of the MLP in each layer of p (ours)."""
    dropout: float = 0.5
    """Dropout before both classifiers and, with batch norm, after each layer of p (ours; the paper names none)."""
    gene_dropout: float = 0.15
    """Share of each cell's expressed genes left out, drawn anew each epoch, while q trains (ours)."""

    # Cell-level GNN, p
    cell_input: Literal["components", "genes"] = "components"
    """z of Eq. 7: h and an MLP of the genes (the paper), or a linear layer with batch norm on components and on the
    decisions of both anchors (ours)."""
    mask_labels: float = 0.5
    """Share of the known labels that p is shown as input at a time; it learns from the others (ours; after UniMP,
    arXiv 2009.03509). 0 shows none, ever."""
    graph_from: Literal["components", "h"] = "components"
    """What cells are neighbours in: h (the paper), or components and the anchor's decisions side by side (ours)."""
    n_neighbors: int = 10
    """k of the learned kNN graph (the paper: about 5 suffices; the result is flat in k)."""
    symmetric_graph: bool = False
    """Let an edge run both ways (ours; the paper's D^-1 A form suggests a directed graph)."""
    balanced_graph: bool = False
    """Where batches are given, a cell has as many neighbours in each (ours; after BBKNN). A reference and a query always
    are two batches."""
    self_loops: bool = True
    """Count a cell among its own neighbours (ours; jumping knowledge carries the cell's own state already)."""
    n_cell_layers: int = 3
    """Mean-aggregation layers of Eq. 8."""

    # EM
    n_rounds: int = 0
    """Rounds of M- and E-step between pre-training and the final M-step (the paper: up to 3)."""
    pseudo_labels: Literal["soft", "sample", "hard"] = "soft"
    """Labels of unlabelled cells: drawn anew at each update (the paper), the exact expectation, or the mode."""
    confidence_power: float = 2.0
    """An unlabelled cell counts by its largest probability to this power (ours; the paper: all count alike, 0)."""
    label_smoothing: float = 0.05
    """Share of every training label that is spread evenly over all labels (ours)."""
    pool_size: int | None = 50_000
    """Most labelled cells that an epoch or an M-step learns from, and most unlabelled ones that a step of EM does, drawn
    anew each time; they stand for all (ours). The M-step's graph then runs among those drawn; p labels every cell on
    the whole graph. None: all, always."""
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
    decoupled_weight_decay: bool = True
    """Weight decay as in AdamW instead of an L2 penalty in Adam."""
    gene_learning_rate: float = 3e-3
    """Peak rate of Adam for q in pre-training."""
    e_step_learning_rate: float = 1.5e-3
    """Peak rate of Adam for q in an E-step, which starts from weights that are good already."""
    gene_weight_decay: float = 1e-2
    """Weight decay of q."""
    cell_learning_rate: float = 1e-2
    """Peak rate of Adam for p, on the full graph."""
    cell_weight_decay: float = 1e-2
    """Weight decay of p."""
    pretrain_epochs: int = 6
    """Most epochs of pre-training q on labelled cells, unless `pretrain_updates` asks for more."""
    pretrain_updates: int = 100
    """Epochs are added to pre-training until it has so many updates: few cells make short epochs."""
    e_step_epochs: int = 3
    """Most epochs of q in one E-step, unless `e_step_updates` asks for more."""
    e_step_updates: int = 50
    """Epochs are added to an E-step until it has so many updates."""
    m_step_updates: int = 100
    """Most full-graph updates of p in one M-step."""
    patience: float = 0.4
    """Share of a stage's epochs without a better validation loss after which the stage stops."""
    batch_size: int = 64
    """Labelled cells in a batch of q; an E-step adds as many unlabelled ones."""
    validation_fraction: float = 0.0
    """Share of the labelled cells, stratified, kept out of training for early stopping only. With 0 every stage runs
    to its end."""

    # Trust (ours)
    cross_fit_folds: int = 3
    """Labelled cells are dealt to so many folds, and each fold loses its labels in turn, to see how sure p may be of a
    cell that it has no label of; probabilities are then calibrated. 0: they stay as they are."""
    cross_fit_batches: bool = True
    """Where labelled cells come from several batches, and those to label from others, a fold consists of batches: all is
    learned anew without its labels, to see how sure p may be of a cell of a batch that it has no label of."""

    # Gene importance
    min_count: int = 10
    """Gene pairs expressed together in fewer cells are left out of the averaged attention (ours)."""

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """The published method with its BaronMouse settings; `changes` replace fields.

        The paper runs its other data with ``Config.paper(n_layers=2, n_heads=1)``, and Zheng68K and Zhengsorted also
        with ``read_out="mean"``.
        """
        return cls(**(_PAPER | changes))

    @property
    def has_components(self) -> bool:
        """Whether linear methods look at the cells first, in principal components; see `Evidence`."""
        return self.anchor or "components" in {self.cell_input, self.graph_from}

    def __post_init__(self) -> None:
        for name in _COUNTS:
            self._require(name, is_count(getattr(self, name), 1), "an integer >= 1")
        for name in ("n_layers", "n_rounds", "min_count", "anchor_refits", "few_labels", "very_few_labels"):
            self._require(name, is_count(getattr(self, name), 0), "an integer >= 0")
        folds = self.cross_fit_folds
        self._require("cross_fit_folds", is_count(folds, 0) and folds != 1, "0 or an integer >= 2")
        self._require(
            "target_sum", self.target_sum is None or _is_positive(self.target_sum), "None or a number above 0"
        )
        pool = self.pool_size
        self._require("pool_size", pool is None or is_count(pool, 2), "None or an integer >= 2")
        for name in ("gene_learning_rate", "e_step_learning_rate", "cell_learning_rate", "patience"):
            self._require(name, _is_positive(getattr(self, name)), "a number above 0")
        for name in ("beta", "gene_weight_decay", "cell_weight_decay", "confidence_power"):
            self._require(name, is_number(getattr(self, name)) and getattr(self, name) >= 0, "a number of at least 0")
        for name in ("dropout", "gene_dropout", "validation_fraction", "mask_labels", "label_smoothing"):
            self._require(
                name, is_number(getattr(self, name)) and 0 <= getattr(self, name) < 1, "a number within [0, 1)"
            )
        for name in (field.name for field in dataclasses.fields(self) if field.type == "bool"):
            self._require(name, isinstance(getattr(self, name), (bool, np.bool_)), "True or False")
        for name, choices in _CHOICES.items():
            self._require(name, getattr(self, name) in choices, " or ".join(repr(choice) for choice in choices))
        self._require(
            "final_m_step", self.final_m_step or self.n_rounds > 0, "True where n_rounds=0: p needs an M-step"
        )
        self._require("labels_from", self.anchor or self.labels_from != "genes", "'auto' or 'p' with anchor=False")
        smallest = (
            3 if self.batch_norm else 1
        )  # an epoch's batches may be smaller by a half, and one cell has no variance
        self._require("batch_size", self.batch_size >= smallest, f"an integer >= {smallest} with batch_norm=True")
        self._require("n_heads", self.width % self.n_heads == 0, f"a divisor of width={self.width}")

    def _require(self, name: str, holds: bool, wanted: str) -> None:  # noqa: FBT001
        if not holds:
            msg = f"Config: {name}={getattr(self, name)!r} must be {wanted}."
            raise ValueError(msg)

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, ready for JSON."""
        return fields_for_json(self)


def _is_positive(value: object) -> bool:
    return is_number(value) and value > 0


_COUNTS = (
    "n_top_genes",
    "gene_width",
    "width",
    "n_components",
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
    "labels_from": ("auto", "p", "genes"),
    "gene_panel": ("labels", "variance"),
    "top_genes_from": ("all", "labeled"),
    "read_out": ("value", "learned", "mean"),
    "cell_input": ("components", "genes"),
    "graph_from": ("components", "h"),
    "pseudo_labels": ("soft", "sample", "hard"),
    "e_step_weights": ("sums", "batches"),
}
#: The published method, with its BaronMouse settings; what it leaves open was chosen on validation cells.
_PAPER = {
    "n_top_genes": 1000,
    "gene_panel": "variance",
    "target_sum": 1e6,
    "unit_rows": False,
    "anchor": False,
    "anchor_refits": 0,
    "read_out": "learned",
    "residual": False,
    "layer_norm": False,
    "batch_norm": False,
    "dropout": 0.0,
    "gene_dropout": 0.5,
    "cell_input": "genes",
    "mask_labels": 0.0,
    "graph_from": "h",
    "n_neighbors": 5,
    "self_loops": False,
    "n_rounds": 3,
    "pseudo_labels": "sample",
    "confidence_power": 0.0,
    "label_smoothing": 0.0,
    "decoupled_weight_decay": False,
    "gene_learning_rate": 1e-2,
    "e_step_learning_rate": 3e-3,
    "gene_weight_decay": 1e-5,
    "cell_learning_rate": 3e-3,
    "pretrain_epochs": 40,
    "pretrain_updates": 600,
    "e_step_epochs": 8,
    "e_step_updates": 100,
    "m_step_updates": 200,
    "patience": 1.0,
    "batch_size": 32,
    "validation_fraction": 0.1,
    "cross_fit_folds": 0,
}
