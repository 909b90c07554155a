"""AnnData to arrays."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from natsort import natsorted

from .._check import (
    Expression,
    check_expression,
    check_values,
    form_of,
    is_usable,
    one_column,
    pick_matrix,
    recorded_log1p,
    sample_rows,
    some,
    take_rows,
    tell_expression,
    undo_log1p,
)
from .._expression import normalize

logger = logging.getLogger(__name__)

#: A group of fewer cells gets no network of its own.
_MIN_GROUP = 20


def read_expression(
    adata: AnnData, layer: str | None, told: Expression | None = None
) -> tuple[sp.csr_matrix | ExpressionRows, Expression]:
    """Expression on a linear scale, and what it was found to be.

    In memory dense, CSR and CSC matrices of any numeric type give the same: canonical CSR float32, shape
    (n_obs, n_vars), without stored zeros, in memory of its own. What lies in a file or with Dask stays there, and is
    read a few rows at a time. `told` is what :func:`tell_all` said before genes were left out.
    """
    matrix, slot = pick_matrix(adata, layer, in_memory=False)
    if form_of(matrix) == "rows":
        rows = ExpressionRows(adata, layer, told)
        return rows, rows.expression
    x = take_rows(matrix, slice(None))
    expression = check_expression(x, adata, slot, told)
    return undo_log1p(x, expression), expression


def tell_all(adata: AnnData, layer: str | None) -> Expression | None:
    """What the matrix holds, by a sample of its rows; None where that cannot be told, or the values cannot be used."""
    matrix, slot = pick_matrix(adata, layer, in_memory=False)
    sample = take_rows(matrix, sample_rows(adata.n_obs))
    return tell_expression(sample, slot, recorded_log1p(adata, slot)) if is_usable(sample) else None


def read_log_expression(adata: AnnData, layer: str | None) -> tuple[sp.csr_matrix, Expression]:
    """Expression on a log scale, and what it was found to be: for methods that need no counts.

    Counts and other linear values become log(1 + 10,000 x / total of the cell); log-transformed values stay as they are,
    also where nothing tells how they were made: their base is then `"unknown"`.
    """
    matrix, slot = pick_matrix(adata, layer)
    x = take_rows(matrix, slice(None))
    check_values(x, adata, slot)
    expression = tell_expression(x[sample_rows(x.shape[0])], slot, recorded_log1p(adata, slot))
    if expression is None:
        return x, Expression(slot, "log1p", "unknown")
    return x if expression.kind == "log1p" else normalize(x, 1e4), expression


class ExpressionRows:
    """Expression on a linear scale, read a few rows at a time from memory, from a backed file or from Dask.

    What the matrix holds is told from a sample of its rows; every row is checked when it is read.

    Parameters
    ----------
    adata
        Cells x genes.
    layer
        Layer to use instead of X.
    told
        What :func:`tell_all` said before genes were left out.
    """

    def __init__(self, adata: AnnData, layer: str | None, told: Expression | None = None) -> None:
        self._adata, self.shape = adata, adata.shape
        #: As it lies in `adata`.
        self.matrix, self._slot = pick_matrix(adata, layer, in_memory=False)
        rows = sample_rows(adata.n_obs)
        #: What the matrix was found to hold.
        self.expression = check_expression(take_rows(self.matrix, rows), _Rows.of(adata, rows), self._slot, told)

    def __getitem__(self, rows: np.ndarray | slice) -> sp.csr_matrix:
        """CSR float32, canonical, in memory of its own."""
        x = take_rows(self.matrix, rows)
        check_values(x, _Rows.of(self._adata, rows), self._slot)
        return undo_log1p(x, self.expression)


class _Rows(NamedTuple):
    """What checks need of an AnnData, for some of its rows: a slice of a backed one would read its matrix."""

    obs_names: pd.Index
    var_names: pd.Index
    raw: Any
    uns: Any

    @classmethod
    def of(cls, adata: AnnData, rows: np.ndarray | slice) -> _Rows:
        return cls(adata.obs_names[rows], adata.var_names, adata.raw, adata.uns)


def in_columns(x: sp.csr_matrix, positions: np.ndarray) -> sp.csr_matrix:
    """The columns at `positions` of x, (n, m) -> (n, len(positions)); one of zeros where a position is -1."""
    found = np.flatnonzero(positions >= 0)
    place = sp.csr_matrix(
        (np.ones(len(found), dtype=x.dtype), (positions[found], found)), shape=(x.shape[1], len(positions))
    )
    picked = sp.csr_matrix(x @ place)
    picked.sort_indices()  # sums then round alike, in whatever order the columns came
    return picked


class Group(NamedTuple):
    """Cells that belong together."""

    name: str
    cells: np.ndarray
    """Their places."""


def read_groups(adata: AnnData, groupby: str | None) -> list[Group]:
    """The cells of each group that is large enough, or all of them where there is no column.

    Groups are in the order of their categories, else in natural order. Cells without a group belong to none.

    Raises
    ------
    KeyError
        There is no such column.
    ValueError
        No group is large enough.
    """
    if groupby is None:
        if adata.n_obs < _MIN_GROUP:
            logger.warning("%d cells say next to nothing of how genes go together", adata.n_obs)
        return [Group("", np.arange(adata.n_obs))]
    column = one_column(adata.obs, groupby, "groupby")
    names = column.astype("str").to_numpy()
    there = column.notna().to_numpy()
    ordered = (
        [str(name) for name in column.cat.categories]
        if isinstance(column.dtype, pd.CategoricalDtype)
        else natsorted(set(names[there]))
    )
    found = [Group(name, np.flatnonzero(there & (names == name))) for name in ordered]
    small = [group.name for group in found if 0 < len(group.cells) < _MIN_GROUP]
    found = [group for group in found if len(group.cells) >= _MIN_GROUP]
    if not found:
        msg = (
            f"adata.obs[{groupby!r}] has no group of at least {_MIN_GROUP} cells. Name a coarser column with groupby=, or "
            "leave it out."
        )
        raise ValueError(msg)
    if small:
        logger.info("groups of fewer than %d cells are left out (%s)", _MIN_GROUP, some(small))
    return found
