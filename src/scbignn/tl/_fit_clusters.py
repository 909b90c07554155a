"""`tl.fit_clusters`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

import numpy as np
from anndata import AnnData

from .._check import check_anndata
from ..clustering import Config, Model
from ._cluster import Known, clustered
from ._fit import named_genes

logger = logging.getLogger(__name__)


def fit_clusters(
    adata: AnnData,
    n_clusters: int | None = None,
    *,
    layer: str | None = None,
    gene_symbols: str | None = None,
    n_top_genes: int | None = None,
    n_anchors: int | None = None,
    batch_key: str | None = None,
    labels_key: str | None = None,
    unlabeled_category: object = "Unknown",
    must_link: Iterable[tuple[str, str]] | None = None,
    cannot_link: Iterable[tuple[str, str]] | None = None,
    config: Config | None = None,
    device: str = "auto",
    rng: int | np.random.Generator = 0,
) -> Model:
    """Cluster cells as :func:`scbignn.tl.cluster` does, to assign others to the clusters by :func:`scbignn.tl.predict_clusters`.

    Parameters
    ----------
    adata
        Annotated data, cells x genes; of any sort that :func:`scbignn.tl.cluster` takes.
    n_clusters, layer, n_top_genes, n_anchors, batch_key, labels_key, unlabeled_category, must_link, cannot_link, config, device, rng
        As in :func:`scbignn.tl.cluster`.
    gene_symbols
        Column of `adata.var` with the names that genes are matched by; of a name that occurs twice the first gene
        counts, and genes without one are left out. Default: `adata.var_names`.

    Returns
    -------
    :class:`scbignn.clustering.Model`
        Which holds no cells. `adata` stays as it was. With the same seed :func:`scbignn.tl.predict_clusters` gives the
        cells of `adata` the clusters that :func:`scbignn.tl.cluster` gives them, but for cells that labels or pairs held
        in another cluster than their anchors say.

    Raises
    ------
    KeyError
        `layer`, `gene_symbols`, `batch_key` or `labels_key` does not exist, or a pair names a cell that does not.
    TypeError, ValueError
        As in :func:`scbignn.tl.cluster`.

    Examples
    --------
    >>> import scbignn
    >>> adata = scbignn.datasets.simulated(n_cells=150, n_genes=60, fold_change=20.0)
    >>> model = scbignn.tl.fit_clusters(adata[:100], n_clusters=3)
    >>> later = adata[100:].copy()
    >>> scbignn.tl.predict_clusters(later, model)
    >>> later.obs["bgformer"].cat.categories.tolist()
    ['0', '1', '2']
    """
    start = time.perf_counter()
    adata, genes = named_genes(adata, gene_symbols)
    check_anndata(adata, in_memory=False)
    model = clustered(
        adata,
        n_clusters,
        verb="fit_clusters",
        layer=layer,
        n_top_genes=n_top_genes,
        n_anchors=n_anchors,
        batch_key=batch_key,
        known=Known(labels_key, unlabeled_category, must_link, cannot_link),
        config=config,
        device=device,
        rng=rng,
        genes=genes,
    ).found.model
    logger.info("fit_clusters: done in %.1f s; %s", time.perf_counter() - start, model)
    return model
