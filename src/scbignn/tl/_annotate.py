"""`tl.annotate`."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from anndata import AnnData

from .._adata import annotation_slots, read_expression, write_slots
from .._check import Labels, check_anndata, check_n_neighbors, check_new_key, read_labels
from .._settings import settings
from .._training import choose_device
from ..annotation import Config, annotate_cells
from ..graph import choose_engine

logger = logging.getLogger(__name__)


def annotate(
    adata: AnnData,
    labels_key: str,
    *,
    unlabeled_category: object = "Unknown",
    layer: str | None = None,
    n_top_genes: int | None = None,
    n_neighbors: int | None = None,
    config: Config | None = None,
    key_added: str = "scbignn",
    device: str = "auto",
    backend: Literal["auto", "dgl", "torch"] = "auto",
    rng: int | np.random.Generator = 0,
    checkpoint: str | Path | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Label cells from labelled ones by scBiGNN (arXiv 2312.10310).

    Two networks look at the cells. The gene-level network q attends over the expressed genes of one cell and gives each
    cell an embedding h; the cell-level network p averages over a cell's neighbours and learns, beside the known labels,
    those that q believes in. By default each corrects a linear classifier on all genes, and one pass suffices; the
    published method, in which both learn from nothing and teach each other in turn, is ``config=Config.paper()``.
    Labels come from p.

    The method is **transductive**: the expression of the cells to label takes part in training. Their labels do not:
    only cells that `labels_key` labels are trained on.

    Parameters
    ----------
    adata
        Annotated data, cells x genes, in memory. Integer counts, or values proportional to counts in each cell, or
        log1p of either, which is undone where that is exact. Dense, CSR and CSC matrices are taken alike.
    labels_key
        Column of `adata.obs` with the known labels.
    unlabeled_category
        Cells that carry this label, or none (NaN), are the cells to label.
    layer
        Layer to use instead of `adata.X`.
    n_top_genes
        T, number of genes that enter the gene-level network. Default: `config.n_top_genes`.
    n_neighbors
        k of the learned cell graph. Default: `config.n_neighbors`.
    config
        Settings of the method; see :class:`scbignn.annotation.Config`. Default: ``Config()``.
    key_added
        Name from which all slots below are derived.
    device
        `"auto"` (CUDA where torch has it, else the CPU), or a torch device.
    backend
        What averages over the cell graph: DGL, or a torch operation of our own that gives the same. `"auto"` takes DGL
        where it runs on the device.
    rng
        Seed or generator. On one machine's CPU the same seed gives bit-identical results. Global random states are
        neither read nor changed.
    checkpoint
        File that keeps the run while it trains: started again with the same arguments after an interruption, it goes
        on from there, to the same result. The file is removed at the end.
    copy
        Return an annotated copy instead of annotating `adata`.

    Returns
    -------
    None, or the annotated copy with ``copy=True``.
        `adata.X` and every slot not named here stay as they were, also after an error or an interrupt; a view becomes
        an AnnData of its own. Slots, with ``key_added="scbignn"``, N cells, C labels:
    `adata.obs['scbignn']`
        Predicted label, categorical in natural order, for every cell; a labelled cell gets a prediction too.
    `adata.obs['scbignn_confidence']`
        Probability of that label, the largest of p, float32 within [1 / C, 1]. Not calibrated.
    `adata.obs['scbignn_entropy']`
        Entropy of p divided by log C, float32 within [0, 1].
    `adata.obs['scbignn_disagreement']`
        Jensen-Shannon divergence between q and p in bits, float32 within [0, 1].
    `adata.obsm['X_scbignn']`
        Embedding h of the gene-level network, float32, (N, 32).
    `adata.obsm['scbignn_proba']`, `adata.obsm['scbignn_proba_q']`
        p and q, DataFrames of float32, cells x labels. A "/" in a label is written "|" in the column name, because
        file formats refuse it; :func:`scbignn.get.annotation` gives the labels as they are.
    `adata.obsp['scbignn_distances']`
        The learned graph: CSR float32 (N, N); the k stored entries of row i are the Euclidean distances of cell i to
        its neighbours: in principal components and the decisions of a linear classifier, each part of length 1, or with
        ``graph_from="h"`` in h.
    `adata.obsp['scbignn_connectivities']`
        The same graph as symmetric weights, as `scanpy.pp.neighbors` makes them: CSR float32 (N, N).
    `adata.varp['scbignn_attention']`
        Attention of one gene to another, averaged over cells, layers and heads: CSR float32 (n_vars, n_vars). Empty
        with ``n_layers=0``.
    `adata.uns['scbignn']`
        `params`, `connectivities_key` and `distances_key` in the form of `scanpy.pp.neighbors`, so that for example
        ``sc.tl.umap(adata, neighbors_key="scbignn")`` works; `labels`, in the order of the probabilities; `history`,
        a row an epoch; `gene_importance`, a row a gene; `homophily`, of the learned and of the raw PCA graph among
        labelled cells; `expression`, what the matrix was found to hold; `mode`; `version`.
    `adata.uns['scbignn_colors']`
        The palette of `labels_key`, where it has one.

    Raises
    ------
    KeyError
        `labels_key` or `layer` does not exist.
    TypeError
        `adata` is no AnnData or its matrix not in memory, or `config` or `unlabeled_category` is of a wrong type.
    ValueError
        Names are not unique, labels are missing, single or complete, cells are empty, or the matrix holds NaN,
        infinite, negative or otherwise unusable values, or `key_added` would overwrite a slot of yours. The message
        says what was found and what mends it.

    Examples
    --------
    >>> import scbignn
    >>> adata = scbignn.datasets.simulated(n_cells=120, n_genes=60)
    >>> scbignn.tl.annotate(adata, labels_key="cell_type", n_top_genes=40)
    >>> adata.obs["scbignn"].cat.categories.tolist()
    ['type 0', 'type 1', 'type 2']
    """
    start = time.perf_counter()
    check_anndata(adata)
    check_new_key(adata, key_added, labels_key)
    labels = read_labels(adata, labels_key, unlabeled_category)
    if config is None:
        config = Config()
    elif not isinstance(config, Config):
        msg = f"config is a {type(config).__name__}. Pass a scbignn.annotation.Config, such as Config(n_rounds=2)."
        raise TypeError(msg)
    changes = {"n_top_genes": n_top_genes, "n_neighbors": n_neighbors}
    config = dataclasses.replace(config, **{name: value for name, value in changes.items() if value is not None})
    check_n_neighbors(config.n_neighbors, adata.n_obs)
    torch_device = choose_device(device)
    engine = choose_engine(settings.backend if backend == "auto" else backend, torch_device)
    seed = int(np.random.default_rng(rng).integers(2**31))
    x, expression = read_expression(adata, layer)
    logger.info(
        "annotate: %d of %d cells have one of %d labels; adata.%s holds %s; on %s, cell graph by %s",
        np.sum(labels.codes >= 0),
        adata.n_obs,
        len(labels.names),
        expression.slot,
        expression,
        torch_device,
        engine,
    )
    found = annotate_cells(
        x,
        labels.codes,
        len(labels.names),
        config,
        device=torch_device,
        engine=engine,
        seed=seed,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        fingerprint={} if checkpoint is None else _fingerprint(x, labels),
    )
    target = adata.copy() if copy else adata
    params = {
        "labels_key": labels_key,
        "unlabeled_category": str(unlabeled_category),
        "seed": seed,
        "backend": engine,
        "config": config.to_dict(),
    }
    slots = annotation_slots(target, found, labels, expression, params, key_added=key_added)
    write_slots(target, slots)
    if checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)
    written = ", ".join(str(slot) for slot in slots if slot.value is not None)
    logger.info("annotate: done in %.1f s; wrote %s", time.perf_counter() - start, written)
    return target if copy else None


def _fingerprint(x: sp.csr_matrix, labels: Labels) -> dict[str, Any]:
    """What a checkpoint must agree on besides config and seed."""
    digest = hashlib.sha256()
    for part in (x.indptr, x.indices, x.data):
        digest.update(np.ascontiguousarray(part))
    codes = hashlib.sha256(labels.codes).hexdigest()
    return {"expression": digest.hexdigest(), "labels": [codes, *labels.names], "version": version("scbignn")}
