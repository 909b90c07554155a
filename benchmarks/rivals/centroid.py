"""The label whose mean profile is nearest by cosine."""

from __future__ import annotations

import numpy as np
from sklearn.preprocessing import normalize

MODE = "inductive"


def predict(problem) -> np.ndarray:
    x, y = problem.x[problem.train], problem.y[problem.train]
    means = np.array([np.asarray(x[y == label].mean(0)).ravel() for label in range(problem.n_labels)])
    return problem.x[problem.test] @ normalize(np.nan_to_num(means)).T
