"""`pp.inspect`."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
from anndata import AnnData
from natsort import natsorted

from .._check import (
    check_layer,
    check_type,
    gene_names,
    in_memory,
    label_strings,
    name_columns,
    other_gene_names,
    pick_column,
    recorded_log1p,
    slot_name,
    some,
)
from ..inspection import (
    Finding,
    Matrix,
    Report,
    batch_findings,
    cell_findings,
    columns_like,
    gene_findings,
    label_findings,
    matrix_findings,
    overlap_findings,
    survey,
)


def inspect(
    adata: AnnData,
    reference: Any = None,
    *,
    labels_key: str | None = None,
    batch_key: str | None = None,
    gene_symbols: str | None = None,
    layer: str | None = None,
    unlabeled_category: object = "Unknown",
) -> Report:
    """Look for what will go wrong before it does: where the counts are, what genes are called, odd labels and cells.

    Nothing is changed, and no data are refused: what is wrong with them is in the report, with the line that mends it.
    A matrix in memory is looked at in full; of one on disk or of Dask, up to 1,000 rows are read.

    Parameters
    ----------
    adata
        Annotated data, cells x genes, in memory, backed or of Dask.
    reference
        What `adata` is to be compared with: an AnnData, or a model, which has `genes` and may have `labels`.
    labels_key
        Column of `adata.obs` with labels. Where `reference` is an AnnData, its column of that name is compared.
    batch_key
        Column of `adata.obs` with batches.
    gene_symbols
        Column of `adata.var` with the gene names to use instead of `adata.var_names`.
    layer
        Layer to use instead of `adata.X`.
    unlabeled_category
        Cells that carry this label, or none (NaN), count as unlabelled.

    Returns
    -------
    Report
        It prints as a table. ``report.ok`` is false where there is a problem; ``report.findings`` holds each finding,
        with `what`, `level` ("ok", "note" or "problem"), `found` and `mend`; ``report.to_frame()`` is all of it as a
        DataFrame.

    Raises
    ------
    KeyError
        There is no such column or layer. A `labels_key` that only the reference has is fine.
    TypeError
        `adata` is no AnnData, `reference` has no genes, or `unlabeled_category` is not one label.

    Examples
    --------
    >>> import scbignn
    >>> adata = scbignn.datasets.simulated(n_cells=120, n_genes=60)
    >>> report = scbignn.pp.inspect(adata, labels_key="cell_type")
    >>> report.ok
    True
    """
    check_type(adata)
    check_layer(adata, layer)
    other = None if reference is None else _read_reference(reference, labels_key, unlabeled_category)
    labels_there = labels_key in adata.obs or other is None or other.labels is None
    labels, twice = _column(adata.obs, labels_key if labels_there else None, "labels_key")
    batches, batches_twice = _column(adata.obs, batch_key, "batch_key")
    symbols, symbols_twice = _column(adata.var, gene_symbols, "gene_symbols")
    if labels is not None:
        labels = label_strings(labels, unlabeled_category)
    if not adata.n_obs or not adata.n_vars:
        missing = "cells" if not adata.n_obs else "genes"
        return Report(adata.n_obs, adata.n_vars, (Finding("adata", "problem", f"there are no {missing}"),))

    matrices = _survey_all(adata, slot_name(layer))
    used = matrices[slot_name(layer)]
    choose = {slot_name(name): f"layer={name!r}" for name in (None, *adata.layers)}
    found = matrix_findings(matrices, slot_name(layer), choose | {"raw.X": "adata = adata.raw.to_adata()"})
    found += cell_findings(adata.obs_names, used)

    slot = "var_names" if symbols is None else f"var[{gene_symbols!r}]"
    names = adata.var_names if symbols is None else gene_names(adata, gene_symbols)
    others = other_gene_names(adata, None if symbols is None else gene_symbols)
    empty = None if used is None or used.sampled or used.n_negative else ~used.seen
    found += [*symbols_twice, *gene_findings(names, others, empty, slot=slot)]
    if other is not None:
        found += overlap_findings(other.genes, names, others, other.columns, genes=other.code, target=f"adata.{slot}")

    found += twice
    if labels is not None:
        found += label_findings(labels, labels_key, unlabeled_category, None if other is None else other.labels)
    elif labels_key is None:
        found += _candidates(in_memory(adata.obs), "labels", "labels_key")
    elif not twice:
        text = f"adata has no obs[{labels_key!r}]; the reference has {len(other.labels):,} labels: {some(other.labels)}"
        found.append(Finding("labels", "ok", text))
    found += batches_twice
    if batches is not None:
        found += batch_findings(label_strings(batches, None), batch_key, labels)
    elif batch_key is None:
        found += _candidates(in_memory(adata.obs), "batches", "batch_key")
    return Report(adata.n_obs, adata.n_vars, tuple(found))


class _Reference(NamedTuple):
    genes: pd.Index
    code: str
    """How code writes `genes`."""
    columns: dict[str, pd.Index]
    """Other names of the genes, by the line of code that chooses them."""
    labels: list[str] | None


def _read_reference(reference: Any, labels_key: str | None, unlabeled_category: object) -> _Reference:
    if isinstance(reference, AnnData):
        lines = {
            f"reference.var_names = reference.var[{name!r}]": column
            for name, column in name_columns(reference.var).items()
        }
        column = in_memory(reference.obs).get(labels_key) if labels_key is not None else None
        labels = None
        if isinstance(column, pd.Series):
            labels = natsorted(label_strings(column, unlabeled_category).dropna().unique())
        return _Reference(reference.var_names, "reference.var_names", lines, labels)
    if getattr(reference, "genes", None) is None:
        msg = f"reference is a {type(reference).__name__} without genes. Pass an AnnData or a model."
        raise TypeError(msg)
    labels = getattr(reference, "labels", None)
    return _Reference(pd.Index(reference.genes), "reference.genes", {}, None if labels is None else list(labels))


def _column(table: pd.DataFrame, name: str | None, argument: str) -> tuple[pd.Series | None, list[Finding]]:
    """A column, or None and a finding where several have its name."""
    where = "var" if argument == "gene_symbols" else "obs"
    column = None if name is None else pick_column(table, name, argument, where=f"adata.{where}")
    if not isinstance(column, pd.DataFrame):
        return column, []
    text = f"{where} has {column.shape[1]} columns named {name!r}, so none was looked at"
    mend = f"adata.{where} = adata.{where}.loc[:, ~adata.{where}.columns.duplicated()]"
    return None, [Finding(argument, "problem", text, mend)]


def _survey_all(adata: AnnData, used: str) -> dict[str, Matrix | None]:
    """What lies in each slot, `used` always among them."""
    slots = {"X": adata.X, **{slot_name(name): adata.layers[name] for name in adata.layers if name is not None}}
    if adata.raw is not None:
        slots["raw.X"] = adata.raw.X
    found = {}
    for slot, matrix in slots.items():
        if matrix is not None or slot == used:
            recorded = recorded_log1p(adata, "X" if slot == "raw.X" else slot)
            found[slot] = None if matrix is None else survey(matrix, slot, recorded, compare_rows=slot == used)
    return found


def _candidates(obs: pd.DataFrame, what: str, argument: str) -> list[Finding]:
    columns = columns_like(obs, what)
    if not columns:
        return []
    listed = ", ".join(f"{name!r} ({n_values:,})" for name, n_values in columns.items())
    return [Finding(what, "ok", f"not looked at; {argument} could be {listed}")]
