"""Convex anchors: linear classifiers on all genes, whose decisions the networks correct instead of learning them anew.

A linear support-vector machine on all genes is a strong rival (Abdelaal et al. 2019), and being convex it has no bad
local optimum. Its decision values are an offset of a network's logits, so the network starts from the linear answer
and spends its capacity on what a linear rule cannot say. For a labelled cell the decisions come from machines that did
not see its label, else the network would learn from answers that are better than any it will meet.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.special import softmax

from .._expression import Rows
from ._draws import deal_folds, draw_labelled, most_drawn
from ._linear import Examples, Features, Linear, machines_of
from ._machines import InnerProducts

_N_FOLDS = 3
PENALTIES = (0.1, 0.3, 1.0, 5.0)
#: Where more cells are labelled, the penalty is chosen on so many of them, and so many are learned from.
TUNING_CELLS, MOST_TRAINED = 10_000, 100_000
#: A factor on decisions that makes them logits. The networks learn their own, from this start.
LOGIT_SCALE = 3.0
#: Of an anchor that is refitted on believed labels: C, the weight of all believed labels together beside the known
#: ones, and the most cells that are believed.
_REFIT_PENALTY, _BELIEVED_WEIGHT, _MOST_BELIEVED = 3.0, 2.0, 10_000
#: How closely a machine is fitted, and a refit: that takes two thirds of the time, and moves decisions by some .002.
_TOLERANCE, _REFIT_TOLERANCE = 1e-4, 1e-2


@dataclass(frozen=True)
class Anchor:
    """Decisions of linear machines about N cells and C labels."""

    decisions: np.ndarray
    """(N, C) float32; out of fold where labelled. A label that occurs once has no machine that did not see it."""
    penalty: float
    """C of the machines: the best of four by out-of-fold accuracy of labelled cells, of equals the smallest; or the
    one of refits."""
    machine: Linear
    """The machine of all labelled cells: what decides about unlabelled ones, and about cells to come."""
    accuracy: float
    """Out of fold, of labelled cells; NaN where none could be held out."""
    products: InnerProducts | None = None
    """Of the N cells, as far as they were found; not among :meth:`arrays`."""

    def of_all(self, x: sp.csr_matrix | Rows, y: np.ndarray) -> Anchor:
        """The same, of machines that were fitted to the labelled ones of the cells x alone, for all of them."""
        decisions, labelled = self.machine(x), np.flatnonzero(y >= 0)
        decisions[labelled] = self.decisions
        products = None if self.products is None else self.products.within(x, labelled)
        return dataclasses.replace(self, decisions=decisions, products=products)

    def arrays(self) -> dict[str, np.ndarray]:
        """The fields as arrays by name."""
        return {
            "decisions": self.decisions,
            "weights": self.machine.weights,
            "bias": self.machine.bias,
            "numbers": np.array([self.penalty, self.accuracy]),
        }

    @classmethod
    def of(cls, arrays: dict[str, np.ndarray]) -> Anchor:
        """The inverse of :meth:`arrays`."""
        penalty, accuracy = arrays["numbers"].tolist()
        return cls(arrays["decisions"], penalty, Linear(arrays["weights"], arrays["bias"]), accuracy)


@dataclass(frozen=True)
class Believed:
    """Labels that cells without one are believed to have, and how much each counts; both of shape (N,)."""

    labels: np.ndarray
    weights: np.ndarray


def fit_anchor(
    x: sp.csr_matrix | Rows,
    y: np.ndarray,
    n_labels: int,
    *,
    beside: Features | None = None,
    seed: int,
    penalties: tuple[float, ...] = PENALTIES,
    believed: Believed | None = None,
    out_of_fold: bool = True,
    products: InnerProducts | None = None,
) -> Anchor:
    """One-against-rest linear support-vector machines with squared hinge loss.

    Parameters
    ----------
    x
        Features, shape (N, M).
    y
        Label codes, shape (N,); -1 where unlabelled. At least two labels occur.
    n_labels
        C.
    beside
        Further features, shape (N, F).
    seed
        Deals the cells of each label to folds, and draws those on which the penalty is chosen where very many are
        labelled.
    penalties
        C of the machines to choose from.
    believed
        Labels of unlabelled cells to train on as well; the penalty is then a fixed one.
    out_of_fold
        Decide labelled cells by machines that did not see them, too.
    products
        Of the cells x, to be kept for further machines.
    """
    labelled = np.flatnonzero(y >= 0)
    if len(labelled) > MOST_TRAINED:  # the others' decisions come from a machine that did not see them anyway
        labelled = draw_labelled(y, MOST_TRAINED, np.random.default_rng(seed))
    fold = deal_folds(y[labelled], min(_N_FOLDS, len(labelled)), np.random.default_rng(seed))
    if believed is not None:
        penalties = (_REFIT_PENALTY,)
    if len(penalties) > 1 and len(labelled) > most_drawn(TUNING_CELLS, n_labels):
        some = draw_labelled(y, TUNING_CELLS, np.random.default_rng(seed))
        part = None if beside is None else beside[some]
        penalties = (fit_anchor(x[some], y[some], n_labels, beside=part, seed=seed).penalty,)
    others = np.empty(0, dtype=np.int64)
    if believed is not None:
        others = np.flatnonzero((y < 0) & (believed.weights > 0))
        y = np.where(y >= 0, y, believed.labels)
    everyone = np.concatenate([labelled, others])  # of whom anything is learned
    fold = np.concatenate([fold, np.full(len(others), -1)])
    cells = Examples(
        x[everyone],
        None if beside is None else beside[everyone],
        y[everyone],
        np.ones(len(everyone)) if believed is None else believed.weights[everyone],
        fold if out_of_fold else np.full(len(everyone), -1),
        n_labels,
    )
    tolerance = _TOLERANCE if believed is None else _REFIT_TOLERANCE
    machines = machines_of(cells, lambda: (products or InnerProducts(x)).among(everyone), tolerance)
    fold, of_cells = cells.fold, cells.y
    del cells  # their features are held by the machines

    held_out = fold >= 0
    found = {penalty: machines.held_out(penalty) for penalty in penalties} if held_out.any() else {}

    def accuracy(penalty: float) -> float:
        return np.mean(found[penalty][held_out].argmax(1) == of_cells[held_out])

    best = max(found, key=accuracy, default=penalties[len(penalties) // 2])
    machine = machines.of_all(best)
    del machines
    decisions = machine(x, beside)
    if found:
        decisions[everyone[held_out]] = found[best][held_out]
    return Anchor(decisions, best, machine, accuracy(best) if found else np.nan)


def believe(decisions: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> Believed:
    """The labels that an anchor's decisions give to unlabelled cells.

    A cell counts by the square of its largest probability. Weights are then scaled so that all labels weigh the same,
    each over its known and believed cells together: without that, common labels swallow rare ones round by round. Of
    very many unlabelled cells a random part is believed, enough for a linear machine.

    Parameters
    ----------
    decisions
        Shape (N, C).
    y
        Label codes, shape (N,); -1 where unlabelled.
    rng
        Draws the part.
    """
    known = y >= 0
    labels = np.where(known, y, decisions.argmax(1))
    weights = np.where(known, 1.0, softmax(LOGIT_SCALE * decisions, axis=1).max(1) ** 2)
    weights[rng.permutation(np.flatnonzero(~known))[_MOST_BELIEVED:]] = 0
    weights /= np.bincount(labels, weights=weights)[labels]
    if not known.all():
        weights[~known] *= _BELIEVED_WEIGHT * weights[known].sum() / weights[~known].sum()
    return Believed(labels, weights * (known.sum() / weights.sum()))


def label_believed(decisions: np.ndarray, y: np.ndarray, n_cells: int, rng: np.random.Generator) -> np.ndarray:
    """Label codes, (N,), with those of `n_cells` unlabelled cells a label, or all, that decisions (N, C) take for it."""
    believed = np.where(y < 0, decisions.argmax(1), -1)
    drawn = [rng.permutation(np.flatnonzero(believed == label))[:n_cells] for label in range(decisions.shape[1])]
    cells = np.concatenate(drawn)
    y = y.copy()
    y[cells] = believed[cells]
    return y
