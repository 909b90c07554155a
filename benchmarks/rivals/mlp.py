"""Three hidden layers of 100, 50 and 25 units on all genes, as in ACTINN."""

from __future__ import annotations

import numpy as np
from sklearn.neural_network import MLPClassifier

MODE = "inductive"


def predict(problem) -> np.ndarray:
    model = MLPClassifier((100, 50, 25), alpha=0.01, batch_size=128, max_iter=50, random_state=problem.seed, tol=0)
    model.set_params(learning_rate_init=1e-3, n_iter_no_change=50)
    model.set_params(batch_size=min(128, len(problem.train)))
    model.fit(problem.x[problem.train], problem.y[problem.train])
    found = np.zeros((len(problem.test), problem.n_labels))
    found[:, model.classes_] = model.predict_proba(problem.x[problem.test])
    return found
