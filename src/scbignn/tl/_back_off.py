"""`tl.back_off`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from numbers import Real

import numpy as np
import pandas as pd
from anndata import AnnData
from natsort import natsorted

from .._adata import Slot, write_slots
from .._check import check_free, check_type, label_strings, one_column, some
from .._keys import UNKNOWN, AnnotationKeys, BackOffKeys, annotation_run
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
    probability, the sum of p over itself and the labels below it, is smaller than `threshold`. A cell that is not sure
    enough at the top is "Unknown", and one that :func:`scbignn.tl.annotate` or :func:`scbignn.tl.predict` rejected
    stays so.

    Parameters
    ----------
    adata
        Annotated data with a run of :func:`scbignn.tl.annotate` or :func:`scbignn.tl.predict`.
    tree
        A dict of finer to coarser label, ``{"CD4 T": "T", "CD8 T": "T"}``, or nested the other way round,
        ``{"T": ["CD4 T", "CD8 T"]}``; or two or more columns of obs with labels, the coarsest first. A cell without a
        label in a column (NaN, "Unknown", or the run's `unlabeled_category`) says nothing about that level. A label of
        the run that is not in the tree stands at the top.
    threshold
        Smallest probability, within (0, 1). It means what it says as far as p is calibrated, which it is unless the run
        had ``config.cross_fit_folds=0``.
    reference
        The AnnData whose obs has the columns of `tree`. Default: `adata`. Not used with a dict.
    key
        The `key_added` of the run.
    key_added
        Name from which all slots below are derived. Default: `key` and "_coarse".

    Returns
    -------
    None. Writes
    `adata.obs['scbignn_coarse']`
        Label of any level, categorical: those that occur, in natural order, "Unknown" last.
    `adata.obs['scbignn_coarse_confidence']`
        Its probability, float32. Of a cell that is not sure enough at the top it is that of the most probable label
        there; of a rejected cell, that of the label that it would have had.
    `adata.uns['scbignn_coarse']`
        `key`, `threshold`, `tree` (a DataFrame with a row a label and its coarser label, "" at the top, as `parent`)
        and `version`.

    Raises
    ------
    KeyError
        `adata` holds no such run, or there is no such column.
    TypeError
        The tree is none, or `reference` no AnnData.
    ValueError
        A label has two coarser labels, lies below itself or is called "Unknown"; no label of the run is in the tree;
        `threshold` is not within (0, 1); or `key_added` would overwrite a slot of yours.

    Examples
    --------
    Of three types the last is labelled as two that nothing tells apart:

    >>> import numpy as np
    >>> import scbignn
    >>> adata = scbignn.datasets.simulated(n_cells=300, n_genes=100)
    >>> label, half = adata.obs["cell_type"].astype(str), np.resize(["a", "b"], 300)
    >>> adata.obs["fine"] = label.mask(label == "type 2", label + half)
    >>> scbignn.tl.annotate(adata, labels_key="fine", n_top_genes=40)
    >>> scbignn.tl.back_off(adata, {"type 2a": "type 2", "type 2b": "type 2"}, threshold=0.95)
    >>> doubtful = adata.obs["scbignn_coarse"] == "type 2"
    >>> sorted(adata.obs["scbignn"][doubtful].unique())
    ['type 2a', 'type 2b']
    """
    check_type(adata)
    run = annotation_run(adata.uns, key)
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not 0 < threshold < 1:
        msg = f"threshold={threshold!r} must be a number within (0, 1). Use for example 0.8."
        raise ValueError(msg)
    if reference is not None and not isinstance(reference, AnnData):
        msg = f"reference is a {type(reference).__name__}, not an AnnData. Pass the one whose obs has the columns of tree."
        raise TypeError(msg)
    keys, names = AnnotationKeys(key), list(run["labels"])
    added = BackOffKeys(f"{key}_coarse" if key_added is None else key_added)
    check_free(adata, added)
    unlabeled = run["params"].get("unlabeled_category", UNKNOWN)
    labels = _read_tree(tree, names, adata if reference is None else reference, unlabeled)
    found = back_off_cells(adata.obsm[keys.probabilities].to_numpy(), names, labels, threshold)
    rejected = (adata.obs[keys.key].astype(str) == UNKNOWN).to_numpy()
    label = np.where(rejected, UNKNOWN, found.label)
    categories = natsorted(set(label) - {UNKNOWN}) + [UNKNOWN] * (UNKNOWN in label)
    parents = pd.Series({name: parent or "" for name, parent in labels.parents.items()}, dtype=object)
    about = {
        "key": key,
        "threshold": float(threshold),
        "tree": parents.to_frame("parent"),
        "version": version("scbignn"),
    }
    slots = [
        Slot("obs", added.key, pd.Categorical(label, categories=categories)),
        Slot("obs", added.confidence, found.probability),
        Slot("uns", added.key, about),
    ]
    write_slots(adata, slots)
    logger.info(
        "back_off: %d cells have a coarser label, %d are unknown; wrote %s",
        np.sum(~np.isin(label, [*names, UNKNOWN])),
        np.sum(label == UNKNOWN),
        ", ".join(str(slot) for slot in slots),
    )


def _read_tree(
    tree: Mapping[str, object] | Sequence[str], names: list[str], source: AnnData, unlabeled_category: str
) -> LabelTree:
    """The tree, with those labels of the run that it does not have at the top."""
    if isinstance(tree, (str, Mapping)) or not isinstance(tree, Sequence):
        found = label_tree(tree)
    else:
        found = label_tree_from_columns([_labels(source, name, unlabeled_category) for name in tree])
    if not set(names) & set(found.parents):
        msg = (
            f"no label of the run is in the tree. The run has: {some(names, 20)}; the tree: {some(list(found.parents), 20)}. "
            "Write labels as they are in the run."
        )
        raise ValueError(msg)
    if UNKNOWN in names or UNKNOWN in found.parents:
        msg = f"a label is called {UNKNOWN!r}, as cells that are not sure enough would be. Rename it."
        raise ValueError(msg)
    return LabelTree({**dict.fromkeys(names), **found.parents})


def _labels(source: AnnData, name: str, unlabeled_category: str) -> pd.Series:
    column = one_column(source.obs, name, "a column of tree", where="obs")
    strings = label_strings(column, unlabeled_category)
    return strings.where(strings != UNKNOWN, None)
