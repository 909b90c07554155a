"""The cells that a model was trained on, to which later ones are attached."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from ..graph import Neighbors


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
