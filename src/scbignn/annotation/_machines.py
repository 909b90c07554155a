"""Linear support-vector machines of many labels and folds at once, from the inner products of their cells.

A machine of squared hinge loss is the minimum of a smooth convex function, which Newton's method finds in a few steps
(Chapelle 2007, Neural Computation 19, 1155). Its weights are a sum over cells, w = sum_i beta_i x_i, so that it needs
to know no more of the cells than their inner products K; and because K is the same for every label, every fold and
every penalty, all machines take their steps side by side, as products of K with a block of columns.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.linalg.blas import ssyrk

from .._expression import Rows

#: A machine is found when its gradient is so short beside it; decisions are then within .0005 of those of the minimum.
_TOLERANCE = 1e-3
#: Newton's step is found by conjugate gradients, up to so much of the gradient: more pays only near the minimum.
_STEP_TOLERANCE = 0.1
_MOST_STEPS, _MOST_PRODUCTS = 40, 50
#: How much of the slope may be left where a step ends, and how often its length is halved or not to get there.
_SLOPE_LEFT, _HALVINGS = 0.1, 8
#: Machines that take their steps side by side, and genes whose products are added at a time: both bound memory.
_BLOCK, _GENES = 128, 2048
#: A gene of so few cells has so few products that they are found one by one.
_FEW_CELLS = 50


class InnerProducts:
    """Inner products of cells x, (N, M), found when asked for: with `keep` those of all at once, else of the cells in question.

    What was asked for last is kept, for several machines ask of the same cells.
    """

    def __init__(self, x: sp.csr_matrix | Rows, *, keep: bool = False) -> None:
        self._x, self._keep, self._found = x, keep, None
        self._cells: np.ndarray | None = None

    def among(self, cells: np.ndarray) -> np.ndarray:
        """Of some cells, by place, with each other: (n,) -> (n, n) float32, symmetric; not to be written to."""
        if self._keep:
            if self._found is None:
                self._found = inner_products(self._x[:])
            return self._found[np.ix_(cells, cells)]
        if self._cells is None or not np.array_equal(self._cells, cells):
            self._cells, self._found = cells, inner_products(self._x[cells])
        return self._found

    def within(self, x: sp.csr_matrix | Rows, cells: np.ndarray) -> InnerProducts:
        """Those of more cells x, of which these are `cells`, by place: what was found is not found again."""
        found = InnerProducts(x)
        if self._cells is not None:
            found._cells, found._found = cells[self._cells], self._found
        return found


def inner_products(x: sp.csr_matrix) -> np.ndarray:
    """K = x x^T, (n, M) -> (n, n) float32."""
    by_gene = x.tocsc().astype(np.float32, copy=False)
    n_cells = np.diff(by_gene.indptr)
    common, rare = by_gene[:, n_cells > _FEW_CELLS], by_gene[:, (n_cells > 0) & (n_cells <= _FEW_CELLS)]
    found = np.zeros((x.shape[0], x.shape[0]), dtype=np.float32, order="F")
    for start in range(0, common.shape[1], _GENES):
        part = common[:, start : start + _GENES].toarray(order="F")
        found = ssyrk(1.0, part, beta=1.0, c=found, lower=1, overwrite_c=1)
    found += np.tril(found, -1).T
    found += (rare @ rare.T).toarray(order="F")
    return found.T  # the same, but by rows: products with it are faster


def fit_machines(
    gram: np.ndarray, sign: np.ndarray, cost: np.ndarray, start: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise 1/2 |w|^2 + sum_i c_i max(0, 1 - y_i w^T x_i)^2 for Q machines w = sum_i beta_i x_i.

    Parameters
    ----------
    gram
        K, inner products of n cells of a length of about 1, shape (n, n) float32. For a bias that is held small like a
        weight, as scikit-learn's ``LinearSVC`` has it, add 1.
    sign
        y, +1 or -1, shape (n, Q) float32.
    cost
        c, shape (n, Q) float32; 0 where a machine does not see a cell.
    start
        beta to start from, shape (n, Q).

    Returns
    -------
    beta, and the decisions about the cells, K beta; both (n, Q) float32.
    """
    beta = np.zeros_like(sign) if start is None else start.astype(np.float32)
    decisions = np.zeros_like(sign)
    for first in range(0, sign.shape[1], _BLOCK):
        block = slice(first, first + _BLOCK)
        if start is not None:
            decisions[:, block] = gram @ beta[:, block]
        _fit_block(gram, sign[:, block], 2 * cost[:, block], beta[:, block], decisions[:, block])
    return beta, decisions


def _fit_block(gram: np.ndarray, sign: np.ndarray, cost: np.ndarray, beta: np.ndarray, decisions: np.ndarray) -> None:
    """Newton's method on all columns that are not yet there, in place; `cost` is 2c.

    Gradients are those of functions, not of beta: beta - 2c (y - f) where y f < 1, with the length r^T K r.
    """
    asked = np.arange(sign.shape[1])
    for _ in range(_MOST_STEPS):
        y, c, b, f = (part[:, asked] for part in (sign, cost, beta, decisions))
        active = np.where(y * f < 1, c, 0)
        downhill = active * (y - f) - b
        image = gram @ downhill
        length = _dot(downhill, image)
        there = length <= _TOLERANCE**2 * np.maximum(_dot(b, f), np.finfo(np.float32).tiny)
        if there.all():
            return
        asked = asked[~there]
        y, c, b, f, active, downhill, image = (part[:, ~there] for part in (y, c, b, f, active, downhill, image))
        step, step_image = _newton_step(gram, active, downhill, image)
        share = _line_search(y, c, f, step, step_image)
        beta[:, asked] = b + share * step
        decisions[:, asked] = f + share * step_image


def _newton_step(
    gram: np.ndarray, active: np.ndarray, residual: np.ndarray, image: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """d with (1 + active K) d = residual, about, and K d; by conjugate gradients in the inner product of K."""
    step, step_image = np.zeros_like(residual), np.zeros_like(residual)
    asked, towards, towards_image = np.arange(residual.shape[1]), residual, image
    length = _dot(residual, image)
    enough = _STEP_TOLERANCE**2 * length
    for _ in range(_MOST_PRODUCTS):
        seen = active * towards_image
        share = length / (_dot(towards, towards_image) + _dot(towards_image, seen))
        step[:, asked] += share * towards
        step_image[:, asked] += share * towards_image
        residual = residual - share * (towards + seen)
        image = image - share * (towards_image + gram @ seen)
        before, length = length, _dot(residual, image)
        far = length > enough
        if not far.any():
            break
        keep = length / before
        towards, towards_image = residual + keep * towards, image + keep * towards_image
        if not far.all():
            asked, length, enough = asked[far], length[far], enough[far]
            active, residual, image, towards, towards_image = (
                part[:, far] for part in (active, residual, image, towards, towards_image)
            )
    return step, step_image


def _line_search(y: np.ndarray, cost: np.ndarray, f: np.ndarray, step: np.ndarray, image: np.ndarray) -> np.ndarray:
    """How much of each step to take, (Q,), at most all of it: until hardly any slope is left."""
    slope_of_norm, curvature_of_norm = _dot(step, f), _dot(step, image)

    def slope(share: np.ndarray) -> np.ndarray:
        short = np.maximum(0, 1 - y * (f + share * image))
        return slope_of_norm + share * curvature_of_norm - _dot(cost * short * y, image)

    share = np.ones(f.shape[1], dtype=np.float32)
    too_far = slope(share) > _SLOPE_LEFT * np.abs(slope(0 * share))
    if not too_far.any():
        return share
    least, most = np.zeros_like(share), share
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        uphill = slope(middle) > 0
        least, most = np.where(uphill, least, middle), np.where(uphill, middle, most)
    return np.where(too_far, (least + most) / 2, share)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each column with its like, (n, Q) -> (Q,)."""
    return np.einsum("ij,ij->j", a, b)
