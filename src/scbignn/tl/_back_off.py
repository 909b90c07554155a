"""`tl.back_off`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np
import pandas as pd
from anndata import AnnData

from .._adata import Slot, write_slots
from .._check import check_run, check_type, pick_column
from .._keys import UNKNOWN, AnnotationKeys
from ..annotation import LabelTree, label_tree, label_tree_from_columns
from ..annotation import back_off as back_off_cells

logger = logging.getLogger(__name__)


def back_off(
    adata: AnnData,
    tree: Mapping[str, object] | Sequence[str],
    *,
    threshold: float = 0.8,
    reference: AnnData | None = None,
    key: str = "scbignn",
    key_added: str | None = None,
) -> None:
    """Label each cell as finely as is sure enough: "T" instead of a doubtful "CD4 T".

    From the top of a tree of labels go down to the most probable label of each level, and stop before the first whose
    probability, the sum of p over the labels below it, is smaller than `threshold`. A cell that is not sure enough at
    the top is "Unknown", and one that :func:`scbignn.tl.annotate` rejected stays so.

    Parameters
    ----------
    adata
        Annotated data with a run of :func:`scbignn.tl.annotate` or :func:`scbignn.tl.predict`.
    tree
        A dict of finer to coarser label, ``{"CD4 T": "T", "CD8 T": "T"}``, or nested the other way round,
        ``{"T": ["CD4 T", "CD8 T"]}``; or two or more columns of obs, the coarsest first. A label that is not in it
        stands at the top.
    threshold
        Smallest probability, within (0, 1).
    reference
        Where the columns are, if not in `adata`.
    key
        The `key_added` of the run.
    key_added
        Name of the column to write. Default: `key` and "_coarse".

    Returns
    -------
    None. Writes
    `adata.obs['scbignn_coarse']`
        Label of any level, categorical.
    `adata.obs['scbignn_coarse_confidence']`
        Its probability, float32; of an unknown cell that of the most probable label at the top.

    Raises
    ------
    KeyError
        `adata` holds no such run, or there is no such column.
    TypeError, ValueError
        The tree is none: a label has two coarser labels, or lies below itself; or `threshold` is not within (0, 1), or
        `key_added` is a column of yours.

    Examples
    --------
    >>> import scbignn
    >>> adata = scbignn.datasets.simulated(n_cells=120, n_genes=60)
    >>> scbignn.tl.annotate(adata, labels_key="cell_type", n_top_genes=40)
    >>> scbignn.tl.back_off(adata, {"type 0": "early", "type 1": "early"}, threshold=0.9)
    >>> adata.obs["scbignn_coarse_confidence"].between(0, 1).all()
    True
    """
    check_type(adata)
    run = check_run(adata, key)
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not 0 < threshold < 1:
        msg = f"threshold={threshold!r} must be a number within (0, 1). Use for example 0.8."
        raise ValueError(msg)
    keys, names = AnnotationKeys(key), list(run["labels"])
    column = f"{key}_coarse" if key_added is None else key_added
    if column in keys.slots["obs"] or (key_added is not None and column in adata.obs):
        msg = f"key_added={column!r} would overwrite a column of adata.obs. Use another name."
        raise ValueError(msg)
    found = back_off_cells(
        adata.obsm[keys.probabilities].to_numpy(), names, _read_tree(adata, tree, reference, names), threshold
    )
    rejected = (adata.obs[keys.key].astype(str) == UNKNOWN).to_numpy() & (UNKNOWN not in names)
    label = np.where(rejected, UNKNOWN, found.label)
    slots = [
        Slot("obs", column, pd.Categorical(label)),
        Slot("obs", f"{column}_confidence", found.probability),
    ]
    write_slots(adata, slots)
    n_coarser = int(np.sum(~np.isin(label, [*names, UNKNOWN])))
    logger.info(
        "back_off: %d cells have a coarser label, %d are unknown; wrote %s",
        n_coarser,
        np.sum(label == UNKNOWN),
        ", ".join(str(slot) for slot in slots),
    )


def _read_tree(
    adata: AnnData, tree: Mapping[str, object] | Sequence[str], reference: AnnData | None, names: list[str]
) -> LabelTree:
    if isinstance(tree, (str, Mapping)) or not isinstance(tree, Sequence):
        found = label_tree(tree)
    else:
        source = adata if reference is None else reference
        where = "adata.obs" if reference is None else "reference.obs"
        columns = [pick_column(source.obs, name, "tree", where=where) for name in tree]
        columns = [column.astype(object).where(column.astype(str) != UNKNOWN, None) for column in columns]
        found = label_tree_from_columns(columns)
    alone = dict.fromkeys((name for name in names if name not in found.parents), None)
    return LabelTree({**found.parents, **alone})
