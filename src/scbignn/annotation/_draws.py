"""Cells drawn, dealt and split label by label, so that every label has its share."""

from __future__ import annotations

import numpy as np

#: Of a label with so many cells or fewer, all are kept where cells are drawn.
_KEPT_OF_LABEL = 50


def draw_labelled(y: np.ndarray, n_cells: int, rng: np.random.Generator) -> np.ndarray:
    """About `n_cells` of the labelled cells, ascending: of each label the same share, but no fewer than 50 if it has them."""
    labelled = np.flatnonzero(y >= 0)
    share, drawn = min(1.0, n_cells / max(1, len(labelled))), []
    for label in np.unique(y[labelled]):
        cells = np.flatnonzero(y == label)
        drawn.append(rng.permutation(cells)[: max(_KEPT_OF_LABEL, round(share * len(cells)))])
    return np.sort(np.concatenate(drawn))


def most_drawn(n_cells: int, n_labels: int) -> int:
    """No more cells than these are drawn by :func:`draw_labelled`, whatever their labels."""
    return n_cells + _KEPT_OF_LABEL * n_labels


def deal_folds(y: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """A fold for each cell: the cells of a label, shuffled, are dealt to the folds in turn.

    A label's only cell has fold -1 and is never held out, so that every label is always trained on.
    """
    fold = np.full(len(y), -1)
    dealt = 0
    for label in np.unique(y):
        cells = rng.permutation(np.flatnonzero(y == label))
        if len(cells) > 1:
            fold[cells] = (dealt + np.arange(len(cells))) % n_folds
            dealt += len(cells)
    return fold


def validation_split(y: np.ndarray, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labelled cells to train on and to validate on: of each label the given share, rounded, never its last cell.

    Returns two sorted arrays of cell numbers; the second may be empty.
    """
    validation = [np.empty(0, dtype=np.int64)]
    for label in np.unique(y[y >= 0]):
        cells = np.flatnonzero(y == label)
        n_validation = min(round(fraction * len(cells)), len(cells) - 1)
        validation.append(rng.permutation(cells)[:n_validation])
    validation = np.sort(np.concatenate(validation))
    return np.setdiff1d(np.flatnonzero(y >= 0), validation), validation
