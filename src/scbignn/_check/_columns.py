"""Columns of obs and var: labels, batches, names of genes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from natsort import natsorted

from .._labels import label_text, says_no_label
from ._words import counted, some

logger = logging.getLogger(__name__)


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
    column = one_column(adata.obs, labels_key, "labels_key")
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
    nameless = [name for name in names if says_no_label(name)]
    if not may_be_complete and not unknown.any():
        which = f", or pass unlabeled_category={nameless[0]!r}, which some have" if nameless else ""
        msg = (
            f"every cell has a label in adata.obs[{labels_key!r}], so there is nothing to annotate. Set the cells to "
            f"label to {unlabeled_category!r} or NaN{which}. To see how well labels are recovered, hide some of them: "
            f'adata.obs["shown"] = adata.obs[{labels_key!r}].astype(object).where(np.arange(adata.n_obs) % 2 == 0), '
            'then pass labels_key="shown".'
        )
        raise ValueError(msg)
    if nameless:
        logger.warning(
            "obs[%r] holds %s, which is taken for a cell type. If it means that there is none, pass unlabeled_category=%r",
            labels_key,
            some(nameless),
            nameless[0],
        )
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
    column = one_column(adata.obs, batch_key, "batch_key")
    lacking = adata.obs_names[column.isna().to_numpy()]
    if len(lacking):
        where = f"adata.obs[{batch_key!r}]"
        msg = (
            f"{counted(len(lacking), 'cell')} without a batch in {where} ({some(lacking)}). Name it: "
            f'{where} = {where}.astype(object).fillna("missing").'
        )
        raise ValueError(msg)
    strings, names = batch_names(column, batch_key, np.ones(len(column), dtype=bool))
    if len(names) == 1:
        logger.warning("all cells are of one batch in obs[%r], %r: batch_key changes nothing", batch_key, names[0])
        return None
    codes = pd.Categorical(strings, categories=names).codes.astype(np.int64)
    if labels is not None:
        _warn_of_labels_in_one_batch(codes, labels)
    return Batches(codes, names)


def batch_names(column: pd.Series, batch_key: str, used: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Batches as strings, and in natural order the names of those that the used cells, (n,) bool, are of.

    Raises
    ------
    ValueError
        The column holds no batches.
    """
    strings = column.astype(object).map(label_text).to_numpy(dtype=object)
    names = natsorted(set(strings[used]))
    if len(names) > max(10, used.sum() / 2):
        msg = (
            f"adata.obs[{batch_key!r}] holds {len(names)} different values on {used.sum()} cells: names or measurements "
            "rather than batches. Pass the column that holds batches as batch_key."
        )
        raise ValueError(msg)
    return strings, names


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


def in_memory(table: Any) -> pd.DataFrame:
    """obs or var as a DataFrame, also of what `anndata.experimental.read_lazy` returned."""
    return table if isinstance(table, pd.DataFrame) else table.to_memory()


def pick_column(table: pd.DataFrame, name: str, argument: str, *, where: str = "adata.obs") -> pd.Series | pd.DataFrame:
    """A column of obs or var that an argument names; a DataFrame where several columns have that name.

    Raises
    ------
    KeyError
        There is no such column.
    TypeError
        It is no name.
    """
    check_name(name, argument)
    if name not in table.columns:
        msg = f"{where} has no column {name!r}. It has: {some(table.columns, 20)}. Pass one as {argument}."
        raise KeyError(msg)
    return table[name] if isinstance(table, pd.DataFrame) else in_memory(table[[name]])[name]


def one_column(table: pd.DataFrame, name: str, argument: str, *, where: str = "adata.obs") -> pd.Series:
    """As :func:`pick_column`, where there is but one of that name.

    Raises
    ------
    ValueError
        There are several.
    """
    column = pick_column(table, name, argument, where=where)
    if isinstance(column, pd.DataFrame):
        msg = f"{where} has {column.shape[1]} columns named {name!r}. Rename all but one."
        raise ValueError(msg)
    return column


def check_name(name: object, argument: str) -> None:
    if not pd.api.types.is_hashable(name):
        msg = f"{argument} is a {type(name).__name__}, {name!r}. Pass one name."
        raise TypeError(msg)


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
    strings = column.astype(object).map(label_text)
    unknown = (column.isna() | (strings == label_text(unlabeled_category))).to_numpy(dtype=bool)
    return strings.astype(object).where(~unknown, None)


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
    column = one_column(adata.var, gene_symbols, "gene_symbols", where="adata.var")
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
    found, var = {}, in_memory(var)
    for name in var.columns[~var.columns.duplicated(keep=False)]:
        values = var[name].astype(object)
        words = values.map(lambda value: isinstance(value, str) and " " not in value)
        if words.mean() > 0.5 and values[words].nunique() > len(values) / 2:
            found[name] = pd.Index(values)
    return found
