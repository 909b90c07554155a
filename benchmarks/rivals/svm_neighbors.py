"""Linear SVM on a cell's genes beside the mean of its 15 PCA neighbours: the strongest cheap transductive rival."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.neighbors import kneighbors_graph

from . import linear_svm

MODE = "transductive"


def predict(problem) -> np.ndarray:
    mean = neighbor_mean(problem)
    both = sp.hstack([problem.x, mean @ problem.x]).tocsr().astype(np.float32)
    return linear_svm.decisions(both, problem, [0.3, 1.0, 5.0])[problem.test]


def neighbor_mean(problem) -> sp.csr_matrix:
    """A, each row the mean over a cell and its 15 nearest neighbours in principal components, (N, N)."""
    graph = kneighbors_graph(problem.components, 15, include_self=False) + sp.eye_array(len(problem.y))
    return sp.csr_matrix(graph / 16)
