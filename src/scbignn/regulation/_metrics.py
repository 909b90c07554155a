"""How well scores order pairs: pooled, and for each TF by itself."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

FIGURES = ("auroc", "auprc", "auprc_ratio", "early_precision", "tf_auroc", "tf_auprc")


def link_scores(known: np.ndarray, scores: np.ndarray, asked: np.ndarray) -> dict[str, float]:
    """Figures of merit of the scores of the pairs that were asked for; NaN where there is nothing to tell apart.

    Parameters
    ----------
    known, asked
        Edges, and pairs that are scored, (n_tfs, n_genes) bool.
    scores
        (n_tfs, n_genes), the higher the likelier.

    Returns
    -------
    dict
        `auroc`; `auprc`, the average precision; `auprc_ratio`, that over the share of edges; `early_precision`, the
        share of edges among as many first pairs as there are edges, ties counted in expectation; `tf_auroc` and
        `tf_auprc`, means over TFs that have both edges and other pairs there; `n_edges`, `n_pairs` and `n_tfs`.
    """
    y, s = known[asked], scores[asked]
    found = dict.fromkeys(FIGURES, float("nan")) | {"n_edges": int(y.sum()), "n_pairs": len(y), "n_tfs": 0}
    if not 0 < y.sum() < len(y):
        return found
    found["auroc"] = auroc(y, s)
    found["auprc"] = average_precision(y, s)
    found["auprc_ratio"] = found["auprc"] / float(y.mean())
    found["early_precision"] = early_precision(y, s)
    per_tf = []
    for tf in range(len(known)):
        own, of_tf = known[tf, asked[tf]], scores[tf, asked[tf]]
        if 0 < own.sum() < len(own):
            per_tf.append((auroc(own, of_tf), average_precision(own, of_tf)))
    found["n_tfs"] = len(per_tf)
    if per_tf:
        found["tf_auroc"], found["tf_auprc"] = (float(value) for value in np.mean(per_tf, axis=0))
    return found


def early_precision(y: np.ndarray, s: np.ndarray) -> float:
    """The share of edges among the k first pairs, where k is the number of edges; ties count in expectation."""
    k = int(y.sum())
    threshold = np.partition(s, len(s) - k)[len(s) - k]
    above, tied = s > threshold, s == threshold
    left = k - above.sum()
    return float((y[above].sum() + left * y[tied].mean()) / k)


def auroc(y: np.ndarray, s: np.ndarray) -> float:
    """The share of pairs of an edge and a non-edge that are in order; a tie counts half."""
    n = int(y.sum())
    return float((rankdata(s)[y].sum() - n * (n + 1) / 2) / (n * (len(y) - n)))


def average_precision(y: np.ndarray, s: np.ndarray) -> float:
    """Precision at each threshold, weighted by the gain in recall there."""
    order = np.argsort(-s, kind="stable")
    last = np.append(np.flatnonzero(np.diff(s[order])), len(s) - 1)  # the last of each group of ties
    hits = np.cumsum(y[order])[last]
    return float(np.sum(hits / (last + 1) * np.diff(hits, prepend=0)) / hits[-1])
