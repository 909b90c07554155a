"""singler, the Python package of SingleR (Aran et al. 2019), with the labelled cells as its reference.

Markers are chosen by AUC, ten of each pair of labels: the SingleR book asks for Wilcoxon tests where the reference is
single cells. `singler_classic` leaves the package's default, differences of medians, which is meant for bulk samples.
All else is default, fine-tuning included. The answer holds correlations, with the label found after fine-tuning raised
above all of them. A label with a single cell is a profile like any other; one with none is never found. Nothing is
random.
"""

from __future__ import annotations

import numpy as np

from . import _apart

MODE = "inductive"


def predict(problem) -> np.ndarray:
    return _apart.ask("singler", problem)


def answer(given: _apart.Given) -> np.ndarray:
    return correlations(given, "auc")


def correlations(given: _apart.Given, markers: str) -> np.ndarray:
    import singler

    train = np.flatnonzero(given.y >= 0)
    adata = _apart.log_normalized(given)
    genes = adata.var_names.tolist()
    found = singler.annotate_single(
        test_data=adata.X[given.test].T.tocsc(),
        ref_data=adata.X[train].T.tocsc(),
        ref_labels=_apart.names(given)[train].tolist(),
        test_features=genes,
        ref_features=genes,
        train_args={"marker_method": markers},
        num_threads=given.threads,
    )
    labels = list(found["scores"].get_column_names())
    values = np.column_stack([found["scores"][label] for label in labels])
    best = np.array([labels.index(label) for label in found["best"]])
    values[np.arange(len(best)), best] = 2.0
    return _apart.of_all_labels(values, labels, given)
