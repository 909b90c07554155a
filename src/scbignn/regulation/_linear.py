"""Logistic regression as a correction of given log-odds, with a ridge penalty."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

_MAX_STEPS = 50
_TOLERANCE = 1e-6


def ridge_logistic(x: np.ndarray, y: np.ndarray, offset: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Weights w and intercept c of logit P = offset + c + x w, with penalty |w|^2 / 2; the intercept is free.

    Newton's method; an infinite penalty gives w = 0.

    Parameters
    ----------
    x
        (n, d) float64; its columns should vary on one scale.
    y, offset
        (n,).
    """
    d = x.shape[1]
    beta = np.zeros(d + 1)
    if np.isinf(penalty):
        return beta[:d], 0.0
    design = np.column_stack([x, np.ones(len(x))])
    ridge = np.append(np.full(d, penalty), 1e-6)

    def objective(beta: np.ndarray) -> float:
        logits = offset + design @ beta
        return float(y @ logits - np.logaddexp(0, logits).sum() - (ridge * beta) @ beta / 2)

    value = objective(beta)
    for _ in range(_MAX_STEPS):
        p = expit(offset + design @ beta)
        gradient = design.T @ (y - p) - ridge * beta
        hessian = (design * (p * (1 - p))[:, None]).T @ design
        hessian[np.diag_indices(d + 1)] += ridge
        step = np.linalg.solve(hessian, gradient)
        size, before = 1.0, value
        while (value := objective(beta + size * step)) < before - _TOLERANCE and size > 1e-4:
            size /= 2
        beta = beta + size * step
        if abs(value - before) < _TOLERANCE * max(1.0, abs(value)):
            break
    return beta[:d], float(beta[d])
