"""What p would have said of each labelled cell, had it not known the cell's label."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from .._checkpoints import NOTHING, Checkpoints
from .._expression import Rows
from .._ranks import ALONE, Ranks
from .._training import progress_bar
from ..graph import Engine
from ._config import Config
from ._draws import deal_folds
from ._em import Fit, GeneLevel
from ._evidence import Evidence, for_folds, gather_evidence, n_refits, products_of
from ._fit import fit
from ._guard import machine_probabilities


def cross_fit(
    x: sp.csr_matrix,
    y: np.ndarray,
    n_labels: int,
    config: Config,
    *,
    device: torch.device,
    engine: Engine,
    seed: int,
    evidence: Evidence | None,
    transformer: Any = None,
    expression: sp.csr_matrix | Rows,
    found: Fit,
    batches: np.ndarray | None = None,
    kept: Checkpoints = NOTHING,
    ranks: Ranks = ALONE,
) -> np.ndarray:
    """Cross-fitted p: labelled cells are dealt to folds, and each fold in turn loses its labels while p trains.

    Where p sees no more of q than pseudo-labels, q is not trained again, and what it believes of the fold does not
    count; else the whole of EM runs again for each fold. The evidence is gathered again only where labels are few: the
    anchors then rest on believed labels, and those on the fold's. Elsewhere decisions about labelled cells are out of
    fold as they are.

    A fold's labels are not gone without a trace: they had a part in the choice of genes and of s, and, where q is not
    trained again, in what it believes of other cells.

    Parameters
    ----------
    x, y, n_labels, config, device, engine, seed, evidence, transformer, batches, ranks
        As in :func:`scbignn.annotation.fit`.
    expression
        Normalised expression of all genes, shape (N, M), from which evidence is gathered.
    found
        What that gave. It stays as it is.
    kept
        What keeps the finished folds.

    Returns
    -------
    Float32, shape (N, C): NaN for unlabelled cells, and for a label's only cell, whose label cannot be spared. Nothing
    is calibrated yet.
    """
    config = for_folds(config, y, n_labels)
    p = np.full((len(y), n_labels), np.nan, dtype=np.float32)
    labelled = np.flatnonzero(y >= 0)
    fold = deal_folds(y[labelled], config.cross_fit_folds, np.random.default_rng(seed))
    p_sees_h = config.cell_input == "genes" or config.graph_from == "h"
    gathering = {"device": device, "seed": seed, "transformer": transformer, "batches": batches}
    where = gathering | {"engine": engine, "ranks": ranks}
    believes = evidence is not None and n_refits(config, y, n_labels) > 0
    if believes:
        gathering |= {"before": evidence, "products": products_of(expression, y, n_labels, config)}

    def without(cells: np.ndarray, checkpoint: Path | None) -> dict[str, np.ndarray]:
        shown = y.copy()
        shown[cells] = -1
        seen, neighbors = evidence, found.neighbors
        if believes:
            seen, neighbors = gather_evidence(expression, shown, n_labels, config, **gathering), None
        if config.labels_from == "genes":
            return {"p": machine_probabilities(seen.gene_decisions[cells])}
        if p_sees_h or config.n_rounds:
            how = {"checkpoint": checkpoint, "fingerprint": kept.fingerprint}
        else:
            how = {"gene_level": GeneLevel(found.gene_gnn, found.h, found.q, neighbors), "silent": cells}
        return {"p": fit(x, shown, n_labels, config, **where, **how, evidence=seen).p[cells]}

    numbers = np.unique(fold[fold >= 0])
    with progress_bar(len(numbers), unit="fold", name="cross-fitting", shown=ranks.is_first) as bar:
        for number in numbers:
            cells, name = labelled[fold == number], f"fold-{number}"
            p[cells] = kept.arrays(name, partial(without, cells, kept.file(f"{name}-em")))["p"]
            bar.update()
    return p
