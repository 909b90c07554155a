"""How far an answer may be trusted: calibrated probabilities, and cells that are like no label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from .._expression import product
from ._calibration import Calibration, calibrate
from ._draws import deal_folds
from ._evidence import DECOMPOSED_CELLS, n_refits, principal
from ._rejection import LabelShapes, Thresholds, label_shapes, novelty_score, rejection_thresholds

if TYPE_CHECKING:
    from ._annotate import Annotation

#: Folds of labelled cells that are scored as if they had come later, where cells are not so many that a tenth more or less
#: hardly matters.
_FOLDS = 10


@dataclass(frozen=True)
class Trust:
    """What labelled cells say of answers about others: C labels, L labelled cells that were cross-fitted."""

    calibration: Calibration
    shapes: LabelShapes | None
    """Where labelled cells lie: among components, or among their directions where answers are about the run's own cells;
    None where the config has no components."""
    novelty: np.ndarray | None
    """(L,) float32, scores of labelled cells as if they had no label."""
    predicted: np.ndarray
    """(L,) int64, the labels that cross-fitted p gives them."""
    novelty_together: np.ndarray | None = None
    """(L,) float32, the same where all cells of a batch were moved by what they have in common, as those of a query are
    that is looked at as a whole; None where cells were not cross-fitted batch by batch."""

    def score(self, components: np.ndarray, cell_decisions: np.ndarray) -> np.ndarray | None:
        """How strange cells are that were not in the run; None where the config has no components.

        Each by itself, and by distances among components as they are: for trust with ``of_its_own=False``.

        Parameters
        ----------
        components
            Their components, shape (n, F).
        cell_decisions
            Decisions of the machine on a cell and the mean of its neighbours, shape (n, C).

        Returns
        -------
        Float32, shape (n,).
        """
        if self.shapes is None:
            return None
        return novelty_score(self.shapes.distances(components), cell_decisions)

    def thresholds(self, false_rejection_rate: float | Literal["auto"], *, together: bool = False) -> Thresholds:
        """From where on a cell is rejected.

        Parameters
        ----------
        false_rejection_rate
            The share of cells of known types that may be, or "auto".
        together
            Whether scores are of cells moved by what they have in common.

        Raises
        ------
        ValueError
            The config has no components, so nothing tells which cells are strange; or the rate is neither a number
            within (0, 1) nor "auto".
        """
        if self.novelty is None:
            msg = "this config has no components to tell strange cells by. Use reject=None, or Config(anchor=True)."
            raise ValueError(msg)
        n_labels = len(self.shapes.n_cells)
        novelty = self.novelty_together if together and self.novelty_together is not None else self.novelty
        return rejection_thresholds(novelty, self.predicted, n_labels, false_rejection_rate=false_rejection_rate)


def trust_of(found: Annotation, *, of_its_own: bool, seed: int) -> tuple[Trust | None, np.ndarray | None]:
    """Calibrate, and score how strange each of the run's cells is.

    Parameters
    ----------
    found
        The run.
    of_its_own
        Whether answers are about unlabelled cells of the run itself. Strange ones among them come in company, so their
        neighbours count too, and directions of the components (rows of length 1) tell them apart better than the
        components do.
    seed
        Deals cells to the folds of the calibration.

    Returns
    -------
    Trust, or None where the run was not cross-fitted, or no label has two cells; and the scores of all N cells, float32,
    a labelled cell's as if it had no label, or None where there is no trust, or the config has no components.
    """
    y, evidence, cross_fitted = found.y, found.evidence, found.cross_fitted
    known = np.empty(0, dtype=np.int64)
    if cross_fitted is not None:
        known = np.flatnonzero(np.isfinite(cross_fitted).all(1))
    if not len(known):
        return None, None
    by_batch = found.by_batch
    of_batch = None if by_batch is None else by_batch.batches[known]
    calibration = calibrate(cross_fitted[known], y[known], of_batch, seed=seed)
    predicted = cross_fitted[known].argmax(1)
    if evidence is None:
        return Trust(calibration, None, None, predicted), None
    n_labels = cross_fitted.shape[1]
    if not of_its_own:
        shapes = label_shapes(evidence.components, y, n_labels)
        score, together = _as_new(found, seed)
        if by_batch is not None:
            together = together[known]
        return Trust(calibration, shapes, score[known], predicted, together), score
    points, neighbors = evidence.components, None
    if not n_refits(found.config, y, n_labels):
        points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
        neighbors = found.fit.neighbors
    shapes = label_shapes(points, y, n_labels)
    distances, decisions = shapes.distances(points, y), evidence.cell_decisions
    if by_batch is not None:
        distances, decisions = distances.copy(), decisions.copy()
        for cells, others in _folds(by_batch.fold, y):
            distances[cells] = label_shapes(points, others, n_labels).distances(points[cells])
            decisions[cells] = by_batch.cell_decisions[cells]
    score = novelty_score(distances, decisions, neighbors)
    return Trust(calibration, shapes, score[known], predicted), score


def _as_new(found: Annotation, seed: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Scores of labelled cells, each fold as if it had come later; (N,) float32, NaN for other cells.

    Components fit the cells that they were made from: cells that come later lie nearer to the middle of the trailing
    ones. So those of a fold are made from the other cells, of which there are nearly as many as in the run: from fewer, and
    all distances are smaller. Where folds are batches, a second score is of cells that were first moved by what those of
    their batch have in common.
    """
    evidence, y, n_labels, by_batch = found.evidence, found.y, found.cross_fitted.shape[1], found.by_batch
    if by_batch is None:
        labelled = np.flatnonzero(y >= 0)
        fold = np.full(len(y), -1)
        n_folds = max(found.config.cross_fit_folds, _FOLDS if len(y) <= DECOMPOSED_CELLS else 0)
        fold[labelled] = deal_folds(y[labelled], n_folds, np.random.default_rng(seed))
        decisions, together = evidence.cell_decisions, None
    else:
        fold, decisions, together = by_batch.fold, by_batch.cell_decisions, np.full(len(y), np.nan, dtype=np.float32)
    score = np.full(len(y), np.nan, dtype=np.float32)
    for cells, _ in _folds(fold, y):
        others = np.setdiff1d(np.arange(len(y)), cells)
        points, loadings, center = principal(found.expression, evidence.n_components, seed, others)
        shapes = label_shapes(points, y[others], n_labels)
        later = product(found.expression, cells, loadings) - center
        score[cells] = novelty_score(shapes.distances(later), decisions[cells])
        if by_batch is None:
            continue
        for batch in np.unique(by_batch.batches[cells]):
            own = by_batch.batches[cells] == batch
            moved = later[own] - shapes.offset(later[own], found.cross_fitted[cells[own]].argmax(1))
            together[cells[own]] = novelty_score(shapes.distances(moved), decisions[cells[own]])
    return score, together


def _folds(fold: np.ndarray, y: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The cells of each fold, and the labels without theirs."""
    for number in np.unique(fold[fold >= 0]):
        cells = np.flatnonzero(fold == number)
        others = y.copy()
        others[cells] = -1
        yield cells, others
