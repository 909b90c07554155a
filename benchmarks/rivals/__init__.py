"""One file a rival. Each has `MODE`, "inductive" or "transductive", and `predict(problem)`.

`predict` returns probabilities of shape (cells of `problem.test`, labels), or scores that are no probabilities and then
need not sum to 1. An inductive rival sees neither labels nor expression of the test cells while it trains.
"""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

NAMES = {
    "majority": "majority label",
    "random_label": "random label, by frequency",
    "linear_svm": "linear SVM, tuned",
    "logistic_l2": "logistic regression, L2, tuned",
    "logistic_l1": "logistic regression, L1, tuned",
    "lda": "LDA on 50 PCs",
    "centroid": "nearest centroid",
    "forest": "random forest",
    "spearman": "Spearman centroids",
    "mlp": "MLP (like ACTINN)",
    "knn": "kNN on 50 PCs",
    "svm_neighbors": "linear SVM on [X, AX], tuned",
    "svm_smoothed": "linear SVM, decisions averaged over kNN",
    "svm_self_training": "linear SVM, self-training",
    "gcn": "GCN on the raw PCA graph",
    "celltypist": "CellTypist",
    "singler": "singler, markers by AUC",
    "singler_classic": "singler, default markers",
    "scanvi": "scANVI",
}
#: Rivals in a Python environment of their own, which `python benchmarks/set_up_rivals.py` sets up.
APART = ("celltypist", "singler", "singler_classic", "scanvi")
#: Rivals that answer otherwise with another seed.
SEEDED = ("random_label", "forest", "mlp", "gcn", "scanvi")


def rival(name: str) -> ModuleType:
    """The module of one rival."""
    return import_module(f"rivals.{name}")
