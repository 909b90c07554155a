"""What lies in each matrix, and which of them to use."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from .._check import Expression, common_total, sample_rows, take_rows, tell_expression, undo_log1p
from ._report import Finding

#: Rows brought into memory at a time.
_BLOCK = 2000
#: What is best to start from comes first.
_KINDS = ["counts", "log1p", "normalized"]


@dataclass(frozen=True)
class Matrix:
    """What was seen in a matrix of N cells and M genes, in R of its rows."""

    slot: str
    """Where it lies: "X", "layers['...']" or "raw.X"."""
    shape: tuple[int, int]
    """(N, M)."""
    rows: np.ndarray
    """(R,) int64, ascending: every row of a matrix in memory, else a sample."""
    totals: np.ndarray
    """(R,) float64, sums."""
    n_expressed: np.ndarray
    """(R,) int64, entries other than zero."""
    seen: np.ndarray
    """(M,) bool, genes with an entry other than zero in these rows."""
    wrong_rows: np.ndarray
    """(R,) bool, with a NaN or infinite value."""
    wrong_genes: np.ndarray
    """(M,) bool."""
    n_wrong: int
    """NaN or infinite values."""
    n_negative: int
    """Values below zero."""
    lowest: float
    """Of the finite values."""
    highest: float
    """Of the finite values."""
    digests: list[bytes]
    """(R,) equal for equal rows; empty where that was not asked for."""
    expression: Expression | None
    """What it holds; None where that cannot be told or it cannot be used."""
    total: float | None
    """Sum of every row on a linear scale, where that is one for all and the values are no counts."""

    @property
    def sampled(self) -> bool:
        """Whether only some rows were looked at."""
        return len(self.rows) < self.shape[0]


def survey(matrix: Any, slot: str, recorded: list[Expression], *, compare_rows: bool = False) -> Matrix | None:
    """Look through a matrix: all of it where it is in memory, else some of its rows; None where it holds no numbers.

    Parameters
    ----------
    matrix
        Dense or sparse array, or anything else that ``matrix[rows]`` brings into memory, such as a backed matrix, or
        ``matrix[rows].compute()``, such as a Dask array; (N, M), neither of them 0.
    slot
        How findings name it.
    recorded
        What scanpy recorded of it, as of :func:`scbignn._check.recorded_log1p`.
    compare_rows
        Whether `digests` is wanted.
    """
    if np.dtype(matrix.dtype).kind not in "biuf":
        return None
    n, m = matrix.shape
    in_memory = isinstance(matrix, np.ndarray) or sp.issparse(matrix)
    rows = np.arange(n) if in_memory else sample_rows(n)
    if sp.issparse(matrix):
        matrix = matrix.tocsr()
    totals, n_expressed, wrong_rows, digests = [], [], [], []
    seen, wrong_genes = np.zeros(m, dtype=bool), np.zeros(m, dtype=bool)
    n_wrong = n_negative = 0
    lowest, highest = np.inf, -np.inf
    for start in range(0, len(rows), _BLOCK):
        block = take_rows(matrix, rows[start : start + _BLOCK])
        wrong = ~np.isfinite(block.data)
        finite = block.data[~wrong]
        with np.errstate(invalid="ignore"):  # of infinities
            totals.append(np.asarray(block.astype(np.float64).sum(1)).ravel())
        n_expressed.append(np.diff(block.indptr))
        wrong_rows.append(_rows_with(block, wrong))
        if compare_rows:
            digests += _digests(block)
        seen[block.indices] = True
        wrong_genes[block.indices[wrong]] = True
        n_wrong += int(wrong.sum())
        n_negative += int((finite < 0).sum())
        lowest, highest = min(lowest, finite.min(initial=np.inf)), max(highest, finite.max(initial=-np.inf))
    counted = np.concatenate(n_expressed)
    expression = total = None
    if n_wrong == n_negative == 0 and counted.any():
        sample = take_rows(matrix, sample_rows(n)) if in_memory else block
        if not sample.nnz:
            sample = take_rows(matrix, rows[counted > 0][:1])
        sample = sample[np.diff(sample.indptr) > 0]
        expression = tell_expression(sample, slot, recorded)
        if expression is not None and expression.kind != "counts" and sample.shape[0] > 1:
            total = common_total(undo_log1p(sample, expression))
    return Matrix(
        slot=slot,
        shape=(n, m),
        rows=rows,
        totals=np.concatenate(totals),
        n_expressed=counted.astype(np.int64),
        seen=seen,
        wrong_rows=np.concatenate(wrong_rows),
        wrong_genes=wrong_genes,
        n_wrong=n_wrong,
        n_negative=n_negative,
        lowest=float(lowest),
        highest=float(highest),
        digests=digests,
        expression=expression,
        total=total,
    )


def _rows_with(block: sp.csr_matrix, mask: np.ndarray) -> np.ndarray:
    """Which rows have an entry that `mask`, shape (nnz,), picks."""
    found = np.zeros(block.shape[0], dtype=bool)
    found[np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))[mask]] = True
    return found


def _digests(block: sp.csr_matrix) -> list[bytes]:
    found = []
    for start, stop in zip(block.indptr[:-1], block.indptr[1:], strict=True):
        digest = hashlib.blake2b(block.indices[start:stop].astype(np.int64), digest_size=16)
        digest.update(block.data[start:stop])
        found.append(digest.digest())
    return found


def matrix_findings(matrices: dict[str, Matrix | None], used: str, choose: dict[str, str]) -> list[Finding]:
    """What each matrix holds, and whether another one than `used` is better.

    Parameters
    ----------
    matrices
        By slot; None where a slot holds no numbers.
    used
        The slot in question.
    choose
        The argument or line of code that makes each slot the one in question.
    """
    usable = {slot: matrix.expression.kind for slot, matrix in matrices.items() if matrix and matrix.expression}
    others = sorted((slot for slot in usable if slot != used), key=lambda slot: _KINDS.index(usable[slot]))
    n_genes = matrices[used].shape[1] if matrices[used] else None
    found = []
    for slot, matrix in matrices.items():
        text = "holds no numbers" if matrix is None else _describe(matrix)
        if matrix and n_genes not in {None, matrix.shape[1]}:
            text += f", of {matrix.shape[1]:,} genes"
        if slot != used:
            found.append(Finding(slot, "ok", text))
        elif slot not in usable:
            found.append(Finding(slot, "problem", text, choose[others[0]] if others else _without_wrong(matrix)))
        elif usable[slot] != "counts" and others and usable[others[0]] == "counts":
            found.append(Finding(slot, "note", f"{text}. The counts are in {others[0]}", choose[others[0]]))
        elif usable[slot] == "counts" and matrix.highest == 1:
            found.append(Finding(slot, "note", f"{text}: all are 0 or 1, so levels of expression are lost"))
        else:
            found.append(Finding(slot, "ok", text))
    return found


def _describe(matrix: Matrix) -> str:
    if matrix.n_wrong:
        n_cells, n_genes = int(matrix.wrong_rows.sum()), int(matrix.wrong_genes.sum())
        text = f"{matrix.n_wrong:,} values are NaN or infinite, in {n_cells:,} cells and {n_genes:,} genes"
    elif matrix.n_negative:
        text = (
            f"scaled or corrected values from {matrix.lowest:.3g} to {matrix.highest:.3g}, {matrix.n_negative:,} of "
            "them negative, which cannot be turned back into counts"
        )
    elif not matrix.n_expressed.any():
        text = "zero everywhere"
    elif matrix.expression is None:
        text = f"values up to {matrix.highest:.3g} that are neither counts, nor proportional to counts, nor their log1p"
    elif matrix.expression.kind == "counts":
        text = f"integer counts up to {matrix.highest:,.0f}, {np.median(matrix.totals):,.0f} in the median cell"
    elif matrix.expression.kind == "log1p":
        text = str(matrix.expression) if matrix.total is None else f"{matrix.expression} of {_sums(matrix.total)}"
    else:
        text = "values on a linear scale" if matrix.total is None else f"linear {_sums(matrix.total)}"
    return f"{text} (seen in {len(matrix.rows):,} of {matrix.shape[0]:,} cells)" if matrix.sampled else text


def _sums(total: float) -> str:
    return f"values that sum to {f'{total:,.0f}' if total >= 10 else f'{total:.3g}'} in every cell"


def _without_wrong(matrix: Matrix | None) -> str:
    """The line that removes NaN and infinite values with the fewest cells or genes."""
    if matrix is None or not matrix.n_wrong or matrix.sampled or (matrix.wrong_rows.all() and matrix.wrong_genes.all()):
        return ""
    values = f"adata.{matrix.slot}"
    if matrix.wrong_rows.mean() <= matrix.wrong_genes.mean():
        return f"adata = adata[np.isfinite(np.ravel({values}.sum(1)))].copy()"
    return f"adata = adata[:, np.isfinite(np.ravel({values}.sum(0)))].copy()"
