"""Whether neighbours mislead: cells then get their labels from the linear machine on their own genes."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from ._anchor import LOGIT_SCALE
from ._config import Config
from ._evidence import Evidence, n_refits

#: Neighbours mislead where they make what the labels of held-out cells cost so many times as high.
_WORSE = 2.0
#: What is added to both costs, in nats: between two that are as good as certain nothing is to be decided.
_SLACK = 1.0
#: Bounds of the logarithm of what decisions are multiplied by to be logits.
_LOG_SCALE = (-3.0, 5.0)


def with_source_of_labels(config: Config, evidence: Evidence | None, y: np.ndarray, n_labels: int) -> Config:
    """The config with a decision on `labels_from`.

    Where labels are few, neighbours carry them to other cells, and are not doubted.

    Parameters
    ----------
    config
        With ``labels_from="auto"``, or it comes back as it is.
    evidence
        On N cells, or None.
    y
        Label codes, shape (N,); -1 where unlabelled.
    n_labels
        C.
    """
    if config.labels_from != "auto":
        return config
    misled = config.anchor and not n_refits(config, y, n_labels) and neighbors_mislead(evidence, y)
    return dataclasses.replace(config, labels_from="genes" if misled else "p")


def neighbors_mislead(evidence: Evidence, y: np.ndarray) -> bool:
    """Whether the labels of held-out cells cost twice as much by the machine that sees neighbours as by that on genes.

    The cost is the negative log-likelihood of the label under softmax(a d), d the out-of-fold decisions and a the scale
    under which it is smallest, plus 1. It sees more than errors do, which are few where this matters, but where both are
    nearly free of them a few cells decide.

    Parameters
    ----------
    evidence
        On N cells.
    y
        Label codes, shape (N,); -1 where unlabelled. A label's only cell, which is never held out, does not count.
    """
    held_out = np.flatnonzero(y >= 0)
    held_out = held_out[np.bincount(y[held_out])[y[held_out]] > 1]
    gene, cell = (cost(part[held_out], y[held_out]) for part in (evidence.gene_decisions, evidence.cell_decisions))
    return cell + _SLACK > _WORSE * (gene + _SLACK)


def cost(decisions: np.ndarray, y: np.ndarray) -> float:
    """Negative log-likelihood of labels, (n,) codes, under decisions (n, C) on the scale that suits them best, in nats."""
    rows = np.arange(len(y))

    def at(log_scale: float) -> float:
        return -float(log_softmax(np.exp(log_scale) * decisions.astype(np.float64), axis=1)[rows, y].sum())

    return float(minimize_scalar(at, bounds=_LOG_SCALE, method="bounded").fun)


def machine_probabilities(decisions: np.ndarray) -> np.ndarray:
    """What the machine says in place of p: decisions (N, C) -> float32 (N, C), rows sum to 1."""
    return softmax(LOGIT_SCALE * decisions, axis=1).astype(np.float32)
