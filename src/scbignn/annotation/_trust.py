"""How far an answer may be trusted: calibrated probabilities, and cells that are like no label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..graph import Neighbors
from ._calibration import Calibration, calibrate
from ._evidence import Evidence
from ._rejection import LabelShapes, Thresholds, label_shapes, novelty_score, rejection_thresholds


@dataclass(frozen=True)
class Trust:
    """What labelled cells say of answers about others: C labels, L labelled cells."""

    calibration: Calibration
    shapes: LabelShapes | None
    """Where labelled cells lie; None where the config has no components."""
    novelty: np.ndarray | None
    """(L,) float32, scores of labelled cells as if they had no label."""
    predicted: np.ndarray
    """(L,) int64, the labels that cross-fitted p gives them."""

    def thresholds(self, false_rejection_rate: float | Literal["auto"]) -> Thresholds:
        """From where on a cell is rejected.

        Raises
        ------
        ValueError
            The config has no components, so nothing tells which cells are strange; or the rate is not within (0, 1).
        """
        if self.novelty is None:
            msg = "this config has no components to tell strange cells by. Use reject=None, or Config(anchor=True)."
            raise ValueError(msg)
        n_labels = len(self.shapes.n_cells)
        return rejection_thresholds(
            self.novelty, self.predicted, n_labels, false_rejection_rate=false_rejection_rate
        )


def trust_of(
    cross_fitted: np.ndarray,
    y: np.ndarray,
    evidence: Evidence | None,
    *,
    neighbors: Neighbors | None = None,
    seed: int,
) -> tuple[Trust, np.ndarray | None]:
    """Calibrate, and score how strange each cell is.

    Parameters
    ----------
    cross_fitted
        What :func:`scbignn.annotation.cross_fit` gave, (N, C).
    y
        Label codes, (N,); -1 where unlabelled.
    evidence
        Of these cells; without it no cell is scored.
    neighbors
        The graph, where unlabelled cells are among the N: novel cells come in company. Directions of the components
        then tell them apart better than the components.
    seed
        Deals cells to the folds of the calibration.

    Returns
    -------
    Trust, and the scores of all N cells, float32, or None.
    """
    known = np.flatnonzero(np.isfinite(cross_fitted).all(1))
    calibration = calibrate(cross_fitted[known], y[known], seed=seed)
    predicted = cross_fitted[known].argmax(1)
    if evidence is None:
        return Trust(calibration, None, None, predicted), None
    points = evidence.components
    if neighbors is not None:
        points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    shapes = label_shapes(points, y, cross_fitted.shape[1])
    score = novelty_score(shapes.distances(points, y), evidence.cell_decisions, neighbors)
    return Trust(calibration, shapes, score[known], predicted), score
