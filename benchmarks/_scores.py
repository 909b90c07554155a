"""Figures of merit of predicted labels."""

from __future__ import annotations

import numpy as np
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score


def scores(truth: np.ndarray, found: np.ndarray, probability: np.ndarray | None, n_labels: int) -> dict[str, object]:
    """Accuracy, balanced accuracy, macro-F1, F1 and support of each label, and ECE where there are probabilities.

    Macro-F1 is the mean over labels that occur in `truth`.
    """
    occurring = np.unique(truth)
    per_label = f1_score(truth, found, average=None, labels=range(n_labels), zero_division=0)
    recalls = [np.mean(found[truth == label] == label) for label in occurring]
    return {
        "accuracy": accuracy_score(truth, found),
        "balanced_accuracy": float(np.mean(recalls)),
        "macro_f1": float(per_label[occurring].mean()),
        "f1": per_label.tolist(),
        "support": np.bincount(truth, minlength=n_labels).tolist(),
        "ece": None if probability is None else calibration_error(truth, probability),
    }


def calibration_error(truth: np.ndarray, probability: np.ndarray, n_bins: int = 15) -> float:
    """Expected calibration error of the most probable label, in bins of equal numbers of cells."""
    confidence, right = probability.max(1), probability.argmax(1) == truth
    bins = np.array_split(np.argsort(confidence, kind="stable"), n_bins)
    return float(sum(abs(confidence[b].mean() - right[b].mean()) * len(b) for b in bins if len(b)) / len(truth))


def paired(ours: np.ndarray, theirs: np.ndarray, test_share: float = 0.25) -> tuple[float, float]:
    """Mean difference and two-sided p of the corrected resampled t-test (Nadeau and Bengio 2003).

    `test_share` is the ratio of test to training cells, by which differences over folds depend on one another.
    """
    difference = ours - theirs
    n = len(difference)
    variance = difference.var(ddof=1) if n > 1 else np.nan
    if not variance > 0:
        return float(difference.mean()), float("nan")
    t = difference.mean() / np.sqrt((1 / n + test_share) * variance)
    return float(difference.mean()), float(2 * stats.t.sf(abs(t), n - 1))


def interval(
    ours: np.ndarray, theirs: np.ndarray, test_share: float = 0.25, level: float = 0.95
) -> tuple[float, float]:
    """Confidence interval of the mean difference, by the same test; NaN of a single run."""
    difference = ours - theirs
    n = len(difference)
    if n < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf((1 + level) / 2, n - 1) * np.sqrt((1 / n + test_share) * difference.var(ddof=1))
    return float(difference.mean() - half), float(difference.mean() + half)
