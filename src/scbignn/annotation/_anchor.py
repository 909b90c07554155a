"""Convex anchors: linear classifiers on all genes, whose decisions the networks correct instead of learning them anew.

A linear support-vector machine on all genes is a strong rival (Abdelaal et al. 2019), and being convex it has no bad
local optimum. Its decision values are an offset of a network's logits, so the network starts from the linear answer
and spends its capacity on what a linear rule cannot say. For a labelled cell the decisions come from machines that did
not see its label, else the network would learn from answers that are better than any it will meet.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp
from scipy.special import softmax
from sklearn.linear_model import SGDClassifier
from sklearn.svm import LinearSVC

from .._expression import Rows
from ._machines import InnerProducts, fit_machines

_N_FOLDS = 3
PENALTIES = (0.1, 0.3, 1.0, 5.0)
#: Up to so many cells of unit length have their machines fitted together, from their inner products, if these are no more
#: than so many for each value of x that is not zero: else one machine after another takes less time.
TOGETHER_CELLS, _PRODUCTS_OF_VALUE = 5_000, 10
#: Where more cells are learned from, machines are fitted by averaged stochastic gradient, with the plain hinge loss.
MINI_BATCH_CELLS = 30_000
#: Where more cells are labelled, the penalty is chosen on so many of them, and so many are learned from.
TUNING_CELLS, MOST_TRAINED = 10_000, 100_000
#: Of a label with so many cells or fewer, all are kept where cells are drawn.
_KEPT_OF_LABEL = 50
#: A factor on decisions that makes them logits. The networks learn their own, from this start.
LOGIT_SCALE = 3.0
#: Of an anchor that is refitted on believed labels: C, the weight of all believed labels together beside the known
#: ones, and the most cells that are believed.
_REFIT_PENALTY, _BELIEVED_WEIGHT, _MOST_BELIEVED = 3.0, 2.0, 10_000
#: How closely a machine is fitted, and a refit: that takes two thirds of the time, and moves decisions by some .002.
_TOLERANCE, _REFIT_TOLERANCE = 1e-4, 1e-2


class Features(Protocol):
    """Dense features of N cells, (N, F), of some of which one asks at a time; an array is such."""

    def __getitem__(self, cells: np.ndarray) -> np.ndarray:
        """(n, F) float32."""

    def __matmul__(self, matrix: np.ndarray) -> np.ndarray:
        """(F, C) -> (N, C)."""


class Linear(NamedTuple):
    """One linear decision a label: C labels, M features."""

    weights: np.ndarray
    """(C, M) float32."""
    bias: np.ndarray
    """(C,) float32."""

    def __call__(self, x: sp.csr_matrix | Rows, beside: Features | None = None) -> np.ndarray:
        """Decisions about cells, (N, M) -> (N, C) float32; with (N, F) dense features `beside` them, M + F weights."""
        n_genes = x.shape[1]
        found = np.asarray(x @ self.weights[:, :n_genes].T, dtype=np.float32)
        found += self.bias
        if beside is not None:
            found += beside @ self.weights[:, n_genes:].T
        return found


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
    if len(penalties) > 1 and len(labelled) > TUNING_CELLS + _KEPT_OF_LABEL * n_labels:  # more than are ever drawn
        some = draw_labelled(y, TUNING_CELLS, np.random.default_rng(seed))
        part = None if beside is None else beside[some]
        penalties = (fit_anchor(x[some], y[some], n_labels, beside=part, seed=seed).penalty,)
    others = np.empty(0, dtype=np.int64)
    if believed is not None:
        others = np.flatnonzero((y < 0) & (believed.weights > 0))
        y = np.where(y >= 0, y, believed.labels)
    everyone = np.concatenate([labelled, others])  # of whom anything is learned
    fold = np.concatenate([fold, np.full(len(others), -1)])
    cells = _Cells(
        x[everyone],
        None if beside is None else beside[everyone],
        y[everyone],
        np.ones(len(everyone)) if believed is None else believed.weights[everyone],
        fold if out_of_fold else np.full(len(everyone), -1),
        n_labels,
    )
    if _pays_together(cells.x) and _are_of_unit_length(cells.x):
        machines: _Machines = _Together(cells, (products or InnerProducts(x)).among(everyone))
    else:
        machines = _OneByOne(cells, _TOLERANCE if believed is None else _REFIT_TOLERANCE)
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


def draw_labelled(y: np.ndarray, n_cells: int, rng: np.random.Generator) -> np.ndarray:
    """About `n_cells` of the labelled cells, ascending: of each label the same share, but no fewer than 50 if it has them."""
    labelled = np.flatnonzero(y >= 0)
    share, drawn = min(1.0, n_cells / max(1, len(labelled))), []
    for label in np.unique(y[labelled]):
        cells = np.flatnonzero(y == label)
        drawn.append(rng.permutation(cells)[: max(_KEPT_OF_LABEL, round(share * len(cells)))])
    return np.sort(np.concatenate(drawn))


def deal_folds(y: np.ndarray, n_folds: int, rng: np.random.Generator) -> np.ndarray:
    """A fold for each cell: the cells of a label, shuffled, are dealt to the folds in turn.

    A label's only cell has fold -1 and is never held out, so that every label is always trained on.
    """
    fold = np.full(len(y), -1)
    dealt = 0
    for label in np.unique(y):
        cells = rng.permutation(np.flatnonzero(y == label))
        if len(cells) > 1:
            fold[cells] = (dealt + np.arange(len(cells))) % n_folds
            dealt += len(cells)
    return fold


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


class _Cells(NamedTuple):
    """The n cells that something is learned from."""

    x: sp.csr_matrix
    """(n, M)."""
    beside: np.ndarray | None
    """(n, F), further features."""
    y: np.ndarray
    """(n,) codes."""
    weights: np.ndarray
    """(n,), how much each counts."""
    fold: np.ndarray
    """(n,), -1 where never held out."""
    n_labels: int


class _Machines(Protocol):
    """A machine a label, of C labels, for any penalty."""

    def held_out(self, penalty: float) -> np.ndarray:
        """(n, C) float32: of the cells of each fold by machines that did not see them; others have no meaning."""

    def of_all(self, penalty: float) -> Linear:
        """The machines that saw all cells."""


class _Together:
    """All labels and folds at once, from inner products (n, n) of the cells' x."""

    def __init__(self, cells: _Cells, gram: np.ndarray) -> None:
        self._cells, self._gram = cells, gram + 1  # for the bias
        if cells.beside is not None:
            self._gram += cells.beside @ cells.beside.T
        self._labels = np.unique(cells.y)
        columns = self._labels[1:] if len(self._labels) == 2 else self._labels
        self._sign = np.where(cells.y[:, None] == columns, 1, -1).astype(np.float32)
        self._folds = np.unique(cells.fold[cells.fold >= 0])
        self._start = None

    def held_out(self, penalty: float) -> np.ndarray:
        cells, n_columns = self._cells, self._sign.shape[1]
        cost = np.repeat(cells.fold[:, None] != self._folds, n_columns, axis=1) * (penalty * cells.weights[:, None])
        sign = np.tile(self._sign, len(self._folds))
        self._start, decisions = fit_machines(self._gram, sign, cost.astype(np.float32), self._start)
        found = np.empty((len(cells.y), cells.n_labels), dtype=np.float32)
        for fold, of_fold in zip(self._folds, np.split(decisions, len(self._folds), axis=1), strict=True):
            held = cells.fold == fold
            found[held] = self._of_all_labels(of_fold[held].T, -1).T
        return found

    def of_all(self, penalty: float) -> Linear:
        cells, start = self._cells, None
        if self._start is not None:  # what the folds have found, each of its own cells
            start = np.mean(np.split(self._start, len(self._folds), axis=1), axis=0)
        cost = np.broadcast_to(penalty * cells.weights[:, None], self._sign.shape).astype(np.float32)
        beta = fit_machines(self._gram, self._sign, cost, start)[0].T
        weights = beta @ cells.x
        if cells.beside is not None:
            weights = np.hstack([weights, beta @ cells.beside])
        return Linear(self._of_all_labels(weights, 0), self._of_all_labels(beta.sum(1)[:, None], -1)[:, 0])

    def _of_all_labels(self, rows: np.ndarray, otherwise: float) -> np.ndarray:
        return _of_all_labels(rows, self._labels, self._cells.n_labels, otherwise)


class _OneByOne:
    """One call of scikit-learn a fold and penalty; mini-batches where cells are very many."""

    def __init__(self, cells: _Cells, tolerance: float) -> None:
        if cells.beside is not None:
            cells = cells._replace(x=sp.hstack([cells.x, sp.csr_matrix(cells.beside)]).tocsr(), beside=None)
        self._cells, self._tolerance = cells, tolerance

    def held_out(self, penalty: float) -> np.ndarray:
        fold = self._cells.fold
        found = np.empty((len(fold), self._cells.n_labels), dtype=np.float32)
        for number in np.unique(fold[fold >= 0]):
            found[fold == number] = self._trained(fold != number, penalty)(self._cells.x[fold == number])
        return found

    def of_all(self, penalty: float) -> Linear:
        return self._trained(np.ones(len(self._cells.y), dtype=bool), penalty)

    def _trained(self, members: np.ndarray, penalty: float) -> Linear:
        cells = self._cells
        if len(cells.y) > MINI_BATCH_CELLS:
            alpha = 1 / (penalty * np.sum(members))
            machine = SGDClassifier(loss="hinge", alpha=alpha, average=True, random_state=0)
        else:
            machine = LinearSVC(C=penalty, tol=self._tolerance, random_state=0)
        x = cells.x if members.all() else cells.x[members]
        machine.fit(x, cells.y[members], sample_weight=cells.weights[members])
        rows = (machine.coef_, 0), (machine.intercept_[:, None], -1)
        weights, bias = (_of_all_labels(part, machine.classes_, cells.n_labels, other) for part, other in rows)
        return Linear(weights, bias[:, 0])


def _pays_together(x: sp.csr_matrix) -> bool:
    """Whether the machines of these cells, (n, M), are found faster from their inner products."""
    n_cells = x.shape[0]
    return n_cells <= TOGETHER_CELLS and n_cells**2 <= _PRODUCTS_OF_VALUE * x.nnz


def _are_of_unit_length(x: sp.csr_matrix) -> bool:
    """Or shorter. Of longer cells, inner products are too ill-conditioned for machines to be found together."""
    return float(x.multiply(x).sum(1).max()) < 1.01


def _of_all_labels(rows: np.ndarray, labels: np.ndarray, n_labels: int, otherwise: float) -> np.ndarray:
    """Rows of the labels that were trained on, or one row of the second of two, -> (C, F) float32.

    A label that was not trained on has a row of one number: a bias of -1 decides against it.
    """
    found = np.full((n_labels, rows.shape[1]), otherwise, dtype=np.float32)
    found[labels] = np.vstack([-rows, rows]) if len(rows) < len(labels) else rows
    return found
