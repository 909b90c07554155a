"""`tl.fit`."""

from __future__ import annotations

import logging
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from anndata import AnnData

from .._adata import label_colors, tell_all
from .._check import Expression, check_type, gene_names, some
from .._checkpoints import end_run
from ..annotation import Config, Model, model_of, trust_of
from ._learn import learn

logger = logging.getLogger(__name__)


def fit(
    adata: AnnData,
    labels_key: str,
    *,
    batch_key: str | None = None,
    unlabeled_category: object = "Unknown",
    layer: str | None = None,
    gene_symbols: str | None = None,
    n_top_genes: int | None = None,
    n_neighbors: int | None = None,
    transformer: Any = None,
    config: Config | None = None,
    device: str = "auto",
    backend: Literal["auto", "dgl", "torch"] = "auto",
    devices: int | None = None,
    num_nodes: int | None = None,
    rng: int | np.random.Generator = 0,
    checkpoint_dir: str | Path | None = None,
) -> Model:
    """Train scBiGNN (arXiv 2312.10310) on a labelled reference, to label other cells with :func:`scbignn.tl.predict`.

    Parameters
    ----------
    adata
        The reference, cells x genes, of any sort that :func:`scbignn.tl.annotate` takes. Cells without a label may be among them; they then take part as in :func:`scbignn.tl.annotate`.
    labels_key
        Column of `adata.obs` with the known labels.
    batch_key
        Column of `adata.obs` with batches: donors, samples, technologies. Genes are then chosen by what they tell within
        batches, and confidence and thresholds are taken from labelled cells whose whole batch was hidden, as is that of a
        query. Takes longer: see the guide, Batches.
    unlabeled_category
        Cells that carry this label, or none (NaN), are unlabelled.
    layer
        Layer to use instead of `adata.X`.
    gene_symbols
        Column of `adata.var` with the names that genes are matched by; of a name that occurs twice the first gene
        counts, and genes without one are left out. Default: `adata.var_names`.
    n_top_genes, n_neighbors, transformer, config, device, backend, devices, num_nodes, rng, checkpoint_dir
        As in :func:`scbignn.tl.annotate`.

    Returns
    -------
    :class:`scbignn.annotation.Model`
        Both networks, the linear machines they correct, and what is needed of each reference cell to attach new ones to
        it. `adata` stays as it was.

    Raises
    ------
    ImportError
        Several processes were started, and Lightning Fabric is not installed.
    KeyError
        `labels_key`, `batch_key`, `layer` or `gene_symbols` does not exist.
    TypeError, ValueError
        As in :func:`scbignn.tl.annotate`, but for all cells being labelled, which is the rule here.

    Examples
    --------
    >>> import scbignn
    >>> adata = scbignn.datasets.simulated(n_cells=150, n_genes=60)
    >>> reference, query = adata[:100], adata[100:].copy()
    >>> model = scbignn.tl.fit(reference, labels_key="cell_type")
    >>> scbignn.tl.predict(query, model)
    >>> query.obs["scbignn"].cat.categories.tolist()
    ['type 0', 'type 1', 'type 2']
    """
    named, genes = named_genes(adata, gene_symbols)
    return fit_genes(
        named,
        genes,
        labels_key,
        told=None if named is adata else tell_all(adata, layer),
        batch_key=batch_key,
        unlabeled_category=unlabeled_category,
        layer=layer,
        n_top_genes=n_top_genes,
        n_neighbors=n_neighbors,
        transformer=transformer,
        config=config,
        device=device,
        backend=backend,
        devices=devices,
        num_nodes=num_nodes,
        rng=rng,
        checkpoint_dir=checkpoint_dir,
    )


def fit_genes(
    adata: AnnData, genes: np.ndarray, labels_key: str, *, told: Expression | None, **arguments: Any
) -> Model:
    """:func:`fit` on genes that are chosen: their names, (M,), and what the values are, where there were more before."""
    start, batch_key = time.perf_counter(), arguments["batch_key"]
    learned = learn(
        adata, labels_key, of_its_own=False, verb="fit", may_be_complete=True, hashed=True, told=told, **arguments
    )
    about = {
        "labels_key": labels_key,
        "seed": learned.params["seed"],
        "expression": str(learned.expression),
        "slot": learned.expression.slot,
        "n_obs": adata.n_obs,
        "n_vars": adata.n_vars,
        "data": learned.fingerprint["expression"],
        "versions": {name: version(name) for name in ("scbignn", "torch", "numpy", "scikit-learn")},
    }
    if batch_key is not None:
        about["batch_key"] = batch_key
    colors = label_colors(adata, labels_key, learned.labels.names)
    trust, _ = trust_of(learned.found, of_its_own=False, seed=learned.params["seed"])
    model = model_of(
        learned.found, genes, learned.labels.names, trust=trust, batches=learned.batches, colors=colors, about=about
    )
    end_run(learned.checkpoint_dir)
    logger.info("fit: done in %.1f s; %s", time.perf_counter() - start, model)
    return model


def named_genes(adata: AnnData, gene_symbols: str | None) -> tuple[AnnData, np.ndarray]:
    """The data and what its genes are called; with `gene_symbols` only the genes that have a name, each name once."""
    check_type(adata)
    names = gene_names(adata, gene_symbols)
    if gene_symbols is None:
        return adata, names.to_numpy(dtype=str)
    kept = ~(names.isna() | names.duplicated() | (names == ""))
    if not kept.any():
        msg = f"adata.var[{gene_symbols!r}] names no gene. Pass a column of gene names as gene_symbols."
        raise ValueError(msg)
    if not kept.all():
        if adata.isbacked:
            msg = (
                f"{np.sum(~kept)} genes without a name of their own in var[{gene_symbols!r}] cannot be left out of data that "
                "are backed by a file. Use adata = adata.to_memory() first."
            )
            raise ValueError(msg)
        logger.info(
            "%d genes without a name of their own in var[%r] are left out, such as %s",
            np.sum(~kept),
            gene_symbols,
            some(adata.var_names[~kept], 3),
        )
        adata = adata[:, kept]
    return adata, names[kept].to_numpy(dtype=str)
