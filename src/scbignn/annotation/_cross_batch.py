"""What p would have said of each labelled cell, had no cell of its batch been labelled."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

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
from ._evidence import Evidence, for_folds, gather_evidence, products_of
from ._fit import fit
from ._guard import machine_probabilities


class ByBatch(NamedTuple):
    """What was said of N cells, C labels, without the labels of their batch."""

    p: np.ndarray
    """(N, C) float32; NaN for unlabelled cells, and for a label's only cell."""
    cell_decisions: np.ndarray | None
    """(N, C) float32, of machines on a cell and the mean of its neighbours; None where the config has none."""
    fold: np.ndarray
    """(N,) int64, which cells lost their labels together; -1 for those that kept them, or have none."""
    batches: np.ndarray
    """(N,) int64, codes."""


def cross_fit_batches(
    x: sp.csr_matrix,
    y: np.ndarray,
    n_labels: int,
    config: Config,
    batches: np.ndarray,
    *,
    device: torch.device,
    engine: Engine,
    seed: int,
    evidence: Evidence | None,
    transformer: Any = None,
    expression: sp.csr_matrix | Rows,
    kept: Checkpoints = NOTHING,
    ranks: Ranks = ALONE,
) -> ByBatch:
    """Cross-fitted p, batch by batch: the labels of each fold of batches in turn are hidden, and all is learned anew.

    Confidence within a batch is no guide to another one, so nothing that saw a label of the batch may speak of it: anchors
    and both networks are trained again, in contrast to :func:`scbignn.annotation.cross_fit`. Its cells stay in sight, as
    those of a new batch would be. Only the choice of genes and of s knew the labels.

    Parameters
    ----------
    x, y, n_labels, config, device, engine, seed, evidence, transformer, ranks
        As in :func:`scbignn.annotation.fit`.
    batches
        Codes, shape (N,).
    expression
        Normalised expression of all genes, shape (N, M), from which evidence is gathered.
    kept
        What keeps the finished folds.
    """
    config = for_folds(config, y, n_labels)
    fold = deal_batches(y, batches, config.cross_fit_folds, np.random.default_rng(seed))
    p = np.full((len(y), n_labels), np.nan, dtype=np.float32)
    decisions = p.copy() if config.has_components else None
    where = {"device": device, "seed": seed, "transformer": transformer, "batches": batches}
    gathering = where | {"before": evidence, "products": products_of(expression, y, n_labels, config)}

    def without(cells: np.ndarray, name: str) -> dict[str, np.ndarray]:
        shown, seen = y.copy(), None
        shown[cells] = -1
        if config.has_components:
            gathered = kept.arrays(
                f"{name}-evidence", lambda: gather_evidence(expression, shown, n_labels, config, **gathering).arrays()
            )
            seen = Evidence.of(gathered)
        if config.labels_from == "genes":
            p = machine_probabilities(seen.gene_decisions)
        else:
            keeping = {"checkpoint": kept.file(f"{name}-em"), "fingerprint": kept.fingerprint, "ranks": ranks}
            p = fit(x, shown, n_labels, config, engine=engine, evidence=seen, **where, **keeping).p
        return {"p": p[cells]} | ({} if seen is None else {"decisions": seen.cell_decisions[cells]})

    numbers = np.unique(fold[fold >= 0])
    with progress_bar(len(numbers), unit="fold", name="cross-fitting of batches", shown=ranks.is_first) as bar:
        for number in numbers:
            cells, name = np.flatnonzero(fold == number), f"fold-{number}"
            told = kept.arrays(name, partial(without, cells, name))
            p[cells] = told["p"]
            if decisions is not None:
                decisions[cells] = told["decisions"]
            bar.update()
    return ByBatch(p, decisions, fold, batches)


def can_cross_fit_batches(y: np.ndarray, config: Config, batches: np.ndarray | None) -> bool:
    """Whether the config wants it, and labelled cells come from several batches."""
    return config.cross_fit_batches and batches is not None and len(np.unique(batches[y >= 0])) > 1


def deal_batches(y: np.ndarray, batches: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """A fold for each labelled cell: batches are dealt to at most `n_folds` folds, the largest first, to the smallest.

    The cells of a label that one fold alone has cannot all be spared: they are shuffled and dealt to the folds in turn.
    A label's only cell has fold -1, as have unlabelled cells.

    Parameters
    ----------
    y
        Label codes, shape (N,); -1 where unlabelled.
    batches
        Batch codes, shape (N,).
    n_folds
        At least 2.
    rng
        Shuffles.

    Returns
    -------
    int64, shape (N,).
    """
    known = y >= 0
    names, n_cells = np.unique(batches[known], return_counts=True)
    total, home = np.zeros(min(n_folds, len(names)), dtype=np.int64), np.zeros(len(names), dtype=np.int64)
    for batch in np.argsort(-n_cells, kind="stable"):
        home[batch] = total.argmin()
        total[home[batch]] += n_cells[batch]
    fold = np.full(len(y), -1)
    fold[known] = home[np.searchsorted(names, batches[known])]
    alone = [label for label in np.unique(y[known]) if len(np.unique(fold[y == label])) == 1]
    lone = np.flatnonzero(np.isin(y, alone) & known)
    fold[lone] = deal_folds(y[lone], len(total), rng)
    return fold
