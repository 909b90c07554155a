"""Linear support-vector machine on all genes; C by cross-validation inside the training cells."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.svm import LinearSVC

MODE = "inductive"
PENALTIES = [0.1, 0.3, 1.0, 3.0, 10.0]


def predict(problem) -> np.ndarray:
    return decisions(problem.x, problem)[problem.test]


def decisions(x: sp.csr_matrix, problem, penalties: list[float] | None = None) -> np.ndarray:
    """Decision values of all cells, (N, C), by a machine on the features `x` of the labelled ones."""
    y = problem.y[problem.train]
    smallest = np.bincount(y)[np.unique(y)].min()
    folds = (StratifiedKFold if smallest >= 3 else KFold)(3, shuffle=True, random_state=0)
    search = GridSearchCV(LinearSVC(random_state=0), {"C": penalties or PENALTIES}, cv=folds)
    return of_all_labels(search.fit(x[problem.train], y).best_estimator_, x, problem.n_labels)


def of_all_labels(model, x, n_labels: int) -> np.ndarray:
    """Decision values, the smallest of all where a label was not trained on."""
    found = model.decision_function(x)
    found = np.column_stack([-found, found]) if found.ndim == 1 else found
    values = np.full((len(found), n_labels), found.min())
    values[:, model.classes_] = found
    return values
