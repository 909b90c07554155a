"""Every choice of the method that is not forced by its equations."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .._fields import fields_for_json, is_count, is_number


@dataclass(frozen=True)
class Config:
    """Settings of clustering by anchors (BGFormer, arXiv 2602.07475).

    The default is what `scbignn.tl.cluster` runs: the cell-anchor bipartite graph and its spectrum, no network.
    :meth:`paper` is the published network with the faults of its release repaired. Fields that the paper knows nothing
    of are marked "ours"; what each part is worth is measured in the docs, Clustering.
    """

    # Input
    n_top_genes: int = 1500
    """Genes, those of highest dispersion among genes of like mean."""
    clip: float = 10.0
    """z-scores beyond this are cut."""
    n_components: int = 20
    """Principal components of the z-scores, in which cells are near an anchor or far (ours)."""
    max_fit_cells: int = 20_000
    """Components, anchors and centres are learned from so many cells, drawn at random; the others are only mapped
    (ours)."""

    # Cell-anchor graph (ours)
    n_anchors: int = 256
    """Anchors in a set, the centres of k-means; fewer where cells are few, with at least five cells an anchor."""
    n_anchor_sets: int = 5
    """Sets of anchors, each from a seed of its own, side by side."""
    n_nearest: int = 5
    """Anchors of each set that a cell is joined to."""
    n_partitions: int | None = None
    """Partitions, each from other anchors; a cell's cluster is that in which most of them put it. More of them depend
    less on the seed and on which cells are there, and take longer, up to `max_fit_cells`. None: twelve, but one with a
    network, which moves cells on, and where labels or pairs are known, which a majority would not keep to."""
    max_clusters: int = 30
    """Largest number of clusters that is tried where none is given."""

    # Stability (ours)
    n_resamples: int | None = None
    """Halves of the cells that are clustered anew, to see how well each cluster is found again. None: ten, and with a
    network none, since each would train anew."""

    # Network (BGFormer)
    network: bool = False
    """Train the network, and cluster in its embedding."""
    start: Literal["graph", "embedding"] = "graph"
    """Partition from which the centres start: that of the cell-anchor graph (ours), or k-means in the embedding (the
    paper)."""
    attention: bool = True
    """Let cells attend to anchor tokens. Without, there are no tokens, and none of their losses."""
    n_tokens: int | None = None
    """m, the anchor tokens (the release: 32 to 1024). None: eight a cluster, within 64 and 512."""
    width: int = 128
    """d, width of tokens and embedding (the paper: 512)."""
    n_heads: int = 4
    """Heads, each of width `width / n_heads`."""
    scale_attention: bool = True
    """Divide attention logits by the root of the head width (as the paper writes; its release does not)."""
    dropout: float = 0.1
    """In the attention block."""
    noise: float = 1.0
    """Standard deviation of the noise on z-scores that self-supervision removes."""
    commitment: Literal["vq", "joint"] = "vq"
    """Quantiser loss: ||sg(e) - c||^2 + 0.25 ||e - sg(c)||^2, or ||e - c||^2 with gradient to both (the release)."""
    reconstruction_weight: float = 1.0
    """Of the denoising ZINB loss (self-supervision)."""
    anchor_weight: float = 1.0
    """beta, of anchor reconstruction."""
    commitment_weight: float = 1.0
    """Of the quantiser loss (the paper: beta)."""
    clustering_weight: float = 0.0
    """alpha, of the clustering loss, after warm-up; 0 leaves it out, and training ends with the warm-up (in
    :meth:`paper`: 0.1; the release: 1e-4, from the start)."""

    # Training
    warm_up_epochs: int = 10
    """Epochs before the centres are set."""
    n_epochs: int = 30
    """Most epochs, warm-up among them."""
    tolerance: float = 1e-3
    """Stop when a smaller share of the cells changes its cluster in an epoch."""
    learning_rate: float = 1e-3
    """Of AdamW (the release: 1e-4 or 1e-5, by data set)."""
    weight_decay: float = 1e-2
    """Of AdamW."""
    batch_size: int = 256
    """Cells in a batch (the release: 1000)."""

    @classmethod
    def paper(cls, **changes: Any) -> Config:
        """The published network with its settings; `changes` replace fields.

        Faults of the release that are not among them: heads that mix cells, an epoch chosen by the truth, a clustering
        loss on a scale where it hardly acts, and centres from k-means on an untrained embedding.
        """
        return cls(**(_PAPER | changes))

    def __post_init__(self) -> None:
        for name in _COUNTS:
            self._require(name, is_count(getattr(self, name), 1), "an integer >= 1")
        self._require("n_top_genes", is_count(self.n_top_genes, 2), "an integer >= 2")
        tokens = self.n_tokens
        self._require("n_tokens", tokens is None or is_count(tokens, 2), "None or an integer >= 2")
        self._require("warm_up_epochs", is_count(self.warm_up_epochs, 0), "an integer >= 0")
        partitions, resamples = self.n_partitions, self.n_resamples
        self._require("n_partitions", partitions is None or is_count(partitions, 1), "None or an integer >= 1")
        self._require("n_resamples", resamples is None or is_count(resamples, 0), "None or an integer >= 0")
        self._require("max_clusters", is_count(self.max_clusters, 2), "an integer >= 2")
        self._require("batch_size", self.batch_size >= 2, "an integer >= 2: one cell has no variance")
        for name in ("clip", "learning_rate"):
            self._require(name, is_number(getattr(self, name)) and getattr(self, name) > 0, "a number above 0")
        for name in _WEIGHTS:
            self._require(name, is_number(getattr(self, name)) and getattr(self, name) >= 0, "a number of at least 0")
        for name in ("dropout", "tolerance"):
            self._require(
                name, is_number(getattr(self, name)) and 0 <= getattr(self, name) < 1, "a number within [0, 1)"
            )
        for name in (field.name for field in dataclasses.fields(self) if field.type == "bool"):
            self._require(name, isinstance(getattr(self, name), (bool, np.bool_)), "True or False")
        for name, choices in _CHOICES.items():
            self._require(name, getattr(self, name) in choices, " or ".join(repr(choice) for choice in choices))
        few = f"at most n_anchors={self.n_anchors}. Use more anchors, or Config(n_nearest={self.n_anchors})"
        self._require("n_nearest", self.n_nearest <= self.n_anchors, few)
        self._require("n_heads", self.width % self.n_heads == 0, f"a divisor of width={self.width}")
        self._require("n_resamples", not (self.network and resamples), "None or 0 with network=True")

    def _require(self, name: str, holds: bool, wanted: str) -> None:  # noqa: FBT001
        if not holds:
            msg = f"Config: {name}={getattr(self, name)!r} must be {wanted}."
            raise ValueError(msg)

    @property
    def partitions(self) -> int:
        """How many partitions vote where nothing is known beforehand."""
        return (1 if self.network else 12) if self.n_partitions is None else self.n_partitions

    @property
    def resamples(self) -> int:
        """How often half of the cells is clustered anew."""
        return (0 if self.network else 10) if self.n_resamples is None else self.n_resamples

    def to_dict(self) -> dict[str, Any]:
        """All fields by name, ready for JSON."""
        return fields_for_json(self)


_COUNTS = (
    "n_components",
    "max_fit_cells",
    "n_anchors",
    "n_anchor_sets",
    "n_nearest",
    "width",
    "n_heads",
    "n_epochs",
    "batch_size",
)
_WEIGHTS = (
    "noise",
    "reconstruction_weight",
    "anchor_weight",
    "commitment_weight",
    "clustering_weight",
    "weight_decay",
)
_CHOICES = {"start": ("graph", "embedding"), "commitment": ("vq", "joint")}
#: The published network; what it leaves open is as in the default.
_PAPER = {
    "network": True,
    "width": 512,
    "commitment": "joint",
    "clustering_weight": 0.1,
    "learning_rate": 1e-4,
    "batch_size": 1000,
}
