"""`tl.annotate`."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from anndata import AnnData

from .._adata import ExpressionRows, Slot, annotation_slots, gene_overlap_record, tell_all, write_slots
from .._check import (
    check_anndata,
    check_new_key,
    check_writable,
    form_of,
    gene_names,
    generator_of,
    pick_matrix,
    some,
)
from .._checkpoints import end_run, kept_until_done
from .._genes import GeneMatch
from ..annotation import Config
from ._fit import fit_genes, named_genes
from ._learn import annotation_config, learn, rejection_rate
from ._model_genes import match_genes
from ._predict import check_mode, predict

logger = logging.getLogger(__name__)

#: Cells that are looked at together before training.
_CHUNK = 8192


def annotate(
    adata: AnnData,
    labels_key: str,
    *,
    reference: AnnData | None = None,
    batch_key: str | None = None,
    mode: Literal["transductive", "inductive"] = "transductive",
    unlabeled_category: object = "Unknown",
    layer: str | None = None,
    gene_symbols: str | None = None,
    min_gene_overlap: float = 0.5,
    n_top_genes: int | None = None,
    n_neighbors: int | None = None,
    transformer: Any = None,
    config: Config | None = None,
    reject: Literal["auto"] | None = None,
    false_rejection_rate: float | None = None,
    key_added: str = "scbignn",
    device: str = "auto",
    backend: Literal["auto", "dgl", "torch"] = "auto",
    devices: int | None = None,
    num_nodes: int | None = None,
    rng: int | np.random.Generator = 0,
    checkpoint_dir: str | Path | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Label cells from labelled ones by scBiGNN (arXiv 2312.10310).

    Two networks look at the cells. The gene-level network q attends over the expressed genes of one cell and gives each
    cell an embedding h; the cell-level network p averages over a cell's neighbours and learns, beside the known labels,
    those that q believes in. By default each corrects a linear classifier on all genes, and one pass suffices; the
    published method, in which both learn from nothing and teach each other in turn, is ``config=Config.paper()``.
    Labels come from p.

    Labelled cells are in `adata` itself, or in a `reference`. In `adata` itself the method is **transductive**: the
    expression of the cells to label takes part in training. Their labels do not: only cells that `labels_key` labels
    are trained on. With a reference this is :func:`scbignn.tl.fit` on it, among the genes that both have, and
    :func:`scbignn.tl.predict` of `adata`, whose docstring says what is written.

    Parameters
    ----------
    adata
        Annotated data, cells x genes. Integer counts, or values proportional to counts in each cell, or log1p of
        either, which is undone where that is exact. Dense, CSR and CSC matrices are taken alike. Of data that are backed
        by a file or by Dask a few rows at a time are read, several times over, and results go to `adata`, not to the file.
    labels_key
        Column of `adata.obs`, or of `reference.obs`, with the known labels.
    reference
        Labelled cells of another data set. `adata` needs no labels then.
    batch_key
        Column of `adata.obs`, or of `reference.obs`, with batches: donors, samples, technologies. Genes are then chosen by
        what they tell within batches; and where the cells to label are of other batches than the labelled ones, as those
        of a query are, confidence and thresholds are taken from labelled cells whose whole batch was hidden. Takes
        longer: see the guide, Batches.
    mode
        With a reference: whether the cells of `adata` are looked at together or each by itself; see
        :func:`scbignn.tl.predict`. Without one it is always transductive.
    unlabeled_category
        Cells that carry this label, or none (NaN), are the cells to label.
    layer
        Layer to use instead of `X`.
    gene_symbols
        With a reference: column of `var` with the names that genes are matched by, wherever there is one; elsewhere
        they are matched by `var_names`.
    min_gene_overlap
        With a reference: smallest share of its genes that must be in `adata`.
    n_top_genes
        T, number of genes that enter the gene-level network. Default: `config.n_top_genes`.
    n_neighbors
        k of the learned cell graph. Default: `config.n_neighbors`.
    transformer
        What searches neighbours instead of what is built in: an instance with the interface of
        :class:`sklearn.neighbors.KNeighborsTransformer`, such as pynndescent's `PyNNDescentTransformer()` or one that
        runs on a GPU. It is cloned, and asked for a neighbour more than is needed, or for its own `n_neighbors` where
        that is more; of what it finds the nearest in Euclidean distance are kept, and a low recall is warned of.
    config
        Settings of the method; see :class:`scbignn.annotation.Config`. Default: ``Config()``.
    reject, false_rejection_rate
        Call cells that are like no label "Unknown": with ``reject="auto"``, or with the share of cells of known types
        that may be called so by mistake. The thresholds are conformal, one a label, from labelled cells scored as if
        they had no label; so the promise is about cells like those, and holds across batches only as far as these are
        alike. The best guess stays in the probabilities and in :func:`scbignn.get.annotation`.
    key_added
        Name from which all slots below are derived.
    device
        `"auto"` (CUDA where torch has it, else the CPU), or a torch device.
    backend
        What averages over the cell graph: DGL, or a torch operation of our own that gives the same. `"auto"` takes DGL
        where it runs on the device.
    devices, num_nodes
        Processes on each machine, and machines, that train together; see the docs, Large data. They are started by
        ``torchrun`` or ``fabric run``, and default to what the program was started with, mostly one. Every process gets
        the same result, that of a single one to rounding. Needs the extra ``scbignn[distributed]``.
    rng
        Seed or generator. On one machine's CPU the same seed gives bit-identical results. Global random states are
        neither read nor changed.
    checkpoint_dir
        Folder that keeps the run while it goes on: started again with the same arguments after an interruption, it goes
        on from there, to the same result. A killed process loses one linear machine, one minute of training or one fold
        at most. The folder is made if need be, and emptied of the run at the end.
    copy
        Return an annotated copy instead of annotating `adata`.

    Returns
    -------
    None, or the annotated copy with ``copy=True``.
        `adata.X` and every slot not named here stay as they were, also after an error or an interrupt; a view becomes
        an AnnData of its own. Slots, with ``key_added="scbignn"``, N cells, C labels:
    `adata.obs['scbignn']`
        Predicted label, categorical in natural order, for every cell; a labelled cell gets a prediction too. "Unknown"
        where the cell was rejected.
    `adata.obs['scbignn_confidence']`
        Probability of the most probable label, the largest of p, float32 within [1 / C, 1]. Calibrated on labelled
        cells of which p had not seen the label, unless ``config.cross_fit_folds=0`` or no label has two labelled cells.
    `adata.obs['scbignn_entropy']`
        Entropy of p divided by log C, float32 within [0, 1].
    `adata.obs['scbignn_disagreement']`
        Jensen-Shannon divergence between q and p in bits, float32 within [0, 1].
    `adata.obs['scbignn_novelty']`
        How unlike every label the cell is, float32, of any size: the logarithm of its distance to the nearest label,
        less half the largest decision for one. Not written where the config has no components or no cross-fitting,
        or no label has two labelled cells.
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
        `params`, with the checked `recall` of the learned graph where its search is approximate, `connectivities_key` and `distances_key` in the form of `scanpy.pp.neighbors`, so that for example
        ``sc.tl.umap(adata, neighbors_key="scbignn")`` works; `labels`, in the order of the probabilities; `history`,
        a row an epoch; `gene_importance` and `gene_importance_per_label`, read by
        :func:`scbignn.get.gene_importance`; `gene_attention`, the strongest pairs of genes, read by
        :func:`scbignn.get.gene_attention`; `homophily`, of the learned and of the raw PCA graph among
        labelled cells; `expression`, what the matrix was found to hold; `calibration`, read by
        :func:`scbignn.get.calibration`; `rejection`, with the thresholds, where cells were rejected; `mode`; `version`.
    `adata.uns['scbignn_colors']`
        The palette of `labels_key`, where it has one.

    Raises
    ------
    ImportError
        Several processes were started, and Lightning Fabric is not installed.
    KeyError
        `labels_key`, `batch_key`, `layer` or `gene_symbols` does not exist.
    TypeError
        `adata` or `reference` is no AnnData, or `config`, `transformer` or `unlabeled_category` is of a wrong type.
    ValueError
        Names are not unique, labels are missing, single or complete, cells are empty or without a batch, or the matrix
        holds NaN, infinite, negative or otherwise unusable values, `key_added` would overwrite a slot of yours, too few
        genes of the reference are there, `reference` is backed by a file, the transformer does not find enough
        neighbours, or the program was not started as `devices` and `num_nodes` say. The message says what was found and what mends it.

    Examples
    --------
    >>> import scbignn
    >>> adata = scbignn.datasets.simulated(n_cells=120, n_genes=60)
    >>> scbignn.tl.annotate(adata, labels_key="cell_type", n_top_genes=40)
    >>> adata.obs["scbignn"].cat.categories.tolist()
    ['type 0', 'type 1', 'type 2']
    """
    check_mode(mode)
    training = {
        "batch_key": batch_key,
        "unlabeled_category": unlabeled_category,
        "layer": layer,
        "n_top_genes": n_top_genes,
        "n_neighbors": n_neighbors,
        "transformer": transformer,
        "config": config,
        "device": device,
        "backend": backend,
        "devices": devices,
        "num_nodes": num_nodes,
        "checkpoint_dir": checkpoint_dir,
    }
    if reference is not None:
        check_anndata(adata, in_memory=False)
        check_writable(adata, copy=copy)
        check_new_key(adata, key_added)
        # Before training: what the labels are called is looked at by `predict`.
        rejection_rate(reject, false_rejection_rate, [], annotation_config(config))
        reference, own, match, names = _shared_genes(adata, reference, gene_symbols, min_gene_overlap)
        _check_cells(adata, reference, match, layer)
        rng = generator_of(rng)
        with kept_until_done():
            with _said_of_the_reference():
                told = tell_all(reference, layer)
                shared = match.positions >= 0
                model = fit_genes(
                    reference[:, shared],
                    names[shared],
                    labels_key,
                    told=told,
                    rng=rng,
                    **training,
                )
            found = predict(
                adata,
                model,
                mode=mode,
                layer=layer,
                gene_symbols=own,
                min_gene_overlap=min_gene_overlap,
                reject=reject,
                false_rejection_rate=false_rejection_rate,
                transformer=transformer if mode == "transductive" else None,
                key_added=key_added,
                device=device,
                backend=backend,
                rng=rng,
                copy=copy,
            )
            target = found if copy else adata
            overlap = gene_overlap_record(names, match)  # of all genes of the reference, not of the shared ones alone
            run = target.uns[key_added] | {"gene_overlap": overlap}
            write_slots(target, [Slot("uns", key_added, run)])
            return found
    if mode == "inductive":
        msg = 'mode="inductive" needs a reference to learn from. Pass reference=, or leave mode as it is.'
        raise ValueError(msg)
    start = time.perf_counter()
    check_anndata(adata, in_memory=False)
    check_writable(adata, copy=copy)
    check_new_key(adata, key_added, labels_key)
    learned = learn(
        adata,
        labels_key,
        verb="annotate",
        may_be_complete=False,
        rng=rng,
        reject=reject,
        false_rejection_rate=false_rejection_rate,
        **training,
    )
    target = adata.copy() if copy else adata
    slots = annotation_slots(
        target,
        learned.found,
        learned.labels,
        learned.expression,
        learned.params,
        false_rejection_rate=learned.false_rejection_rate,
        key_added=key_added,
    )
    write_slots(target, slots)
    end_run(learned.checkpoint_dir)
    written = ", ".join(str(slot) for slot in slots if slot.value is not None)
    logger.info("annotate: done in %.1f s; wrote %s", time.perf_counter() - start, written)
    return target if copy else None


def _shared_genes(
    adata: AnnData, reference: AnnData, gene_symbols: str | None, min_gene_overlap: float
) -> tuple[AnnData, str | None, GeneMatch, np.ndarray]:
    """The reference, the column of ``adata.var`` with names, and where which genes of the reference are in `adata`."""
    with _said_of_the_reference():
        check_anndata(reference)
    own, theirs = (gene_symbols if gene_symbols in data.var else None for data in (adata, reference))
    if own is None and theirs is None:
        gene_names(adata, gene_symbols)  # raises where a column was asked for
    with _said_of_the_reference():
        reference, names = named_genes(reference, theirs)
    match = match_genes(names, adata, own, min_gene_overlap)
    return reference, own, match, names


def _check_cells(adata: AnnData, reference: AnnData, match: GeneMatch, layer: str | None) -> None:
    """What `predict` and `fit` would refuse, looked at before training: values, and cells without counts in shared genes.

    Cells of `adata` that are not in memory are looked at by a sample.
    """
    rows = ExpressionRows(adata, layer)
    if form_of(rows.matrix) == "rows":
        return
    with _said_of_the_reference():
        theirs, _ = pick_matrix(reference, layer)
    shared = np.flatnonzero(match.positions >= 0)
    in_adata = match.positions[shared]
    for data, name, matrix, genes in ((adata, "adata", rows, in_adata), (reference, "reference", theirs, shared)):
        for start in range(0, data.n_obs, _CHUNK):
            part = matrix[start : start + _CHUNK][:, genes]
            empty = np.flatnonzero(np.asarray((part != 0).sum(1)).ravel() == 0)
            if empty.size:
                cells = data.obs_names[start + empty]
                msg = (
                    f"{empty.size} cells of {name} have no counts in the genes that adata and reference share "
                    f"({some(cells)}). Remove them: {name} = {name}[~{name}.obs_names.isin([...])].copy()."
                )
                raise ValueError(msg)


@contextmanager
def _said_of_the_reference() -> Iterator[None]:
    """Let messages call it by its name."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        error.args = tuple(re.sub(r"\badata\b", "reference", str(part)) for part in error.args)
        raise
