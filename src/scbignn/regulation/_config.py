"""Every choice of the method that is not forced by the task."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal, get_args

import numpy as np

from .._fields import fields_for_json, is_count, is_number

#: The parts that can be averaged.
MEMBERS = ("ridge", "slopes", "trees", "gnn")
#: Ways from vectors in cells to one a gene.
POOLINGS = ("attention", "mean", "learned")
Layer = Literal["sage", "gcn", "gat"]
LAYERS = get_args(Layer)


@dataclass(frozen=True)
class Config:
    """Settings of `scbignn.tl.infer_grn`.

    The default is what scored best: a degree baseline, and the mean of four corrections of it, among which hidden folds say
    what trees count. :meth:`paper` is the part of scTransNet (arXiv 2407.18181) that is built here: gene vectors, a graph
    neural network, a joint head.
    """

    # Input
    n_components: int = 24
    """Principal components that stand for a gene's expression, or for its given vector."""
    max_cells: int = 5000
    """Cells that correlations and components are computed from; of more, so many are drawn."""

    # Transformers that read genes cell by cell
    n_encoded_cells: int = 500
    """Cells that such an encoder reads; of more, so many are drawn."""
    pooling: Literal["attention", "mean", "learned"] = "attention"
    """How vectors of a gene in cells become one: `"attention"`, a weighted mean over the cells where the gene receives most
    attention; `"learned"`, over the same cells by weights that the graph neural network learns with the edges (other
    members take their plain mean); or the `"mean"` over all cells."""
    n_representative: int = 32
    """Cells a gene that attentive pooling keeps."""
    temperature: float = 1.0
    """Of its softmax, in units of the attention that a gene receives on average; small: the first cell decides."""

    # The transformer that is pre-trained on the cells themselves, with encoder="transformer"
    encoder_width: int = 32
    encoder_layers: int = 2
    encoder_heads: int = 4
    encoder_context: int = 128
    """Genes of a cell that it sees at a time while it trains, drawn anew each time."""
    hidden_share: float = 0.15
    """Share of these whose expression is hidden, to be told from the others."""
    encoder_epochs: int = 20
    """Passes over the cells, 16 at a time; of fewer than some hundred cells it learns little without more."""
    encoder_learning_rate: float = 5e-3

    # What is averaged
    members: tuple[str, ...] = MEMBERS
    """Any of `"ridge"`, logistic regression on features of the network and of expression; `"slopes"`, a correction of that
    for each TF by components; `"trees"`, boosted trees on the features of `"ridge"`; `"gnn"`. Where TFs are held out,
    `"ridge"` alone is used: the others make scores worse there."""
    offset: bool = True
    """Correct the degree baseline; without it, start from the share of edges."""

    # Folds
    n_folds: int = 4
    """Parts that are hidden in turn and scored by what the others teach; with ``split="both"``, of TFs and of genes."""
    n_inner_folds: int = 5
    """Parts of the training pairs, by which penalties are chosen and features of training pairs computed."""

    n_repeats: int = 1
    """Runs with folds, seeds and a bootstrap of the cells of their own; from 2 on, scores have a standard deviation."""

    # Linear members
    penalties: tuple[float, ...] = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0, math.inf)
    """Ridge penalties to choose among by average precision; infinity leaves the degree baseline as it is."""

    # Boosted trees
    n_trees: int = 100
    tree_learning_rate: float = 0.06
    max_leaves: int = 15
    min_leaf: int = 40
    """Pairs in a leaf, at least."""

    # Graph neural network
    layer: Layer = "sage"
    """Layers over the shown edges: `"sage"` (GraphSAGE), `"gcn"` or `"gat"`."""
    n_heads: int = 4
    """Of `"gat"`."""
    width: int = 32
    n_layers: int = 2
    dropout: float = 0.4
    n_epochs: int = 40
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """Gene vectors and a graph neural network with a joint head, from nothing; `changes` replace fields."""
        return cls(**({"members": ("gnn",), "offset": False, "n_epochs": 100} | changes))

    def __post_init__(self) -> None:
        for name in (
            "n_heads",
            "n_encoded_cells",
            "n_representative",
            "encoder_layers",
            "encoder_heads",
            "encoder_epochs",
        ):
            self._require(name, is_count(getattr(self, name), 1), "an integer >= 1")
        self._require("layer", self.layer in LAYERS, f"one of {', '.join(map(repr, LAYERS))}")
        self._require(
            "width",
            self.layer != "gat" or self.width % self.n_heads == 0,
            f"a multiple of n_heads, {self.n_heads}",
        )
        self._require("pooling", self.pooling in POOLINGS, f"one of {', '.join(map(repr, POOLINGS))}")
        for name in ("n_components", "max_cells", "n_trees", "min_leaf", "n_layers", "n_epochs", "n_repeats"):
            self._require(name, is_count(getattr(self, name), 1), "an integer >= 1")
        for name in ("n_folds", "n_inner_folds", "max_leaves", "width", "encoder_width", "encoder_context"):
            self._require(name, is_count(getattr(self, name), 2), "an integer >= 2")
        for name in ("learning_rate", "tree_learning_rate", "encoder_learning_rate", "temperature"):
            self._require(name, is_number(getattr(self, name)) and getattr(self, name) > 0, "a number above 0")
        self._require("weight_decay", is_number(self.weight_decay) and self.weight_decay >= 0, "a number of at least 0")
        self._require("dropout", is_number(self.dropout) and 0 <= self.dropout < 1, "a number within [0, 1)")
        self._require(
            "hidden_share", is_number(self.hidden_share) and 0 < self.hidden_share < 1, "a number within (0, 1)"
        )
        self._require(
            "encoder_width",
            self.encoder_width % self.encoder_heads == 0,
            f"a multiple of encoder_heads, {self.encoder_heads}",
        )
        self._require("offset", isinstance(self.offset, (bool, np.bool_)), "True or False")
        members = self.members
        self._require(
            "members",
            isinstance(members, tuple) and len(members) > 0 and all(member in MEMBERS for member in members),
            f"a tuple of some of {', '.join(map(repr, MEMBERS))}",
        )
        penalties = self.penalties
        self._require(
            "penalties",
            isinstance(penalties, tuple)
            and len(penalties) > 0
            and all(isinstance(p, Real) and not isinstance(p, bool) and p > 0 for p in penalties),
            "a tuple of numbers above 0",
        )

    def _require(self, name: str, holds: bool, wanted: str) -> None:  # noqa: FBT001
        if not holds:
            msg = f"Config: {name}={getattr(self, name)!r} must be {wanted}."
            raise ValueError(msg)

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, ready for files."""
        return fields_for_json(self)
