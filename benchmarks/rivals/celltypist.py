"""CellTypist (Dominguez Conde et al. 2022), trained on the labelled cells as its documentation does by default.

That is one pass of logistic regression, one label against the rest, on all genes, log1p of counts per 10,000. Selection
of features is an option there for noisy data, and is off; so is majority voting. The answer holds decision values,
whose largest is the package's "best match". A label with a single cell is trained on like any other; one with none is
never found.
"""

from __future__ import annotations

import numpy as np

from . import _apart

MODE = "inductive"


def predict(problem) -> np.ndarray:
    return _apart.ask("celltypist", problem)


def answer(given: _apart.Given) -> np.ndarray:
    import celltypist

    train = np.flatnonzero(given.y >= 0)
    adata = _apart.log_normalized(given)
    model = celltypist.train(adata[train].copy(), labels=_apart.names(given)[train])
    decisions = celltypist.annotate(adata[given.test].copy(), model=model).decision_matrix
    return _apart.of_all_labels(decisions.to_numpy(), decisions.columns, given)
