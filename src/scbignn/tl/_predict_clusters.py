"""`tl.predict_clusters`."""

from __future__ import annotations

import logging
import time

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from .._adata import ExpressionRows, predicted_cluster_slots, write_slots
from .._check import check_anndata, check_free, check_writable
from .._keys import ClusterKeys
from .._training import choose_device, progress_bar
from ..clustering import Assigned, Counts, Model, assign, row_sums
from ._model_genes import match_genes, model_columns

logger = logging.getLogger(__name__)

#: Cells at a time.
_CHUNK = 4096


def predict_clusters(
    adata: AnnData,
    model: Model,
    *,
    layer: str | None = None,
    gene_symbols: str | None = None,
    min_gene_overlap: float = 0.5,
    key_added: str = "bgformer",
    device: str = "auto",
    copy: bool = False,
) -> AnnData | None:
    """Assign cells to the clusters of a model that :func:`scbignn.tl.fit_clusters` has made.

    Each cell by itself: what is said of it does not depend on the others. Every cell gets one of the clusters, also one that
    is like none of them.

    Parameters
    ----------
    adata
        Cells x genes; of any sort that :func:`scbignn.tl.cluster` takes.
    model
        What was learned.
    layer
        Layer to use instead of `adata.X`.
    gene_symbols
        Column of `adata.var` with gene names to match with the model's. Default: `adata.var_names`. Versions of Ensembl
        ids are passed over where that helps.
    min_gene_overlap
        Smallest share of the model's genes that must be in `adata`. The others are taken to be as in the mean cell of
        the model.
    key_added
        Name from which all slots below are derived.
    device
        Where a network runs.
    copy
        Return a copy with the clusters instead of writing to `adata`.

    Returns
    -------
    None, or the copy with ``copy=True``.
        The slots of :func:`scbignn.tl.cluster`. The categories are all clusters of the model. In ``uns``, `model` says
        where it comes from, and `gene_overlap` how many of its genes are there; `usage`, `n_cells` and `confidence` are
        of these cells; there is no `stability`, `history` or evidence.

    Raises
    ------
    KeyError
        `layer` or `gene_symbols` does not exist.
    TypeError
        `adata` is no AnnData, or `model` is none of clusters.
    ValueError
        Too few of the model's genes are there, cells have no counts in any of them, names are not unique, the matrix
        holds unusable values, or `key_added` would overwrite a slot of yours.
    """
    start = time.perf_counter()
    check_anndata(adata, in_memory=False)
    check_writable(adata, copy=copy)
    if not isinstance(model, Model):
        msg = (
            f"model is a {type(model).__module__}.{type(model).__name__}. Pass what scbignn.tl.fit_clusters returned, or "
            "scbignn.read_model read of it."
        )
        raise TypeError(msg)
    check_free(adata, ClusterKeys(key_added))
    match = match_genes(model.genes, adata, gene_symbols, min_gene_overlap)
    torch_device = choose_device(device)
    rows = ExpressionRows(adata, layer)
    logger.info(
        "predict_clusters: %d cells, %.1f %% of the model's genes; adata.%s holds %s",
        adata.n_obs,
        100 * match.share,
        rows.expression.slot,
        rows.expression,
    )
    known = match.positions >= 0
    parts, starts = [], range(0, adata.n_obs, _CHUNK)
    with progress_bar(len(starts), unit="chunk", name="prediction") as bar:
        for first in starts:
            x = model_columns(adata, rows, match, slice(first, first + _CHUNK))
            parts.append(_assigned(_counts(x, model, known), model, known, torch_device))
            bar.update()
    found = Assigned(
        np.concatenate([part.memberships for part in parts]),
        np.concatenate([part.embedding for part in parts]),
        sp.vstack([part.graph for part in parts], format="csr"),
        None if parts[0].attention is None else sp.vstack([part.attention for part in parts], format="csr"),
    )
    target = adata.copy() if copy else adata
    slots = predicted_cluster_slots(target, found, model, match, rows.expression, key_added=key_added)
    write_slots(target, slots)
    written = ", ".join(str(slot) for slot in slots if slot.value is not None)
    logger.info("predict_clusters: done in %.1f s; wrote %s", time.perf_counter() - start, written)
    return target if copy else None


def _counts(x: sp.csr_matrix, model: Model, known: np.ndarray) -> Counts:
    """Counts of the panel of a model, and totals in all of its genes as far as the known ones tell."""
    return Counts(sp.csr_matrix(x[:, model.scores.panel]), row_sums(x) / model.scores.gene_share[known].sum())


def _assigned(counts: Counts, model: Model, known: np.ndarray, device: object) -> Assigned:
    known = known[model.scores.panel]
    points = model.scores.components(model.scores.z_scores(counts.x, counts.total, known))
    return assign(model, model.landmarks.graph(points), lambda: counts, device=device, known=known)
