"""`tl.cross_validate`."""

from __future__ import annotations

import logging
import time
from importlib.metadata import version
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from .._adata import Slot, label_colors, write_slots
from .._check import Labels, batch_names, check_anndata, check_free, check_writable, one_column, some
from .._checkpoints import end_run
from .._keys import CrossValidationKeys
from .._training import progress_bar
from ..annotation import Config, deal_folds, validation_tables
from ..annotation import cross_validate as cross_validate_cells
from ._learn import prepare, run_params

logger = logging.getLogger(__name__)


def cross_validate(
    adata: AnnData,
    labels_key: str,
    *,
    n_splits: int = 5,
    batch_key: str | None = None,
    unlabeled_category: object = "Unknown",
    layer: str | None = None,
    transformer: Any = None,
    config: Config | None = None,
    key_added: str = "scbignn_cv",
    device: str = "auto",
    backend: Literal["auto", "dgl", "torch"] = "auto",
    rng: int | np.random.Generator = 0,
    checkpoint_dir: str | Path | None = None,
) -> None:
    """How well :func:`scbignn.tl.annotate` recovers labels that it is not shown, on your own data.

    Labelled cells are dealt to folds, the cells of each label evenly, or with `batch_key` each batch is a fold. Each fold
    in turn loses its labels, and everything runs anew without them: genes, anchors, both networks, calibration. Cells of
    a fold stay in sight without their labels, as the cells to annotate are (**transductive**).

    Parameters
    ----------
    adata
        Annotated data with labelled cells, all or some; of any sort that :func:`scbignn.tl.annotate` takes.
    labels_key
        Column of `adata.obs` with the known labels.
    n_splits
        Number of folds, at least 2. Not used with `batch_key`.
    batch_key
        Column of `adata.obs` with donors or batches, each to be annotated by the others: what to expect of new ones. As
        with the `batch_key` of :func:`scbignn.tl.annotate`, the others' batches count in the choice of genes and for
        confidence; that takes longer.
    unlabeled_category, layer, transformer, config, device, backend, rng
        As in :func:`scbignn.tl.annotate`. Unlabelled cells are in sight in every fold.
    key_added
        Name from which all slots below are derived.
    checkpoint_dir
        Folder that keeps finished folds; in it, one keeps the fold that is running. Started again with the same
        arguments after an interruption, the run goes on from there, to the same result. It is emptied at the end.

    Returns
    -------
    None. Writes
    `adata.obs['scbignn_cv']`
        The label that p gave the cell without knowing its own, categorical; missing where a cell has no label, or is the
        only one of it (`n_splits` only).
    `adata.obs['scbignn_cv_confidence']`
        Its probability, float32, calibrated on the other folds; NaN in the same cells.
    `adata.obs['scbignn_cv_fold']`
        The fold in which the cell was held out, categorical: "0", "1", ..., or the batch.
    `adata.uns['scbignn_cv']`
        DataFrames `folds`, `per_label`, `rounds`, `gene_importance`, `gene_attribution` and `gene_stability`, which
        :func:`scbignn.get.cross_validation` describes; `labels`; `params`; `version`.
    `adata.uns['scbignn_cv_colors']`
        The palette of `labels_key`, where it has one.

    Raises
    ------
    KeyError
        `labels_key`, `batch_key` or `layer` does not exist.
    TypeError, ValueError
        As in :func:`scbignn.tl.annotate`, but for all cells being labelled; or folds cannot be made as asked.

    Examples
    --------
    >>> import scbignn
    >>> adata = scbignn.datasets.simulated(n_cells=120, n_genes=60)
    >>> scbignn.tl.cross_validate(adata, labels_key="cell_type", n_splits=2)
    >>> scbignn.get.cross_validation(adata)[["fold", "n_cells"]].to_numpy().tolist()
    [['0', 30], ['1', 30]]
    """
    begin = time.perf_counter()
    check_anndata(adata, in_memory=False)
    check_writable(adata, copy=False)
    keys = CrossValidationKeys(key_added)
    check_free(adata, keys, labels_key)
    start = prepare(
        adata,
        labels_key,
        verb="cross_validate",
        unlabeled_category=unlabeled_category,
        may_be_complete=True,
        layer=layer,
        transformer=transformer,
        config=config,
        device=device,
        backend=backend,
        rng=rng,
        checkpoint_dir=checkpoint_dir,
    )
    labels = start.labels
    batches = None
    if batch_key is None:
        fold, folds = _dealt(labels, n_splits, start.seed)
    else:
        fold, folds, batches = _by_batch(adata, batch_key, labels)
    with progress_bar(len(folds), unit="fold", name="cross-validation") as bar:
        found = cross_validate_cells(
            start.x,
            labels.codes,
            len(labels.names),
            start.config,
            fold,
            device=start.device,
            engine=start.engine,
            seed=start.seed,
            progress=bar,
            transformer=start.transformer,
            batches=batches,
            checkpoint_dir=start.checkpoint_dir,
            fingerprint=start.fingerprint,
        )
    tables = validation_tables(found, labels.codes, labels.names, folds, adata.var_names)
    asked = {"n_splits": len(folds)} if batch_key is None else {"batch_key": batch_key}
    about = {
        **tables,
        "labels": np.array(labels.names, dtype=object),
        "params": run_params(start, labels_key, unlabeled_category) | asked,
        "version": version("scbignn"),
    }
    given, confidence = np.full(adata.n_obs, -1), np.full(adata.n_obs, np.nan, dtype=np.float32)
    for held_out in found:
        given[held_out.cells], confidence[held_out.cells] = held_out.p.argmax(1), held_out.p.max(1)
    slots = [
        Slot("obs", keys.key, pd.Categorical.from_codes(given, categories=labels.names)),
        Slot("obs", keys.confidence, confidence),
        Slot("obs", keys.fold, pd.Categorical.from_codes(fold, categories=folds)),
        Slot("uns", keys.key, about),
        Slot("uns", keys.colors, label_colors(adata, labels_key, labels.names)),
    ]
    write_slots(adata, slots)
    end_run(start.checkpoint_dir)
    logger.info(
        "cross_validate: done in %.1f s; accuracy %.4f, macro-F1 %.4f on the mean of %d folds; wrote %s",
        time.perf_counter() - begin,
        tables["folds"]["accuracy"].mean(),
        tables["folds"]["macro_f1"].mean(),
        len(folds),
        ", ".join(str(slot) for slot in slots if slot.value is not None),
    )


def _dealt(labels: Labels, n_splits: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """A fold for each cell, -1 for those that are never held out, and the names of the folds."""
    if isinstance(n_splits, bool) or not isinstance(n_splits, Integral) or n_splits < 2:
        msg = f"n_splits={n_splits!r} must be an integer of at least 2. Use for example 5."
        raise ValueError(msg)
    known = np.flatnonzero(labels.codes >= 0)
    fold = np.full(len(labels.codes), -1)
    fold[known] = deal_folds(labels.codes[known], n_splits, np.random.default_rng(seed))
    n_held_out = np.sum(fold >= 0)
    if n_splits > n_held_out:
        msg = f"n_splits={n_splits} folds cannot be made of {n_held_out} cells whose label occurs twice. Use fewer."
        raise ValueError(msg)
    return fold, [str(number) for number in range(n_splits)]


def _by_batch(adata: AnnData, batch_key: str, labels: Labels) -> tuple[np.ndarray, list[str], np.ndarray]:
    """A fold for each labelled cell, the names of the folds, and batch codes of all cells."""
    column = one_column(adata.obs, batch_key, "batch_key")
    known = labels.codes >= 0
    lacking = adata.obs_names[column.isna().to_numpy() & known]
    if len(lacking):
        msg = (
            f"{len(lacking)} labelled cells have no batch in adata.obs[{batch_key!r}] ({some(lacking)}). Fill it in, or "
            "remove them."
        )
        raise ValueError(msg)
    batches, names = batch_names(column, batch_key, known)
    if len(names) < 2:
        msg = f"all labelled cells are of one batch in adata.obs[{batch_key!r}]. Use n_splits=5 instead of batch_key."
        raise ValueError(msg)
    fold = np.where(known, pd.Categorical(batches, categories=names).codes, -1).astype(np.int64)
    return fold, names, np.unique(batches, return_inverse=True)[1]
