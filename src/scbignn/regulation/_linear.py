"""Logistic regressions as corrections of given log-odds, with a ridge penalty."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

_MAX_STEPS = 50
_TOLERANCE = 1e-6
#: Of the intercept, so that it is finite where all y are the same.
_LEAST_PENALTY = 1e-6


def ridge_logistic(
    x: np.ndarray,
    y: np.ndarray,
    offset: np.ndarray,
    penalty: float,
    start: tuple[np.ndarray, float] | None = None,
) -> tuple[np.ndarray, float]:
    """Weights w and intercept c of logit P = offset + c + x w, with penalty |w|^2 / 2; the intercept is free.

    Newton's method; an infinite penalty gives w = 0.

    Parameters
    ----------
    x
        (n, d) float64; its columns should vary on one scale.
    y, offset
        (n,).
    start
        w and c to start from, such as those of another penalty: there is one optimum, and it is found sooner.
    """
    d = x.shape[1]
    beta = np.zeros(d + 1) if start is None else np.append(*start)
    if np.isinf(penalty):
        return np.zeros(d), 0.0
    design = np.column_stack([x, np.ones(len(x))])
    ridge = np.append(np.full(d, penalty), _LEAST_PENALTY)

    def at(beta: np.ndarray) -> tuple[np.ndarray, float]:
        logits = offset + design @ beta
        return logits, float(y @ logits - np.logaddexp(0, logits).sum() - (ridge * beta) @ beta / 2)

    logits, value = at(beta)
    for _ in range(_MAX_STEPS):
        p = expit(logits)
        gradient = (y - p) @ design - ridge * beta
        hessian = (design * (p * (1 - p))[:, None]).T @ design
        hessian[np.diag_indices(d + 1)] += ridge
        step = np.linalg.solve(hessian, gradient)
        size, before = 1.0, value
        while (found := at(beta + size * step))[1] < before - _TOLERANCE and size > 1e-4:
            size /= 2
        beta = beta + size * step
        logits, value = found
        if abs(value - before) < _TOLERANCE * max(1.0, abs(value)):
            break
    return beta[:d], float(beta[d])


def ridge_logistics(
    x: np.ndarray,
    y: np.ndarray,
    offset: np.ndarray,
    inside: np.ndarray,
    penalty: float,
    start: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Many :func:`ridge_logistic` on the same x at once: weights (m, d) and intercepts (m,).

    All Hessians of a step are one product of matrices, of the regressions' weights of each row of x by the products of
    that row's columns.

    Parameters
    ----------
    x
        (n, d) float64.
    y, offset
        (m, n), a row a regression.
    inside
        (m, n) bool, which rows of x each learns from; one with none has weights and intercept 0.
    start
        Weights and intercepts to start from.
    """
    m, d = len(y), x.shape[1]
    if np.isinf(penalty):
        return np.zeros((m, d)), np.zeros(m)
    beta = np.zeros((m, d + 1)) if start is None else np.column_stack(start)
    design = np.column_stack([x, np.ones(len(x))])
    ridge = np.append(np.full(d, penalty), _LEAST_PENALTY)
    one, other = np.triu_indices(d + 1)
    products = design[:, one] * design[:, other]  # (n, (d + 1)(d + 2) / 2)

    def at(rows: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        logits = offset[rows] + beta @ design.T
        each = np.where(inside[rows], y[rows] * logits - np.logaddexp(0, logits), 0.0)
        return logits, each.sum(1) - (ridge * beta * beta).sum(1) / 2

    rows = np.arange(m)  # not at their optimum yet
    logits, value = at(rows, beta)
    for _ in range(_MAX_STEPS):
        p = expit(logits)
        gradient = np.where(inside[rows], y[rows] - p, 0.0) @ design - ridge * beta[rows]
        hessian = np.empty((len(rows), d + 1, d + 1))
        hessian[:, one, other] = hessian[:, other, one] = np.where(inside[rows], p * (1 - p), 0.0) @ products
        hessian[:, range(d + 1), range(d + 1)] += ridge
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        size, before = np.ones((len(rows), 1)), value
        logits, value = at(rows, beta[rows] + step)
        while (worse := (value < before - _TOLERANCE) & (size[:, 0] > 1e-4)).any():
            size[worse] /= 2
            logits[worse], value[worse] = at(rows[worse], beta[rows[worse]] + size[worse] * step[worse])
        beta[rows] += size * step
        going = np.abs(value - before) >= _TOLERANCE * np.maximum(1.0, np.abs(value))
        rows, logits, value = rows[going], logits[going], value[going]
        if len(rows) == 0:
            break
    return beta[:, :d], beta[:, d]
