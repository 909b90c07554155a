"""A label drawn for every cell by the labels' frequency."""

from __future__ import annotations

import numpy as np

MODE = "inductive"


def predict(problem) -> np.ndarray:
    drawn = np.random.default_rng(problem.seed).choice(problem.y[problem.train], len(problem.test))
    return np.eye(problem.n_labels)[drawn]
