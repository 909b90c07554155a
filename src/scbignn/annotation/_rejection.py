"""How strange a cell is, and from where on it is "Unknown": a rejection with a promise.

The score asks two things: whether any label's cells lie near, and whether any linear machine says yes. Thresholds are
split-conformal: order statistics of the scores of labelled cells that were scored as if they had no label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..graph import Neighbors

#: The share of known cells that may be rejected where nothing is said.
FALSE_REJECTION_RATE = 0.05
#: Share of the mean variance that is added to each direction.
_RIDGE = 0.05
#: What a decision counts beside the logarithm of a squared distance.
_DECISION_WEIGHT = 0.5
#: What the difference between a label's means in two batches counts at most, in cells.
_MOST_PRECISE = 20.0
_TINY = 1e-12


@dataclass(frozen=True)
class LabelShapes:
    """Where the cells of C labels lie among F features: a mean each, and one spread within labels for all."""

    means: np.ndarray
    """(C, F) float64; NaN for a label without cells."""
    whitening: np.ndarray
    """(F, F) float64: W with W W^T the inverse of the covariance within labels."""
    n_cells: np.ndarray
    """(C,) int64, labelled cells."""

    def distances(self, points: np.ndarray, y: np.ndarray | None = None) -> np.ndarray:
        """Squared Mahalanobis distance of each cell to each label, float64, shape (N, C).

        A cell that the shapes were fitted on has a part in them. Where `y` has its label, its distances are those to
        the shapes without it, exactly but for the ridge: with n cells of the label and residual r = x - mean, the mean
        moves by r / (n - 1) and the scatter loses n / (n - 1) r r^T (Sherman and Morrison).

        Parameters
        ----------
        points
            Shape (N, F).
        y
            Label codes, shape (N,); -1 for cells that had no part. None: no cell had.

        Returns
        -------
        Infinite for a label without (other) cells.
        """
        white, means = points.astype(np.float64) @ self.whitening, self.means @ self.whitening
        distances = np.stack([((white - mean) ** 2).sum(1) for mean in means], axis=1)
        distances[:, self.n_cells == 0] = np.inf
        if y is None or not (y >= 0).any():
            return distances
        cells = np.flatnonzero(y >= 0)
        own = y[cells]
        n, total = self.n_cells[own], max(self.n_cells.sum() - 1, 1)
        grown = np.divide(n, n - 1, out=np.zeros(len(n)), where=n > 1)
        residual = white[cells] - means[own]
        lost = grown / total
        left = np.maximum(1 - lost * (residual**2).sum(1), _TINY)
        for label in np.flatnonzero(self.n_cells):
            to_label = white[cells] - means[label]
            to_label[own == label] *= grown[own == label, None]
            cross = (to_label * residual).sum(1)
            distances[cells, label] = (to_label**2).sum(1) + lost / left * cross**2
        alone = cells[n <= 1]
        distances[alone, y[alone]] = np.inf
        return distances

    def offset(self, points: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """By how much cells of another batch lie elsewhere, whatever their label; (N, F), (N,) -> (F,).

        The differences between the means of cells predicted to have a label and of labelled ones are averaged over
        labels, each with the precision of its difference, up to that of a few cells: a batch with other proportions of
        labels is not moved, and no common label decides alone.
        """
        n_labels = len(self.n_cells)
        n = np.bincount(predicted, minlength=n_labels)
        both = np.flatnonzero((n > 0) & (self.n_cells > 0))
        precision = np.minimum(1 / (1 / n[both] + 1 / self.n_cells[both]), _MOST_PRECISE)
        difference = np.stack([points[predicted == label].mean(0) - self.means[label] for label in both])
        return precision @ difference / precision.sum()


def label_shapes(points: np.ndarray, y: np.ndarray, n_labels: int) -> LabelShapes:
    """Means and common covariance of labelled cells.

    Parameters
    ----------
    points
        Features, shape (N, F), such as principal components. Of cells that were among those that the components were
        made from, rows of length 1 tell novel cells better; of new cells, rows as they are.
    y
        Label codes, shape (N,); -1 where unlabelled.
    n_labels
        C.

    Raises
    ------
    ValueError
        No cell is labelled.
    """
    known = y >= 0
    if not known.any():
        msg = "no cell has a label (y >= 0), so there is nothing to be near to. Label some cells."
        raise ValueError(msg)
    x, own = points[known].astype(np.float64), y[known]
    n_cells = np.bincount(own, minlength=n_labels)
    means = np.full((n_labels, x.shape[1]), np.nan)
    for label in np.flatnonzero(n_cells):
        means[label] = x[own == label].mean(0)
    residual = x - means[own]
    covariance = residual.T @ residual / max(len(x) - 1, 1)
    variance = np.trace(covariance) / len(covariance)
    covariance += np.eye(len(covariance)) * (_RIDGE * variance if variance > 0 else 1.0)
    return LabelShapes(means, np.linalg.cholesky(np.linalg.inv(covariance)), n_cells)


def novelty_score(distances: np.ndarray, decisions: np.ndarray, neighbors: Neighbors | None = None) -> np.ndarray:
    """How unlike every label a cell is: log of the smallest squared distance, less half the largest decision.

    With neighbours it is the mean over the cell and its neighbours, for novel cells come in company.

    Parameters
    ----------
    distances
        Squared distances to the labels, shape (N, C); of labelled cells without themselves.
    decisions
        One-against-rest decisions, shape (N, C); of labelled cells by machines that did not see them.
    neighbors
        A graph of all N cells, labelled or not. Leave it out where the neighbours of new cells would all be labelled
        ones: their company would hide them.

    Returns
    -------
    Float32, shape (N,).
    """
    score = np.log(np.maximum(distances.min(1), _TINY)) - _DECISION_WEIGHT * decisions.max(1)
    score = np.clip(score, -np.finfo(np.float32).max, np.finfo(np.float32).max)
    if neighbors is not None:
        score = (score + score[neighbors.indices].sum(1)) / (neighbors.indices.shape[1] + 1)
    return score.astype(np.float32)


@dataclass(frozen=True)
class Thresholds:
    """The largest score of each predicted label that is not rejected."""

    false_rejection_rate: float
    values: tuple[float, ...]
    """One a label; infinite where there are too few labelled cells to reject anything with this rate."""
    n_cells: tuple[int, ...]
    """Labelled cells predicted to have the label."""
    pooled: tuple[bool, ...]
    """Whether these were too few for a threshold of its own."""

    def reject(self, score: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Which cells are rejected, bool; scores and predicted codes of shape (N,)."""
        return score > np.asarray(self.values)[predicted]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; an infinite threshold is None."""
        values = [value if np.isfinite(value) else None for value in self.values]
        return {
            "false_rejection_rate": self.false_rejection_rate,
            "values": values,
            "n_cells": list(self.n_cells),
            "pooled": list(self.pooled),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Thresholds:
        """The inverse of :meth:`to_dict`."""
        values = tuple(float("inf") if value is None else float(value) for value in stored["values"])
        n_cells, pooled = tuple(map(int, stored["n_cells"])), tuple(map(bool, stored["pooled"]))
        return cls(float(stored["false_rejection_rate"]), values, n_cells, pooled)


def rejection_thresholds(
    score: np.ndarray, predicted: np.ndarray, n_labels: int, *, false_rejection_rate: float | Literal["auto"] = "auto"
) -> Thresholds:
    """Thresholds that reject at most the asked share of cells whose type is known.

    Of the n labelled cells that are predicted to have a label, the threshold is the score of rank
    ceil((n + 1) (1 - alpha)): a new cell of a known type, drawn as these were and predicted to have that label, lies
    above it with a probability of at most alpha (Mondrian split-conformal prediction). That needs n >= 1 / alpha - 1.
    Labels with fewer cells share one threshold, from all their cells together, or if these are still too few, from the
    cells of all labels.

    The promise is about cells like the labelled ones, and does not hold across batches: where one batch alone was
    labelled, most known cells of the other were rejected in our tests. Label cells of every batch.

    Parameters
    ----------
    score
        Of labelled cells, each scored as if it had no label, shape (N,).
    predicted
        Codes that these cells are predicted to have, not their labels, shape (N,).
    n_labels
        C.
    false_rejection_rate
        alpha, within (0, 1); "auto" is 0.05.

    Raises
    ------
    ValueError
        alpha is not within (0, 1), or a score is NaN.
    """
    alpha = FALSE_REJECTION_RATE if isinstance(false_rejection_rate, str) else false_rejection_rate
    if (isinstance(false_rejection_rate, str) and false_rejection_rate != "auto") or not 0 < alpha < 1:
        msg = (
            f'false_rejection_rate={false_rejection_rate!r} must be a number within (0, 1), or "auto" for '
            f"{FALSE_REJECTION_RATE}: the share of cells of known types that may be rejected."
        )
        raise ValueError(msg)
    if np.isnan(score).any():
        msg = f"{np.isnan(score).sum()} scores are NaN. Score cells from finite points and decisions."
        raise ValueError(msg)
    n_cells = np.bincount(predicted, minlength=n_labels)
    few = np.ceil((n_cells + 1) * (1 - alpha) - _TINY) > n_cells
    shared = _order_statistic(score[few[predicted]], alpha)
    if np.isinf(shared):
        shared = _order_statistic(score, alpha)
    values = [shared if few[label] else _order_statistic(score[predicted == label], alpha) for label in range(n_labels)]
    return Thresholds(float(alpha), tuple(values), tuple(n_cells.tolist()), tuple(few.tolist()))


def _order_statistic(score: np.ndarray, alpha: float) -> float:
    rank = int(np.ceil((len(score) + 1) * (1 - alpha) - _TINY))
    return float(np.sort(score)[rank - 1]) if rank <= len(score) else float("inf")
