"""The matrix of expression: where it lies, and what its values are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from ._columns import check_name
from ._words import some

#: Cells looked at to tell counts from log-transformed values.
SAMPLE = 1000
#: log1p of anything plausible stays below this in every base.
_MAX_LOG = 30.0
_LOG_BASES = {"e": np.e, "2": 2.0, "10": 10.0}


@dataclass(frozen=True)
class Expression:
    """What a matrix was found to hold."""

    slot: str
    """Where it lies: "X" or "layers['...']"."""
    kind: Literal["counts", "normalized", "log1p"]
    """Integer counts; non-integer values on a linear scale; log1p of either."""
    base: str = ""
    """Base of the logarithm: "e", "2", "10", or "" where there is none."""

    def __str__(self) -> str:
        return f"log1p values (base {self.base})" if self.kind == "log1p" else self.kind


def check_layer(adata: AnnData, layer: str | None) -> None:
    """A layer that exists, or None."""
    check_name(layer, "layer")
    if layer is not None and layer not in adata.layers:
        names = [name for name in adata.layers if name is not None]
        msg = f"adata.layers has no {layer!r}. It has: {some(names, 20)}. Pass one as layer, or layer=None for adata.X."
        raise KeyError(msg)


def slot_name(layer: str | None) -> str:
    """How a message names the matrix."""
    return "X" if layer is None else f"layers[{layer!r}]"


def pick_matrix(adata: AnnData, layer: str | None, *, in_memory: bool = True) -> tuple[object, str]:
    """The expression matrix, by default in memory, and the name of its slot."""
    check_layer(adata, layer)
    matrix = adata.X if layer is None else adata.layers[layer]
    slot = slot_name(layer)
    if matrix is None:
        msg = "adata.X is empty. Set it to counts, or pass the name of a layer that holds them as layer."
        raise ValueError(msg)
    if in_memory and not (sp.issparse(matrix) or isinstance(matrix, np.ndarray)):
        msg = f"adata.{slot} is a {type(matrix).__name__}. Bring it into memory first: adata = adata.to_memory()."
        raise TypeError(msg)
    if len(matrix.shape) != 2:
        msg = f"adata.{slot} has {len(matrix.shape)} axes, not two, cells x genes. Pass a matrix with layer=..."
        raise ValueError(msg)
    masked = isinstance(matrix, np.ma.MaskedArray)
    if masked or np.dtype(matrix.dtype).kind not in "buif":
        what = "is masked" if masked else f"holds values of the type {np.dtype(matrix.dtype).name}"
        mend = "filled(0)" if masked else 'astype("float32")'
        msg = f"adata.{slot} {what}, not plain numbers. Turn it into such: adata.{slot} = adata.{slot}.{mend}."
        raise TypeError(msg)
    return matrix, slot


def take_rows(matrix: Any, rows: np.ndarray | slice) -> sp.csr_matrix:
    """Rows as canonical CSR float32 without stored zeros, in memory of their own.

    `matrix` is dense or sparse, or anything else that ``matrix[rows]`` brings into memory, such as a backed matrix, or
    ``matrix[rows].compute()``, such as a Dask array.
    """
    places = None
    if isinstance(rows, np.ndarray) and rows.dtype != bool and form_of(matrix) == "rows":
        rows, places = np.unique(rows, return_inverse=True)  # files want ascending numbers, each once
    part = matrix[rows]
    if hasattr(part, "compute"):
        part = part.compute()
    with np.errstate(over="ignore"):
        # float32 is what the networks will read.
        part = sp.csr_matrix(part.astype(np.float32), copy=True)
    if places is not None and not np.array_equal(places, np.arange(part.shape[0])):
        part = part[places]
    part.sum_duplicates()
    part.eliminate_zeros()
    return part


def form_of(matrix: Any) -> Literal["sparse", "dense", "rows"]:
    """How a matrix lies in memory; "rows" where it does not."""
    if sp.issparse(matrix):
        return "sparse"
    return "dense" if isinstance(matrix, np.ndarray) else "rows"


def count_values(matrix: Any) -> float:
    """How many values of a matrix as :func:`take_rows` takes it are not zero: as it is stored, or by a sample of rows."""
    if sp.issparse(matrix):
        return matrix.nnz
    rows = sample_rows(matrix.shape[0])
    return take_rows(matrix, rows).nnz * matrix.shape[0] / max(1, len(rows))


def check_expression(x: sp.csr_matrix, adata: AnnData, slot: str, told: Expression | None = None) -> Expression:
    """What the matrix holds, told from its values.

    NaN, infinite and negative values and empty cells are looked for everywhere; counts, linear values and log1p are
    told apart on a sample of cells, or are what was `told` of them when there were more genes: totals say much.

    Raises
    ------
    ValueError
        The values cannot be used.
    """
    check_values(x, adata, slot)
    sample = x[sample_rows(x.shape[0])]
    recorded = recorded_log1p(adata, slot)
    expression = tell_expression(sample, slot, recorded if told is None else [told, *recorded])
    if expression is None:
        of_x = "" if slot == "X" else f", which is said of X alone: adata.X = adata.{slot}.copy()"
        msg = (
            f"adata.{slot} holds non-integer values up to {sample.data.max():.3g} that look log-transformed, but "
            "neither log1p in base e, 2 or 10 nor linear values fit them. Pass counts with layer=..., or, if you know "
            f'that they are log(1 + x), say so with adata.uns["log1p"] = {{"base": None}}{of_x}.'
        )
        raise ValueError(msg)
    return expression


def sample_rows(n_obs: int) -> np.ndarray:
    """Up to `SAMPLE` rows, evenly spread, ascending."""
    return np.unique(np.linspace(0, n_obs - 1, min(SAMPLE, n_obs), dtype=np.int64))


def tell_expression(sample: sp.csr_matrix, slot: str, recorded: list[Expression]) -> Expression | None:
    """What some rows hold, told from their values; None where nothing fits them.

    `sample` is float32, finite and non-negative, and has neither stored zeros nor an empty row; `recorded` is what
    :func:`recorded_log1p` gives.
    """
    if (sample.data == np.round(sample.data)).all():
        return Expression(slot, "counts")
    if sample.data.max() > _MAX_LOG:
        return Expression(slot, "normalized")
    log1p = [Expression(slot, "log1p", name) for name in _LOG_BASES]
    # What is recorded comes first where the values bear it out, and last where nothing else fits them.
    for guess in (*recorded, Expression(slot, "normalized"), *log1p):
        if _is_proportional_to_counts(undo_log1p(sample, guess)):
            return guess
    return recorded[0] if recorded else None


def undo_log1p(x: sp.csr_matrix, expression: Expression) -> sp.csr_matrix:
    """The matrix on a linear scale: the same object where it is linear already."""
    if expression.kind != "log1p":
        return x
    base = _LOG_BASES.get(expression.base) or float(expression.base)
    return sp.csr_matrix((_expm1(x.data, base), x.indices, x.indptr), shape=x.shape)


def check_values(x: sp.csr_matrix, adata: AnnData, slot: str) -> None:
    """Finite values, none below zero, and no empty cell; x are the rows of `adata`."""
    wrong = ~np.isfinite(x.data)
    if wrong.any():
        msg = (
            f"adata.{slot} holds {wrong.sum()} NaN or infinite values, the first {_where(x, wrong, adata)}. "
            "Remove those cells or genes, or pass another matrix with layer=..."
        )
        raise ValueError(msg)
    wrong = x.data < 0
    if wrong.any():
        raw = "adata.raw holds another matrix: try adata.raw.to_adata(). " if adata.raw is not None else ""
        msg = (
            f"adata.{slot} holds {wrong.sum()} negative values, the first {_where(x, wrong, adata)}: scaled or "
            f"corrected data, which cannot be turned back into counts. {raw}Pass counts or log1p values with layer=..."
        )
        raise ValueError(msg)
    empty = np.flatnonzero(np.diff(x.indptr) == 0)
    if empty.size:
        msg = (
            f"{empty.size} cells have no counts in adata.{slot} ({some(adata.obs_names[empty])}). "
            "Remove them: sc.pp.filter_cells(adata, min_counts=1)."
        )
        raise ValueError(msg)


def is_usable(x: sp.csr_matrix) -> bool:
    """Whether :func:`check_values` finds nothing wrong, for where nobody knows what cells and genes are called."""
    return bool(np.isfinite(x.data).all() and (x.data >= 0).all() and np.diff(x.indptr).all())


def _is_proportional_to_counts(x: sp.csr_matrix) -> bool:
    """Whether each row is a multiple of small integers, or all of several rows have the same sum."""
    if x.shape[0] > 1 and common_total(x) is not None:
        return True
    smallest = np.minimum.reduceat(x.data, x.indptr[:-1])
    ratio = x.data / np.repeat(smallest, np.diff(x.indptr))
    if ratio.max() < 1 + 1e-6:
        return True  # ones, whatever they are a multiple of
    ratio = ratio[(ratio > 1.5) & (ratio < 20)]  # 1 itself says nothing; large ratios carry rounding
    return ratio.size > 0 and np.mean(np.abs(ratio - np.round(ratio)) < 0.03) > 0.9


def common_total(x: sp.csr_matrix) -> float | None:
    """The sum of every row, or None where rows differ by more than a thousandth."""
    totals = np.asarray(x.astype(np.float64).sum(1)).ravel()
    return float(totals.mean()) if np.ptp(totals) <= 1e-3 * totals.mean() else None


def _expm1(values: np.ndarray, base: float) -> np.ndarray:
    return np.expm1(values.astype(np.float64) * np.log(base)).astype(np.float32)


def recorded_log1p(adata: AnnData, slot: str) -> list[Expression]:
    """What scanpy recorded when it took the logarithm of X, where a base of None is e; empty where there is nothing."""
    record = adata.uns.get("log1p") if slot == "X" else None
    if not isinstance(record, Mapping):
        return []
    base = record.get("base")
    if base is None:
        return [Expression(slot, "log1p", "e")]
    try:
        number = float(_LOG_BASES.get(base, base) if isinstance(base, str) else base)
    except (TypeError, ValueError):
        return []  # what cannot be read says nothing
    names = [name for name, value in _LOG_BASES.items() if np.isclose(value, number)]
    return [Expression(slot, "log1p", names[0] if names else str(number))] if number > 1 else []


def _where(x: sp.csr_matrix, wrong: np.ndarray, adata: AnnData) -> str:
    entry = int(np.argmax(wrong))
    row = int(np.searchsorted(x.indptr, entry, side="right")) - 1
    gene = adata.var_names[x.indices[entry]]
    return f"{x.data[entry]:.3g} in cell {adata.obs_names[row]!r}, gene {gene!r}"
