"""Every check of what a user hands over; every message ends with what to do next."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from natsort import natsorted

from ._keys import (
    AnnotationKeys,
    AuditKeys,
    BackOffKeys,
    ClusterKeys,
    CrossValidationKeys,
    GrnKeys,
    is_annotation,
    is_audit,
    is_back_off,
    is_clustering,
    is_cross_validation,
    is_grn,
)

logger = logging.getLogger(__name__)

#: Cells looked at to tell counts from log-transformed values.
SAMPLE = 1000
#: log1p of anything plausible stays below this in every base.
_MAX_LOG = 30.0
#: What tells an earlier run of each kind.
_EARLIER = {
    AnnotationKeys: is_annotation,
    AuditKeys: is_audit,
    BackOffKeys: is_back_off,
    ClusterKeys: is_clustering,
    CrossValidationKeys: is_cross_validation,
    GrnKeys: is_grn,
}
_LOG_BASES = {"e": np.e, "2": 2.0, "10": 10.0}
#: Names that no slot of a file can have.
_RESERVED = frozenset({"", ".", "..", "_index"})


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


@dataclass(frozen=True)
class Labels:
    """A label column as codes."""

    codes: np.ndarray
    """int64, shape (n_obs,); -1 for the cells to label."""
    names: list[str]
    """Labels in natural order; `codes` counts in it."""


@dataclass(frozen=True)
class Batches:
    """A batch column as codes."""

    codes: np.ndarray
    """int64, shape (n_obs,)."""
    names: list[str]
    """Batches in natural order; `codes` counts in it."""


def check_type(adata: AnnData) -> None:
    """An AnnData, of whatever content."""
    if not isinstance(adata, AnnData):
        msg = f"adata is a {type(adata).__name__}, not an AnnData. Build one with anndata.AnnData(X, obs=..., var=...)."
        raise TypeError(msg)


def check_anndata(adata: AnnData, *, in_memory: bool = True) -> None:
    """An AnnData that has cells and genes, with unique names, and by default in memory."""
    check_type(adata)
    if in_memory and adata.isbacked:
        msg = "adata is backed by a file, which this function does not support. Use adata = adata.to_memory() first."
        raise ValueError(msg)
    for axis, index, mend in (
        ("cell", adata.obs_names, "adata.obs_names_make_unique()"),
        ("gene", adata.var_names, "adata.var_names_make_unique()"),
    ):
        if not len(index):
            msg = f"adata has no {axis}s: its shape is {adata.shape}. Look at how it was made or subset."
            raise ValueError(msg)
        if not index.is_unique:
            repeated = index[index.duplicated()].unique()
            msg = f"{len(repeated)} {axis} names occur more than once ({some(repeated)}). Use {mend} first."
            raise ValueError(msg)


def check_writable(adata: AnnData, *, copy: bool) -> None:
    """An AnnData that takes new slots: anndata makes no copy of one that is backed, nor writes to a view of one."""
    if adata.isbacked and (copy or adata.is_view):
        what = "so that there is no copy=True of it" if copy else "and a view, which takes no new slots"
        msg = f"adata is backed by a file, {what}. Use adata = adata.to_memory() first."
        raise ValueError(msg)


def generator_of(rng: int | np.random.Generator | None) -> np.random.Generator:
    """A generator, or the one that a seed stands for; None stands for a new one each time.

    Raises
    ------
    TypeError, ValueError
        It is neither, or the seed is negative.
    """
    if rng is not None and not isinstance(rng, np.random.Generator):
        if isinstance(rng, bool) or not isinstance(rng, Integral):
            msg = f"rng is {rng!r}. Pass a seed, such as rng=0, or a numpy.random.Generator."
            raise TypeError(msg)
        if rng < 0:
            msg = f"rng={rng} must be non-negative. Pass a seed, such as rng=0."
            raise ValueError(msg)
    return np.random.default_rng(rng)


def checkpoint_folder(checkpoint_dir: str | Path | None) -> Path | None:
    """A folder that is there or can be made, as far as its name tells.

    Raises
    ------
    TypeError
        It is no path.
    ValueError
        It is a file, or would lie in one.
    """
    if checkpoint_dir is None:
        return None
    if not isinstance(checkpoint_dir, (str, os.PathLike)):
        msg = f"checkpoint_dir is {checkpoint_dir!r}. Pass the name of a folder."
        raise TypeError(msg)
    path = Path(checkpoint_dir)
    there = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if not there.is_dir():
        what = "is a file" if there == path.absolute() else f"would lie in a file, {there}"
        msg = f"checkpoint_dir={str(checkpoint_dir)!r} {what}. Name another folder."
        raise ValueError(msg)
    return path


def check_new_key(adata: AnnData, key_added: str, labels_key: str | None = None) -> None:
    """A name whose slots hold nothing of the user's: they are free, or of an earlier run, and not the labels."""
    check_free(adata, AnnotationKeys(key_added), labels_key)


def check_free(
    adata: AnnData,
    keys: AnnotationKeys | AuditKeys | BackOffKeys | ClusterKeys | CrossValidationKeys | GrnKeys,
    labels_key: str | None = None,
) -> None:
    """Slots that are free, or of an earlier run of the same kind, and not the labels."""
    _check_key(keys.key)
    mend = f'Use another name, such as key_added="{keys.key}_predicted".'
    if labels_key is not None and labels_key in keys.slots["obs"]:
        msg = f"key_added={keys.key!r} would overwrite the labels in adata.obs[{labels_key!r}]. {mend}"
        raise ValueError(msg)
    if _EARLIER[type(keys)](adata.uns.get(keys.key)):
        return
    for attribute, names in keys.slots.items():
        taken = [name for name in names if name in getattr(adata, attribute)]
        if taken:
            msg = f"key_added={keys.key!r} would overwrite adata.{attribute}[{taken[0]!r}]. {mend}"
            raise ValueError(msg)


def _check_key(key_added: str) -> None:
    if not isinstance(key_added, str) or key_added in _RESERVED or "/" in key_added or "\0" in key_added:
        msg = (
            f'key_added={key_added!r} must be a non-empty string without "/" that file formats do not reserve. '
            'Use for example key_added="scbignn".'
        )
        raise ValueError(msg)


def read_labels(
    adata: AnnData, labels_key: str, unlabeled_category: object, *, may_be_complete: bool = False
) -> Labels:
    """The label column: which cells are labelled, and how; all of them only if that may be.

    Raises
    ------
    KeyError
        There is no such column.
    ValueError
        No cell is labelled, all are, or all labels are one.
    """
    column = pick_column(adata.obs, labels_key, "labels_key")
    if isinstance(column, pd.DataFrame):
        msg = f"adata.obs has {column.shape[1]} columns named {labels_key!r}. Rename all but one."
        raise ValueError(msg)
    strings = label_strings(column, unlabeled_category)
    unknown = strings.isna().to_numpy()
    known, strings = column.astype(object)[~unknown], strings[~unknown]
    if not known.map(lambda value: isinstance(value, str)).all():
        logger.info("labels in obs[%r] are not strings and were converted, such as %s", labels_key, some(strings, 3))
    names = natsorted(strings.unique())
    if not names:
        msg = (
            f"no cell has a label in adata.obs[{labels_key!r}]: all are missing or {unlabeled_category!r}. "
            "Label some cells of each type, or pass the column that holds labels as labels_key."
        )
        raise ValueError(msg)
    if len(names) == 1:
        msg = (
            f"adata.obs[{labels_key!r}] holds a single label, {names[0]!r}, so there is nothing to tell apart. "
            "Label cells of at least two types."
        )
        raise ValueError(msg)
    if pd.api.types.is_float_dtype(column.dtype) and len(names) > max(20, len(strings) / 2):
        msg = (
            f"adata.obs[{labels_key!r}] holds {len(names)} different numbers on {len(strings)} cells: measurements rather "
            "than labels. Pass the column that holds labels as labels_key."
        )
        raise ValueError(msg)
    if not may_be_complete and not unknown.any():
        msg = (
            f"every cell has a label in adata.obs[{labels_key!r}], so there is nothing to annotate. Set the cells to "
            f"label to {unlabeled_category!r} or NaN. To see how well labels are recovered, hide some of them: "
            f'adata.obs["shown"] = adata.obs[{labels_key!r}].astype(object).where(np.arange(adata.n_obs) % 2 == 0), '
            'then pass labels_key="shown".'
        )
        raise ValueError(msg)
    codes = np.full(adata.n_obs, -1, dtype=np.int64)
    codes[~unknown] = pd.Categorical(strings, categories=names).codes
    once = [name for name, count in zip(names, np.bincount(codes[~unknown]), strict=True) if count == 1]
    if once:
        logger.warning("%d labels occur on one cell only (%s): expect little of them", len(once), some(once))
    return Labels(codes, names)


def read_batches(adata: AnnData, batch_key: str | None, labels: Labels | None = None) -> Batches | None:
    """The batch column; None where none is asked for, or where all cells are of one batch.

    Raises
    ------
    KeyError
        There is no such column.
    ValueError
        Cells lack a batch, or the column holds no batches.
    """
    if batch_key is None:
        return None
    column = batch_column(adata, batch_key)
    lacking = adata.obs_names[column.isna().to_numpy()]
    if len(lacking):
        where = f"adata.obs[{batch_key!r}]"
        msg = (
            f"{counted(len(lacking), 'cell')} without a batch in {where} ({some(lacking)}). Name it: "
            f'{where} = {where}.astype(object).fillna("missing").'
        )
        raise ValueError(msg)
    strings = column.astype(object).map(_as_string).to_numpy()
    names = natsorted(set(strings))
    if len(names) > max(10, len(strings) / 2):
        msg = (
            f"adata.obs[{batch_key!r}] holds {len(names)} different values on {len(strings)} cells: names or measurements "
            "rather than batches. Pass the column that holds batches as batch_key."
        )
        raise ValueError(msg)
    if len(names) == 1:
        logger.warning("all cells are of one batch in obs[%r], %r: batch_key changes nothing", batch_key, names[0])
        return None
    codes = pd.Categorical(strings, categories=names).codes.astype(np.int64)
    if labels is not None:
        _warn_of_labels_in_one_batch(codes, labels)
    return Batches(codes, names)


def _warn_of_labels_in_one_batch(batches: np.ndarray, labels: Labels) -> None:
    known = labels.codes >= 0
    if len(np.unique(batches[known])) < 2:
        return
    alone = [name for code, name in enumerate(labels.names) if len(np.unique(batches[labels.codes == code])) == 1]
    if alone:
        logger.warning(
            "%s in one batch only (%s): how sure one may be of them in another cannot be told",
            counted(len(alone), "label"),
            some(alone),
        )


def batch_column(adata: AnnData, batch_key: str) -> pd.Series:
    """The one column of that name.

    Raises
    ------
    KeyError
        There is none.
    ValueError
        There are several.
    """
    column = pick_column(adata.obs, batch_key, "batch_key")
    if isinstance(column, pd.DataFrame):
        msg = f"adata.obs has {column.shape[1]} columns named {batch_key!r}. Rename all but one."
        raise ValueError(msg)
    return column


def pick_column(table: pd.DataFrame, name: str, argument: str, *, where: str = "adata.obs") -> pd.Series | pd.DataFrame:
    """A column of obs or var that an argument names; a DataFrame where several columns have that name.

    Raises
    ------
    KeyError
        There is no such column.
    TypeError
        It is no name.
    """
    _check_name(name, argument)
    if name not in table:
        msg = f"{where} has no column {name!r}. It has: {some(table.columns, 20)}. Pass one as {argument}."
        raise KeyError(msg)
    return table[name]


def label_strings(column: pd.Series, unlabeled_category: object) -> pd.Series:
    """Labels as strings, of dtype object, with None on the cells to label.

    Raises
    ------
    TypeError
        `unlabeled_category` is not one label.
    """
    if not pd.api.types.is_scalar(unlabeled_category):
        msg = f'unlabeled_category={unlabeled_category!r} must be one label, such as "Unknown".'
        raise TypeError(msg)
    strings = column.astype(object).map(_as_string)
    unknown = (column.isna() | (strings == _as_string(unlabeled_category))).to_numpy(dtype=bool)
    return strings.astype(object).where(~unknown, None)


def _as_string(value: object) -> str:
    """A label as a string; 1.0 is "1", since a missing value turns whole numbers into floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def check_n_neighbors(n_neighbors: int, n_obs: int) -> None:
    """Fewer neighbours than cells."""
    if n_neighbors >= n_obs:
        msg = f"n_neighbors={n_neighbors} is too large for {n_obs} cells. Use n_neighbors of at most {n_obs - 1}."
        raise ValueError(msg)


def check_transformer(transformer: object) -> None:
    """It is None, or searches neighbours as scikit-learn's KNeighborsTransformer does.

    Raises
    ------
    TypeError
        It is a class, has no such interface, or has no parameter `n_neighbors`.
    """
    if transformer is None:
        return
    mend = (
        "Pass an instance with the interface of sklearn.neighbors.KNeighborsTransformer, such as "
        "pynndescent.PyNNDescentTransformer(), or leave it out."
    )
    if isinstance(transformer, type):
        msg = f"transformer is the class {transformer.__name__}, not an instance of it. {mend}"
        raise TypeError(msg)
    found = f"transformer is {transformer!r}, a {type(transformer).__name__}"
    methods = ("get_params", "set_params", "fit_transform")
    lacking = [name for name in methods if not callable(getattr(transformer, name, None))]
    if lacking:
        msg = f"{found} without {', '.join(lacking)}. {mend}"
        raise TypeError(msg)
    if "n_neighbors" not in transformer.get_params(deep=False):
        msg = f"{found} without a parameter n_neighbors. {mend}"
        raise TypeError(msg)


def check_n_clusters(n_clusters: int | None, n_obs: int) -> None:
    """None, or a number of clusters that the cells can make.

    Raises
    ------
    TypeError, ValueError
        It is no number, less than 2, or more than the cells.
    """
    if n_obs < 2:
        msg = f"adata has {counted(n_obs, 'cell')}, which makes no clusters. Look at how it was made or subset."
        raise ValueError(msg)
    if n_clusters is None:
        return
    if isinstance(n_clusters, bool) or not isinstance(n_clusters, Integral):
        msg = f"n_clusters={n_clusters!r} must be an integer. Use for example n_clusters=8, or None to estimate it."
        raise TypeError(msg)
    if not 2 <= n_clusters <= n_obs:
        msg = (
            f"n_clusters={n_clusters} must be at least 2, and at most the number of cells, {n_obs}. Use None to "
            "estimate it."
        )
        raise ValueError(msg)


def cell_pairs(adata: AnnData, pairs: object, argument: str) -> np.ndarray:
    """Pairs of cells by their names, as positions, (P, 2) int64; None is no pair.

    Raises
    ------
    KeyError
        There is no such cell.
    TypeError, ValueError
        They are no pairs of names, or a cell is paired with itself.
    """
    mend = f'Pass pairs of names in adata.obs_names, such as {argument}=[("cell_1", "cell_2")].'
    if pairs is None:
        return np.zeros((0, 2), dtype=np.int64)
    if isinstance(pairs, (str, Mapping)) or not hasattr(pairs, "__iter__"):
        msg = f"{argument} is a {type(pairs).__name__}. {mend}"
        raise TypeError(msg)
    pairs = [(pair,) if isinstance(pair, str) or not hasattr(pair, "__iter__") else tuple(pair) for pair in pairs]
    odd = next((pair for pair in pairs if len(pair) != 2), None)
    if odd is not None:
        msg = f"{argument} holds {odd!r}, which is no pair. {mend}"
        raise ValueError(msg)
    names = np.array([str(name) for pair in pairs for name in pair], dtype=object)
    places = adata.obs_names.get_indexer(names)
    if (places < 0).any():
        msg = f"adata.obs_names has no {names[places < 0][0]!r}, which {argument} names. {mend}"
        raise KeyError(msg)
    places = places.reshape(-1, 2).astype(np.int64)
    same = np.flatnonzero(places[:, 0] == places[:, 1])
    if same.size:
        msg = f"{argument} pairs {pairs[same[0]][0]!r} with itself. {mend}"
        raise ValueError(msg)
    return places


def gene_names(adata: AnnData, gene_symbols: str | None) -> pd.Index:
    """What genes are called: the index of `adata.var`, or the column of it that `gene_symbols` names.

    Raises
    ------
    KeyError
        There is no such column.
    ValueError
        There are several.
    """
    if gene_symbols is None:
        return adata.var_names
    column = pick_column(adata.var, gene_symbols, "gene_symbols", where="adata.var")
    if isinstance(column, pd.DataFrame):
        msg = f"adata.var has {column.shape[1]} columns named {gene_symbols!r}. Rename all but one."
        raise ValueError(msg)
    return pd.Index(column.astype(object))


def other_gene_names(adata: AnnData, gene_symbols: str | None) -> dict[str, pd.Index]:
    """What genes could be called instead of `gene_names`: the names, by the argument or line that chooses them."""
    found = {} if gene_symbols is None else {"gene_symbols=None": adata.var_names}
    for name, column in name_columns(adata.var).items():
        if name != gene_symbols:
            found[f"gene_symbols={name!r}"] = column
    if adata.raw is not None:
        found["adata = adata.raw.to_adata()"] = adata.raw.var_names
        for name, column in name_columns(adata.raw.var).items():
            found[f"adata = adata.raw.to_adata()  # and then gene_symbols={name!r}"] = column
    return found


def name_columns(var: pd.DataFrame) -> dict[str, pd.Index]:
    """Columns of words most of which differ."""
    found = {}
    for name in var.columns[~var.columns.duplicated(keep=False)]:
        values = var[name].astype(object)
        words = values.map(lambda value: isinstance(value, str) and " " not in value)
        if words.mean() > 0.5 and values[words].nunique() > len(values) / 2:
            found[name] = pd.Index(values)
    return found


def check_layer(adata: AnnData, layer: str | None) -> None:
    """A layer that exists, or None."""
    _check_name(layer, "layer")
    if layer is not None and layer not in adata.layers:
        names = [name for name in adata.layers if name is not None]
        msg = f"adata.layers has no {layer!r}. It has: {some(names, 20)}. Pass one as layer, or layer=None for adata.X."
        raise KeyError(msg)


def _check_name(name: object, argument: str) -> None:
    if not pd.api.types.is_hashable(name):
        msg = f"{argument} is a {type(name).__name__}, {name!r}. Pass one name."
        raise TypeError(msg)


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
    part = matrix[rows]
    if hasattr(part, "compute"):
        part = part.compute()
    with np.errstate(over="ignore"):
        # float32 is what the networks will read.
        part = sp.csr_matrix(part.astype(np.float32), copy=True)
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


def check_expression(x: sp.csr_matrix, adata: AnnData, slot: str) -> Expression:
    """What the matrix holds, told from its values.

    NaN, infinite and negative values and empty cells are looked for everywhere; counts, linear values and log1p are
    told apart on a sample of cells.

    Raises
    ------
    ValueError
        The values cannot be used.
    """
    check_values(x, adata, slot)
    sample = x[sample_rows(x.shape[0])]
    expression = tell_expression(sample, slot, recorded_log1p(adata, slot))
    if expression is None:
        msg = (
            f"adata.{slot} holds non-integer values up to {sample.data.max():.3g} that look log-transformed, but "
            "neither log1p in base e, 2 or 10 nor linear values fit them. Pass counts with layer=..., or, if you know "
            'that they are log(1 + x), say so with adata.uns["log1p"] = {"base": None}.'
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
    """Whether each row is a multiple of small integers, or all rows have the same sum."""
    if common_total(x) is not None:
        return True
    smallest = np.minimum.reduceat(x.data, x.indptr[:-1])
    ratio = x.data / np.repeat(smallest, np.diff(x.indptr))
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


def counted(number: int, noun: str) -> str:
    """A number and what it counts: "1 cell", "1,200 cells"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some(values: object, limit: int = 5) -> str:
    """The first few, quoted."""
    values = list(values)
    listed = ", ".join(repr(str(value)) for value in values[:limit]) or "none"
    return f"{listed}, ..." if len(values) > limit else listed
