"""`tl.predict`."""

from __future__ import annotations

import dataclasses
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from anndata import AnnData

from .._adata import ExpressionRows, check_rejects, prediction_slots, write_slots
from .._check import (
    check_anndata,
    check_new_key,
    check_transformer,
    check_writable,
    count_values,
    generator_of,
    pick_matrix,
)
from .._genes import GeneMatch
from .._memory import Size, check_memory, prediction_memory
from .._settings import settings
from .._training import progress_bar
from ..annotation import Model, Prediction, Predictor
from ..graph import Engine, Neighbors, describe_search
from ._learn import choose, rejection_rate
from ._model_genes import match_genes, model_columns
from ._on_cluster import check_client, predict_on_cluster

if TYPE_CHECKING:
    from distributed import Client

logger = logging.getLogger(__name__)


def predict(
    adata: AnnData,
    model: Model,
    *,
    mode: Literal["transductive", "inductive"] = "transductive",
    layer: str | None = None,
    gene_symbols: str | None = None,
    min_gene_overlap: float = 0.5,
    reject: Literal["auto"] | None = None,
    false_rejection_rate: float | None = None,
    transformer: Any = None,
    key_added: str = "scbignn",
    device: str = "auto",
    backend: Literal["auto", "dgl", "torch"] = "auto",
    rng: int | np.random.Generator = 0,
    chunk_size: int = 4096,
    client: Client | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Label the cells of a query by a model that :func:`scbignn.tl.fit` has trained.

    **Transductive**: the query's cells join the reference's in one graph, and the cell-level network p is trained anew on
    known labels and on what the gene-level network q believes of the query. It sees how query cells resemble one another,
    which helps where the query differs from the reference as a whole; what is said of a cell depends on the others. Its
    confidence has the mean that it has in the inductive mode: calibration was measured on cells of which p had learned nothing.

    **Inductive**: each cell by itself. q sees its genes, and p attaches it to its nearest reference cells (Eq. 8 on a
    graph with edges from the cell to the reference and none back). The answer does not depend on what else is in the
    query, and rows are read in chunks, so that memory does not grow with the query.

    Parameters
    ----------
    adata
        The query, cells x genes; of any sort that :func:`scbignn.tl.annotate` takes. It may be backed by a file or by
        Dask, of which `chunk_size` rows at a time are read.
    model
        What was learned.
    mode
        As above.
    layer
        Layer to use instead of `adata.X`.
    gene_symbols
        Column of `adata.var` with gene names to match with the model's. Default: `adata.var_names`. Versions of Ensembl
        ids are passed over where that helps.
    min_gene_overlap
        Smallest share of the model's genes that must be in `adata`. The others are missing, which is not the same as
        having no counts: they are taken to be as in the mean of the reference, and no gene attends to them.
    reject, false_rejection_rate
        Call cells that are like no label "Unknown": with ``reject="auto"``, or with the share of cells of known types
        that may be called so by mistake. The thresholds are conformal, one a label, from labelled cells scored as if
        they had no label; so the promise is about cells like those, and holds across batches only as far as these are
        alike. The best guess stays in the probabilities and in :func:`scbignn.get.annotation`.
    transformer
        What searches neighbours in the joint graph, as in :func:`scbignn.tl.annotate`; transductive mode only.
    key_added
        Name from which all slots below are derived.
    device, backend, rng
        As in :func:`scbignn.tl.annotate`. The inductive mode draws nothing.
    chunk_size
        Cells at a time.
    client
        A `dask.distributed.Client`: chunks are then predicted by the workers of its cluster, and a worker that is lost
        costs time, no result. Inductive mode only. Workers read files themselves, by the same path as here, and choose
        device and backend where they are. Needs the extra ``scbignn[dask]``.
    copy
        Return an annotated copy instead of annotating `adata`.

    Returns
    -------
    None, or the annotated copy with ``copy=True``.
        The slots of :func:`scbignn.tl.annotate`, with these differences:
    `adata.obsp['scbignn_distances']`, `adata.obsp['scbignn_connectivities']`
        The graph among the query's cells, in the same space; transductive mode only.
    `adata.varp`
        Nothing is written: `gene_importance` is that of the model.
    `adata.uns['scbignn']`
        `mode`; `gene_overlap`, with the `share` of the model's genes that were found, their number `n_genes`,
        `n_missing` and the names `missing`; `model`, where it comes from; `history`, `gene_importance` and `homophily`
        of the model; `params`, `labels`, `expression` and `version` as there.

    Raises
    ------
    KeyError
        `layer` or `gene_symbols` does not exist.
    RuntimeError
        Workers of the cluster died over the same cells again and again.
    TypeError
        `adata` is no AnnData, `model` no model, `client` no client, or `transformer` no such instance.
    ValueError
        Too few of the model's genes are there, cells have no counts in any of them, names are not unique, the matrix
        holds unusable values, `mode` is unknown, needs all cells on one machine or has no use for a transformer, or
        `key_added` would overwrite a slot of yours.
    """
    start = time.perf_counter()
    check_anndata(adata, in_memory=False)
    check_writable(adata, copy=copy)
    _check_arguments(model, mode, chunk_size, transformer)
    if client is not None:
        check_client(client)
        if mode != "inductive":
            msg = 'the transductive mode looks at all cells together, on one machine. Use mode="inductive" with client.'
            raise ValueError(msg)
    check_new_key(adata, key_added)
    rate = rejection_rate(reject, false_rejection_rate, model.labels, model.config)
    if rate is not None:
        check_rejects(model.trust)
    match = match_genes(model.genes, adata, gene_symbols, min_gene_overlap)
    torch_device, engine = choose(device, backend)
    seed = int(generator_of(rng).integers(2**31))
    n_values = match.share * count_values(pick_matrix(adata, layer, in_memory=False)[0])
    size = Size(adata.n_obs, len(model.genes), n_values, len(model.labels))
    mend = (
        "smaller chunk_size" if mode == "inductive" else 'mode="inductive", which reads a few thousand cells at a time'
    )
    phases = prediction_memory(size, model, mode, chunk_size=chunk_size)
    check_memory("predict", phases, f"Pass a {mend}, or predict parts of the cells one after another.")
    rows = ExpressionRows(adata, layer)
    logger.info(
        "predict: %s, %d cells, %.1f %% of the model's genes; adata.%s holds %s; on %s, cell graph by %s",
        mode,
        adata.n_obs,
        100 * match.share,
        rows.expression.slot,
        rows.expression,
        torch_device,
        engine,
    )
    if client is None:
        found, neighbors = _predicted(
            adata,
            rows,
            model,
            match,
            mode,
            chunk_size=chunk_size,
            device=torch_device,
            engine=engine,
            seed=seed,
            transformer=transformer,
        )
    else:
        where = {"chunk_size": chunk_size, "device": device, "backend": backend}
        found, neighbors = _by_workers(client, adata, rows, model, match, **where), None
    params = {"seed": seed, "backend": engine, "config": model.config.to_dict()}
    if transformer is not None:
        params["transformer"] = describe_search(transformer)
    about = {
        "mode": mode,
        "expression": dataclasses.asdict(rows.expression),
    }
    target = adata.copy() if copy else adata
    slots = prediction_slots(
        target,
        found,
        neighbors,
        model,
        match,
        params=params,
        about=about,
        false_rejection_rate=rate,
        key_added=key_added,
    )
    write_slots(target, slots)
    written = ", ".join(str(slot) for slot in slots if slot.value is not None)
    logger.info("predict: done in %.1f s; wrote %s", time.perf_counter() - start, written)
    return target if copy else None


def _check_arguments(model: Model, mode: str, chunk_size: int, transformer: Any) -> None:
    if not isinstance(model, Model):
        msg = f"model is a {type(model).__name__}. Pass what scbignn.tl.fit or scbignn.read_model returned."
        raise TypeError(msg)
    check_mode(mode)
    if isinstance(chunk_size, bool) or not isinstance(chunk_size, (int, np.integer)) or chunk_size < 1:
        msg = f"chunk_size={chunk_size!r} must be an integer of at least 1. Use for example 4096."
        raise ValueError(msg)
    check_transformer(transformer)
    if transformer is not None and mode == "inductive":
        msg = (
            'transformer searches the joint graph of mode="transductive"; inductive neighbours are found among the '
            "reference, exactly. Leave transformer out."
        )
        raise ValueError(msg)


def check_mode(mode: str) -> None:
    """One of the two.

    Raises
    ------
    ValueError
        It is not.
    """
    if mode not in ("transductive", "inductive"):
        msg = f'mode={mode!r} is unknown. Use mode="transductive" or mode="inductive".'
        raise ValueError(msg)


def _predicted(
    adata: AnnData,
    rows: ExpressionRows,
    model: Model,
    match: GeneMatch,
    mode: str,
    *,
    chunk_size: int,
    device: torch.device,
    engine: Engine,
    seed: int,
    transformer: Any,
) -> tuple[Prediction, Neighbors | None]:
    predictor = Predictor(model, match.positions >= 0, device=device, engine=engine)
    starts = range(0, adata.n_obs, chunk_size)
    chunks = (model_columns(adata, rows, match, slice(start, start + chunk_size)) for start in starts)
    if mode == "transductive":
        return predictor.transductive(sp.vstack(list(chunks), format="csr"), seed=seed, transformer=transformer)
    parts = []
    with progress_bar(len(starts), unit="chunk", name="prediction") as bar:
        for chunk in chunks:
            parts.append(predictor.inductive(chunk))
            bar.update()
    return _joined(parts), None


def _by_workers(
    client: Client,
    adata: AnnData,
    rows: ExpressionRows,
    model: Model,
    match: GeneMatch,
    *,
    chunk_size: int,
    **where: str,
) -> Prediction:
    """`where` are device and backend; what "auto" means here, it means on the workers."""
    where = {name: getattr(settings, name) if value == "auto" else value for name, value in where.items()}
    chunks = [slice(start, min(start + chunk_size, adata.n_obs)) for start in range(0, adata.n_obs, chunk_size)]
    refuse = partial(model_columns, adata, rows, match)
    with progress_bar(len(chunks), unit="chunk") as bar:
        return _joined(
            predict_on_cluster(client, rows, chunks, model, match.positions, refuse=refuse, progress=bar, **where)
        )


def _joined(parts: list[Prediction]) -> Prediction:
    columns = zip(*parts, strict=True)
    return Prediction(*(None if column[0] is None else np.concatenate(column) for column in columns))
