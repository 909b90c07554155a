"""The most frequent label for every cell."""

from __future__ import annotations

import numpy as np

MODE = "inductive"


def predict(problem) -> np.ndarray:
    share = np.bincount(problem.y[problem.train], minlength=problem.n_labels) / len(problem.train)
    return np.tile(share, (len(problem.test), 1))
