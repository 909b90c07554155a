"""Which given labels are wrong: what cross-fitted machines say of labelled cells, corrected for the rate of noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.special import expit, log_softmax

_FLOOR = 1e-9
#: Of log p beside the logarithm of squared distances, where there are distances.
_PROBABILITY_WEIGHT = 0.5
#: Where the search for temperature and noise rate starts, and its bounds; both on the log or logit scale.
_START, _BOUNDS = (0.0, -3.0), ((-3.0, 3.0), (-12.0, 0.0))
#: Right and wrong labels seen before any cell: with few cells the rate stays near one in a hundred.
_PRIOR_RIGHT, _PRIOR_WRONG = 9.9, 0.1


@dataclass(frozen=True)
class Audit:
    """N labelled cells under suspicion."""

    wrong: np.ndarray
    """(N,) float32, probability that the given label is wrong."""
    suggested: np.ndarray
    """(N,) int64, the most probable label other than the given one."""
    noise_rate: float
    """Estimated share of wrong labels."""
    temperature: float
    """By which the evidence was divided."""


def audit_labels(p: np.ndarray, y: np.ndarray, distances: np.ndarray | None = None) -> Audit:
    """The probability that each given label is wrong.

    Let pi be the softmax of log p / T, or with squared distances d of (log p / 2 - log d) / T. A given label is taken
    to be the true one with probability 1 - e, and any of the C - 1 others alike with e. T and e maximise the
    likelihood of the given labels y, and by Bayes' rule

        P(wrong | y) = e (1 - pi_y) / (C - 1) / ((1 - e) pi_y + e (1 - pi_y) / (C - 1)) .

    The cells are then put in the order of pi_y at T = 1, which finds planted errors better, and get these probabilities
    in that order. A cell between two types that look alike is hardly suspected for that: a wrong label is rarer than a
    hard cell.

    Parameters
    ----------
    p
        Probabilities by networks or machines that did not see the cell's label, shape (N, C).
    y
        Given label codes, shape (N,).
    distances
        Squared distances to the labels without the cell, as :meth:`LabelShapes.distances` gives them, shape (N, C).

    Raises
    ------
    ValueError
        Shapes do not fit, there are fewer than two labels or no cells, or `y` is not a column of `p`.
    """
    if p.ndim != 2 or p.shape[1] < 2 or y.shape != p.shape[:1] or not len(y):
        msg = f"p has shape {p.shape} and y {y.shape}. Pass probabilities (N, C) of N >= 1 cells and C >= 2 labels."
        raise ValueError(msg)
    if y.min() < 0 or y.max() >= p.shape[1]:
        msg = f"y holds codes from {y.min()} to {y.max()}, but p has {p.shape[1]} columns. Pass labelled cells only."
        raise ValueError(msg)
    if distances is not None and distances.shape != p.shape:
        msg = f"distances have shape {distances.shape} but p has {p.shape}. Pass one distance for each probability."
        raise ValueError(msg)
    evidence = np.log(np.maximum(p, _FLOOR, dtype=np.float64))
    if distances is not None:
        evidence = _PROBABILITY_WEIGHT * evidence - np.log(np.clip(distances, _FLOOR, 1 / _FLOOR))
    rows, n_others = np.arange(len(y)), p.shape[1] - 1

    def log_pi(temperature: float) -> np.ndarray:
        return log_softmax(evidence / temperature, axis=1)[rows, y]

    def parts(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The joint probabilities of the given label with being right and with being wrong."""
        pi = np.exp(log_pi(np.exp(theta[0])))
        return (1 - expit(theta[1])) * pi, expit(theta[1]) * (1 - pi) / n_others

    def loss(theta: np.ndarray) -> float:
        right, wrong = parts(theta)
        prior = _PRIOR_RIGHT * np.log(expit(-theta[1])) + _PRIOR_WRONG * np.log(expit(theta[1]))
        return -(np.log(np.maximum(right + wrong, 1e-300)).sum() + prior) / len(y)

    theta = minimize(loss, _START, method="L-BFGS-B", bounds=_BOUNDS).x
    right, wrong = parts(theta)
    wrong /= np.maximum(right + wrong, 1e-300)
    ordered = np.empty(len(y), dtype=np.float32)
    ordered[np.argsort(log_pi(1.0), kind="stable")] = np.sort(wrong)[::-1]
    others = evidence.copy()
    others[rows, y] = -np.inf
    return Audit(
        wrong=ordered,
        suggested=others.argmax(1),
        noise_rate=float(expit(theta[1])),
        temperature=float(np.exp(theta[0])),
    )


def audit_table(audit: Audit, y: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """The audit by given label.

    Parameters
    ----------
    audit
        Of N cells.
    y
        Their given label codes, shape (N,).
    names
        Labels, in the order of the codes.

    Returns
    -------
    DataFrame
        A row a label, in the order of `names`: `label`; `n_cells` that carry it; `expected_wrong`, how many of them are
        expected to be wrong; `suggested_instead`, the label that gathers most of this suspicion ("" without cells).
    """
    n_labels = len(names)
    suspicion = np.zeros((n_labels, n_labels))
    np.add.at(suspicion, (y, audit.suggested), audit.wrong)
    n_cells = np.bincount(y, minlength=n_labels)
    instead = [names[code] if n else "" for code, n in zip(suspicion.argmax(1), n_cells, strict=True)]
    return pd.DataFrame(
        {
            "label": list(names),
            "n_cells": n_cells,
            "expected_wrong": suspicion.sum(1),
            "suggested_instead": instead,
        }
    )
