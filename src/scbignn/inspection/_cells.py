"""Cells that are empty, nearly so, or there twice."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .._check import counted, some
from ._matrix import Matrix
from ._report import Finding

#: A cell is poor with less than this share of the median.
_POOR = 0.05


def cell_findings(names: pd.Index, matrix: Matrix | None) -> list[Finding]:
    """What is odd about cells; one finding that nothing is, where that is so.

    Parameters
    ----------
    names
        Of the cells, (N,).
    matrix
        What :func:`survey` saw with ``compare_rows=True``; None where there are no values.
    """
    found = []
    if not names.is_unique:
        repeated = names[names.duplicated()].unique()
        text = f"{counted(len(repeated), 'name')} more than once: {some(repeated)}"
        found.append(Finding("cell names", "problem", text, "adata.obs_names_make_unique()"))
    if matrix is None or matrix.n_wrong:
        return found
    names = names[matrix.rows]
    empty = matrix.n_expressed == 0
    if empty.any() and not empty.all() and not matrix.n_negative:
        text = f"{_count(empty, matrix)} without any count: {some(names[empty])}"
        found.append(Finding("empty cells", "problem", text, _keep(matrix, "counts", 1)))
    if not empty.all() and not matrix.n_negative:
        found += _poor_cells(names, matrix, empty)
    found += _twins(names, matrix, empty)
    looked = f" among {len(names):,} of {matrix.shape[0]:,}" if matrix.sampled else ""
    return found or [Finding("cells", "ok", f"names differ; none empty, nearly empty or there twice{looked}")]


def _poor_cells(names: pd.Index, matrix: Matrix, empty: np.ndarray) -> list[Finding]:
    counts = matrix.expression is not None and matrix.expression.kind == "counts"
    values = matrix.totals if counts else matrix.n_expressed
    median = float(np.median(values[~empty]))
    least = int(np.ceil(_POOR * median))
    poor = ~empty & (values < least)
    if not poor.any():
        return []
    unit = "counts" if counts else "genes"
    text = f"{_count(poor, matrix)} with fewer than {least:,} {unit}, a twentieth of the median: {some(names[poor])}"
    return [Finding("poor cells", "note", text, _keep(matrix, unit, least))]


def _twins(names: pd.Index, matrix: Matrix, empty: np.ndarray) -> list[Finding]:
    digests = pd.Series(matrix.digests, dtype=object)
    again = digests.duplicated().to_numpy() & ~empty
    if not again.any():
        return []
    first = int(np.argmax(again))
    same = int(np.argmax(digests == digests[first]))
    pair = f"the first {names[first]!r} that of {names[same]!r}"
    text = f"{_count(again, matrix)} equal to an earlier one value for value, {pair}"
    layer = f"layer={matrix.slot[7:-1]}" if matrix.slot.startswith("layers") else ""
    mend = "" if matrix.sampled else f"adata = adata[~adata.to_df({layer}).duplicated().to_numpy()].copy()"
    return [Finding("equal cells", "note", text, mend)]


def _count(mask: np.ndarray, matrix: Matrix) -> str:
    of = f" of {len(mask):,} looked at" if matrix.sampled else ""
    return f"{counted(int(mask.sum()), 'cell')}{of}"


def _keep(matrix: Matrix, unit: str, least: int) -> str:
    if matrix.slot == "X":
        return f"sc.pp.filter_cells(adata, min_{unit}={least})"
    values = f"adata.{matrix.slot}" if unit == "counts" else f"(adata.{matrix.slot} != 0)"
    return f"adata = adata[np.ravel({values}.sum(1)) >= {least}].copy()"
