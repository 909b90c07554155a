"""Majority of the 15 nearest labelled cells in 50 principal components of all cells."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import KNeighborsClassifier

MODE = "transductive"


def predict(problem) -> np.ndarray:
    model = KNeighborsClassifier(min(15, len(problem.train)))
    model.fit(problem.components[problem.train], problem.y[problem.train])
    found = np.zeros((len(problem.test), problem.n_labels))
    found[:, model.classes_] = model.predict_proba(problem.components[problem.test])
    return found
