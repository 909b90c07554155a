"""The degree baseline: a Rasch model of how many targets a TF has and how many TFs a gene has."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit

_MAX_STEPS = 200
_TOLERANCE = 1e-8


class Degree(NamedTuple):
    """logit P(i regulates j) = mu + a_i + b_j."""

    intercept: float
    tf: np.ndarray
    """a, (n_tfs,) float64."""
    gene: np.ndarray
    """b, (n_genes,) float64."""

    def logits(self) -> np.ndarray:
        """Of every pair, (n_tfs, n_genes) float64."""
        return self.intercept + self.tf[:, None] + self.gene


def fit_degree(known: np.ndarray, shown: np.ndarray, tf_penalty: float = 0.1, gene_penalty: float = 0.5) -> Degree:
    """The degree baseline, by penalised maximum likelihood.

    The log-likelihood of the pairs in `shown`, less half of tf_penalty times the sum of squares of a and of gene_penalty
    times that of b, is at its maximum. A TF or gene of which nothing is shown gets a rate of 0, the average.

    Parameters
    ----------
    known
        Edges, (n_tfs, n_genes) bool; entries that are not shown are ignored.
    shown
        Pairs to learn from, (n_tfs, n_genes) bool.
    """
    weight = shown.astype(np.float64)
    edges = (known & shown).astype(np.float64)
    total = weight.sum()
    rate = np.clip(edges.sum() / max(total, 1.0), 1 / (total + 2), 1 - 1 / (total + 2))
    mu, a, b = float(np.log(rate / (1 - rate))), np.zeros(len(known)), np.zeros(known.shape[1])
    if total == 0:
        return Degree(0.0, a, b)
    # Newton steps with b eliminated: its block of the Hessian is diagonal. All of (mu, a) is one dense system.
    previous = _objective(edges, weight, mu, a, b, tf_penalty, gene_penalty)
    for _ in range(_MAX_STEPS):
        p = expit(mu + a[:, None] + b) * weight
        w = p * (1 - p)  # p is 0 where nothing is shown
        residual = edges - p
        gradient_b = residual.sum(0) - gene_penalty * b
        d_b = w.sum(0) + gene_penalty
        rows = np.vstack([w.sum(0), w])
        gradient_a = np.concatenate([[residual.sum()], residual.sum(1) - tf_penalty * a])
        hessian = np.diag(np.concatenate([[w.sum()], w.sum(1) + tf_penalty]))
        hessian[0, 1:] = hessian[1:, 0] = w.sum(1)
        hessian -= (rows / d_b) @ rows.T
        step_a = np.linalg.solve(hessian, gradient_a - rows @ (gradient_b / d_b))
        step_b = (gradient_b - step_a @ rows) / d_b
        size = 1.0
        while True:
            candidate = mu + size * step_a[0], a + size * step_a[1:], b + size * step_b
            value = _objective(edges, weight, *candidate, tf_penalty, gene_penalty)
            if value >= previous - _TOLERANCE or size < 1e-4:
                break
            size /= 2
        mu, a, b = float(candidate[0]), candidate[1], candidate[2]
        if abs(value - previous) < _TOLERANCE:
            break
        previous = value
    return Degree(mu, a, b)


def _objective(
    edges: np.ndarray, weight: np.ndarray, mu: float, a: np.ndarray, b: np.ndarray, *penalties: float
) -> float:
    logits = mu + a[:, None] + b
    likelihood = np.sum(edges * logits) - np.sum(weight * np.logaddexp(0, logits))
    return float(likelihood - (penalties[0] * (a @ a) + penalties[1] * (b @ b)) / 2)
