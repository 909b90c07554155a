"""`tl.audit_labels`."""

from __future__ import annotations

import logging
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from .._adata import Slot, write_slots
from .._check import check_anndata, check_free, check_writable
from .._checkpoints import end_run
from .._keys import AuditKeys
from ..annotation import Config, audit_table, label_shapes
from ..annotation import audit_labels as audit_cells
from ._learn import annotation_config, learn

logger = logging.getLogger(__name__)


def audit_labels(
    adata: AnnData,
    labels_key: str,
    *,
    unlabeled_category: object = "Unknown",
    layer: str | None = None,
    transformer: Any = None,
    config: Config | None = None,
    key_added: str = "scbignn_audit",
    device: str = "auto",
    backend: Literal["auto", "dgl", "torch"] = "auto",
    rng: int | np.random.Generator = 0,
    checkpoint_dir: str | Path | None = None,
) -> None:
    """Find labelled cells whose label is probably wrong, and say what they probably are.

    Labelled cells are dealt to folds, and each fold in turn loses its labels: what p then says of a cell, and how far
    the cell lies from the other cells of each label, is set against the label it was given, at the rate of wrong labels
    that explains all labels best; see :func:`scbignn.annotation.audit_labels`. For a curator to look at: a wrong label
    cannot be told from a cell that is truly rare or between two types.

    Parameters
    ----------
    adata
        Annotated data with labelled cells, all or some; of any sort that :func:`scbignn.tl.annotate` takes.
    labels_key
        Column of `adata.obs` with the labels to audit.
    unlabeled_category, layer, transformer, config, device, backend, rng, checkpoint_dir
        As in :func:`scbignn.tl.annotate`; the config must have ``cross_fit_folds`` of at least 2.
    key_added
        Name from which all slots below are derived.

    Returns
    -------
    None. Writes
    `adata.obs['scbignn_audit_wrong']`
        Probability that the label is wrong, float32; NaN where a cell has none, or is the only one of its label.
    `adata.obs['scbignn_audit_suggested']`
        The most probable other label, categorical, missing in the same cells.
    `adata.uns['scbignn_audit']`
        `labels_key`; `noise_rate`, the estimated share of wrong labels; `per_label`, a DataFrame with a row a label;
        `version` and `seed`. :func:`scbignn.get.audit` gives the suspects, most suspicious first.

    Raises
    ------
    KeyError, TypeError, ValueError
        As in :func:`scbignn.tl.annotate`, but for all cells being labelled; no label has two cells; or the config is
        not cross-fitted.

    Examples
    --------
    >>> import scbignn
    >>> adata = scbignn.datasets.simulated(n_cells=150, n_genes=60)
    >>> scbignn.tl.audit_labels(adata, labels_key="cell_type")
    >>> list(scbignn.get.audit(adata).columns)
    ['given', 'suggested', 'wrong']
    """
    start = time.perf_counter()
    check_anndata(adata, in_memory=False)
    check_writable(adata, copy=False)
    keys = AuditKeys(key_added)
    check_free(adata, keys, labels_key)
    config = annotation_config(config)
    if not config.cross_fit_folds:
        msg = "config.cross_fit_folds=0 leaves nothing to audit by. Use a config with cross_fit_folds=3."
        raise ValueError(msg)
    learned = learn(
        adata,
        labels_key,
        verb="audit_labels",
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
    found, names = learned.found, learned.labels.names
    cells = np.flatnonzero(np.isfinite(found.cross_fitted).all(1))
    if not cells.size:
        msg = f"no label in adata.obs[{labels_key!r}] has two cells, so none can be audited. Label more cells."
        raise ValueError(msg)
    distances = None
    if found.evidence is not None:
        points = found.evidence.components
        distances = label_shapes(points, found.y, len(names)).distances(points, found.y)[cells]
    audit = audit_cells(found.cross_fitted[cells], found.y[cells], distances)
    wrong, suggested = np.full(adata.n_obs, np.nan, dtype=np.float32), np.full(adata.n_obs, -1)
    wrong[cells], suggested[cells] = audit.wrong, audit.suggested
    about = {
        "labels_key": labels_key,
        "noise_rate": audit.noise_rate,
        "per_label": audit_table(audit, found.y[cells], names).set_index("label"),
        "seed": learned.params["seed"],
        "version": version("scbignn"),
    }
    slots = [
        Slot("obs", keys.wrong, wrong),
        Slot("obs", keys.suggested, pd.Categorical.from_codes(suggested, categories=names)),
        Slot("uns", keys.key, about),
    ]
    write_slots(adata, slots)
    end_run(learned.checkpoint_dir)
    logger.info(
        "audit_labels: done in %.1f s; %.1f %% of labels are wrong by estimate, %d more likely wrong than right; wrote %s",
        time.perf_counter() - start,
        100 * audit.noise_rate,
        np.sum(audit.wrong > 0.5),
        ", ".join(str(slot) for slot in slots),
    )
