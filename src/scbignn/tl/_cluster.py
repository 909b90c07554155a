"""`tl.cluster`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
from anndata import AnnData

from .._adata import ExpressionRows, clustering_slots, write_slots
from .._check import (
    Expression,
    Labels,
    cell_pairs,
    check_anndata,
    check_config,
    check_free,
    check_n_clusters,
    check_writable,
    count_values,
    generator_of,
    pick_matrix,
    read_batches,
    read_labels,
)
from .._keys import ClusterKeys
from .._memory import Size, check_memory, clustering_memory
from .._training import choose_device
from ..clustering import Clustering, Config, Constraints, cluster_cells, constraints_of

logger = logging.getLogger(__name__)


def cluster(
    adata: AnnData,
    n_clusters: int | None = None,
    *,
    layer: str | None = None,
    n_top_genes: int | None = None,
    n_anchors: int | None = None,
    batch_key: str | None = None,
    labels_key: str | None = None,
    unlabeled_category: object = "Unknown",
    must_link: Iterable[tuple[str, str]] | None = None,
    cannot_link: Iterable[tuple[str, str]] | None = None,
    config: Config | None = None,
    key_added: str = "bgformer",
    device: str = "auto",
    rng: int | np.random.Generator = 0,
    copy: bool = False,
) -> AnnData | None:
    """Cluster cells through anchors (after BGFormer, arXiv 2602.07475), in time linear in cells.

    Each cell is joined to the few anchors nearest to it, and the bipartite graph of cells and anchors is clustered by its
    spectrum: there is no graph between cells. Anchors are centres of k-means in principal components, in several sets,
    so that no single one matters. That is done twelve times with other anchors, and a cell's cluster is the one in which most
    of these partitions put it, so that the seed hardly matters (``config=Config(n_partitions=1)`` for one only, in a fifth of
    the time). The published network on top of that, in which cells attend to anchor tokens, is
    ``config=Config.paper()``; it takes minutes and gains little, as the docs show.

    Parameters
    ----------
    adata
        Annotated data, cells x genes. Integer counts, or values proportional to counts in each cell, or log1p of either,
        which is undone. It may be backed by a file or by Dask, of which a few thousand rows at a time are read; with a
        network the genes that are used are held in memory.
    n_clusters
        K. Default: estimated, by what is written to ``uns[key]["n_clusters_evidence"]``. The estimate is a suggestion.
    layer
        Layer to use instead of `adata.X`.
    n_top_genes
        Genes of high dispersion that are used. Default: `config.n_top_genes`.
    n_anchors
        Anchors in a set. Default: `config.n_anchors`, or a fifth of the cells where these are few.
    batch_key
        Column of `adata.obs` with the batch of each cell. Each batch gets anchors of its own, and every cell is joined to the
        nearest ones of each, so that cells of one type meet across batches; anchors that are far from a cell count
        little, as where a batch lacks its type. Use it where batches differ by technique or treatment, not to hide what
        you look for. Not with a network.
    labels_key
        Column of `adata.obs` with labels of some cells, at least two different ones. Each label becomes a cluster that
        holds all of its cells and starts from them; other cells join it or one of the clusters without a label. One
        partition only. Not with a network.
    unlabeled_category
        What cells without a label have there, beside missing values.
    must_link, cannot_link
        Pairs of names of cells that are to be in one cluster, or in two. One partition only. Not with a network.
    config
        Settings of the method; see :class:`scbignn.clustering.Config`. Default: ``Config()``.
    key_added
        Name from which all slots below are derived.
    device
        Where a network is trained: `"auto"` (CUDA where torch has it, else the CPU), or a torch device. Without a
        network all runs on the CPU.
    rng
        Seed or generator. On one machine's CPU the same seed gives the same result. Global random states are neither
        read nor changed.
    copy
        Return a clustered copy instead of writing to `adata`.

    Returns
    -------
    None, or the clustered copy with ``copy=True``.
        `adata.X` and every slot not named here stay as they were, also after an error or an interrupt. Slots, with
        ``key_added="bgformer"``, N cells, K clusters, S sets of m anchors:
    `adata.obs['bgformer']`
        Cluster, categorical: "0" is the largest.
    `adata.obs['bgformer_confidence']`
        Membership of that cluster, the largest of the row below, float32. It says how much of a cell's neighbourhood is
        in the cluster, not how probable it is that the cluster exists: see `stability`.
    `adata.obsm['X_bgformer']`
        What was clustered, float32: singular vectors of the graph, rows of length 1, (N, K); or with a network its
        embedding z, (N, `config.width`).
    `adata.obsm['bgformer_proba']`
        Memberships, DataFrame of float32, cells x clusters, rows sum to 1: for each cluster the share of its cells in
        what the cell's anchors are joined to, or 1 where a label or a pair holds it in another cluster than they say; or
        with a network the soft assignment of its clustering head.
    `adata.obsm['bgformer_anchors']`
        The graph: CSR float32 (N, S m), rows sum to 1, `config.n_nearest` entries a set.
    `adata.obsm['bgformer_attention']`
        With a network that attends: the largest `config.n_nearest` attention weights of each cell, CSR float32
        (N, tokens).
    `adata.uns['bgformer']`
        `clusters`, a row a cluster: `n_cells`, mean `confidence`, and `stability`, the mean Jaccard index with the most
        similar cluster of each of ten clusterings of half of the cells (one partition each, whatever labels and pairs say), and
        `label`, that of its labelled cells, where there are such; `anchors`: `vectors` in principal components,
        `usage`, the share of the cells' weight that each has, `memberships` in the clusters, and the `genes` that each
        expresses most above the mean; `n_clusters_evidence`, where the number was estimated; `history`, a row an epoch
        of a network; `expression`, what the matrix was found to hold; `params`; `version`.

    Raises
    ------
    KeyError
        `layer`, `batch_key` or `labels_key` does not exist, or a pair names a cell that does not.
    TypeError
        `adata` is no AnnData, or `n_clusters`, `config` or a list of pairs is of a wrong type.
    ValueError
        Labels and pairs contradict one another, or do not fit in `n_clusters`; these or batches come with a network, or these with
        ``config.n_partitions > 1``;
        cells lack a batch.
        Names are not unique, cells are empty, the matrix holds NaN, infinite, negative or otherwise unusable values,
        hardly any gene varies, there are more clusters than anchors, or `key_added` would overwrite a slot of yours.

    Examples
    --------
    >>> import scbignn
    >>> adata = scbignn.datasets.simulated(n_cells=150, n_genes=60, fold_change=20.0)
    >>> scbignn.tl.cluster(adata, n_clusters=3)
    >>> adata.obs["bgformer"].value_counts().tolist()
    [50, 50, 50]
    """
    start = time.perf_counter()
    check_anndata(adata, in_memory=False)
    check_writable(adata, copy=copy)
    check_free(adata, ClusterKeys(key_added), labels_key)
    run = clustered(
        adata,
        n_clusters,
        verb="cluster",
        layer=layer,
        n_top_genes=n_top_genes,
        n_anchors=n_anchors,
        batch_key=batch_key,
        known=Known(labels_key, unlabeled_category, must_link, cannot_link),
        config=config,
        device=device,
        rng=rng,
        genes=adata.var_names.to_numpy(dtype=str),
    )
    target = adata.copy() if copy else adata
    params = {
        "n_clusters": "estimated" if n_clusters is None else int(n_clusters),
        "layer": "" if layer is None else layer,
        "batch_key": "" if batch_key is None else batch_key,
        "labels_key": "" if labels_key is None else labels_key,
        "seed": run.seed,
        "config": {name: value for name, value in run.config.to_dict().items() if value is not None},
    }
    slots = clustering_slots(target, run.found, run.expression, params, labels=run.labels, key_added=key_added)
    write_slots(target, slots)
    written = ", ".join(str(slot) for slot in slots if slot.value is not None)
    logger.info("cluster: done in %.1f s; wrote %s", time.perf_counter() - start, written)
    return target if copy else None


class Known(NamedTuple):
    """What a user knows of the partition: the arguments of `tl.cluster`."""

    labels_key: str | None
    unlabeled_category: object
    must_link: Iterable[tuple[str, str]] | None
    cannot_link: Iterable[tuple[str, str]] | None


class Run(NamedTuple):
    """A clustering, and what it rests on."""

    found: Clustering
    expression: Expression
    labels: Labels | None
    config: Config
    seed: int


def clustered(
    adata: AnnData,
    n_clusters: int | None,
    *,
    verb: str,
    layer: str | None,
    n_top_genes: int | None,
    n_anchors: int | None,
    batch_key: str | None,
    known: Known,
    config: Config | None,
    device: str,
    rng: int | np.random.Generator,
    genes: np.ndarray,
) -> Run:
    """What `tl.cluster` and `tl.fit_clusters` have in common; `verb` is what the log calls it."""
    check_n_clusters(n_clusters, adata.n_obs)
    config = check_config(config, Config, "Config(n_anchors=512)", n_top_genes=n_top_genes, n_anchors=n_anchors)
    labels, constraints = _constraints(adata, known, n_clusters, config)
    batches = read_batches(adata, batch_key)
    if batches is not None and config.network:
        msg = (
            "batch_key is of no use to a network, which would not know of batches. Leave it out, or cluster without one: "
            "config=Config()."
        )
        raise ValueError(msg)
    torch_device = choose_device(device)
    seed = int(generator_of(rng).integers(2**31))
    size = Size(*adata.shape, count_values(pick_matrix(adata, layer, in_memory=False)[0]))
    mend = (
        "Use scbignn.tl.fit_clusters on fewer cells and scbignn.tl.predict_clusters on all, or open adata backed='r'."
    )
    n_batches = 1 if batches is None else len(batches.names)
    check_memory(verb, clustering_memory(size, config, n_clusters, n_batches), mend)
    rows = ExpressionRows(adata, layer)
    logger.info(
        "%s: %d cells into %s clusters; adata.%s holds %s; on %s",
        verb,
        adata.n_obs,
        "an estimated number of" if n_clusters is None else n_clusters,
        rows.expression.slot,
        rows.expression,
        torch_device if config.network else "cpu",
    )
    about = {
        "seed": seed,
        "expression": str(rows.expression),
        "slot": rows.expression.slot,
        "n_obs": adata.n_obs,
        "n_vars": adata.n_vars,
        "versions": {name: version(name) for name in ("scbignn", "torch", "numpy", "scikit-learn")},
    }
    n_clusters = None if n_clusters is None else int(n_clusters)
    found = cluster_cells(
        rows,
        adata.shape,
        n_clusters,
        config,
        genes=genes,
        device=torch_device,
        seed=seed,
        about=about,
        constraints=constraints,
        batches=None if batches is None else batches.codes,
    )
    return Run(found, rows.expression, labels, config, seed)


def _constraints(
    adata: AnnData, known: Known, n_clusters: int | None, config: Config
) -> tuple[Labels | None, Constraints | None]:
    """Labels, and all that is known; None where nothing is."""
    if known.labels_key is None and known.must_link is None and known.cannot_link is None:
        return None, None
    if config.network:
        msg = (
            "labels_key, must_link and cannot_link are of no use to a network, which would not keep to them. Leave them out, or "
            "cluster without one: config=Config()."
        )
        raise ValueError(msg)
    if config.n_partitions is not None and config.n_partitions > 1:
        msg = (
            f"config asks for a majority of n_partitions={config.n_partitions}, which would not keep to labels_key, must_link and "
            "cannot_link. Leave these out, or use n_partitions=1."
        )
        raise ValueError(msg)
    labels, codes, n_labels = None, np.full(adata.n_obs, -1, dtype=np.int64), 0
    if known.labels_key is not None:
        labels = read_labels(adata, known.labels_key, known.unlabeled_category, may_be_complete=True)
        codes, n_labels = labels.codes, len(labels.names)
        if n_clusters is not None and n_clusters < n_labels:
            msg = (
                f"n_clusters={n_clusters} is less than the {n_labels} labels in adata.obs[{known.labels_key!r}], each of which "
                f"becomes a cluster. Use at least n_clusters={n_labels}."
            )
            raise ValueError(msg)
    together = cell_pairs(adata, known.must_link, "must_link")
    apart = cell_pairs(adata, known.cannot_link, "cannot_link")
    return labels, constraints_of(codes, n_labels, together, apart, adata.obs_names.to_numpy())
