"""Linear machines, one a label against all others: all together from inner products, or one after another."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import scipy.sparse as sp
from sklearn.linear_model import SGDClassifier
from sklearn.svm import LinearSVC

from .._expression import Rows
from ._machines import fit_machines

#: Up to so many cells of unit length have their machines fitted together, from their inner products, if these are no more
#: than so many for each value of x that is not zero: else one machine after another takes less time.
TOGETHER_CELLS, _PRODUCTS_OF_VALUE = 5_000, 10
#: Where more cells are learned from, machines are fitted by averaged stochastic gradient, with the plain hinge loss.
MINI_BATCH_CELLS = 30_000


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


class Examples(NamedTuple):
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


class Machines(Protocol):
    """A machine a label, of C labels, for any penalty."""

    def held_out(self, penalty: float) -> np.ndarray:
        """(n, C) float32: of the cells of each fold by machines that did not see them; others have no meaning."""

    def of_all(self, penalty: float) -> Linear:
        """The machines that saw all cells."""


def machines_of(cells: Examples, products: Callable[[], np.ndarray], tolerance: float) -> Machines:
    """The machines of these cells, in the way that takes less time.

    Parameters
    ----------
    cells
        What is learned from.
    products
        Gives the inner products of their x, (n, n) float32, where they are wanted.
    tolerance
        How closely one machine after another is fitted.
    """
    if _pays_together(cells.x) and _are_of_unit_length(cells.x):
        return _Together(cells, products())
    return _OneByOne(cells, tolerance)


class _Together:
    """All labels and folds at once, from inner products (n, n) of the cells' x."""

    def __init__(self, cells: Examples, gram: np.ndarray) -> None:
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

    def __init__(self, cells: Examples, tolerance: float) -> None:
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
