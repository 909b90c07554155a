"""`tl.infer_grn`."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from numbers import Integral
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from anndata import AnnData

from .._adata import (
    grn_index_slots,
    grn_slots,
    read_groups,
    read_log_expression,
    stale_grn_slots,
    write_slots,
)
from .._check import check_anndata, check_config, check_free, checkpoint_folder, counted, generator_of
from .._checkpoints import Checkpoints, end_run
from .._keys import GrnKeys, group_keys, is_grn
from .._settings import settings
from .._training import choose_device
from ..graph import choose_engine
from ..regulation import SPLITS, Config, ScBert, Split, infer_links, read_network
from ._grn_encoder import checked_encoder, name_of, read_encoder

logger = logging.getLogger(__name__)


def infer_grn(
    adata: AnnData,
    network: pd.DataFrame,
    *,
    tfs: Iterable[str] | None = None,
    layer: str | None = None,
    encoder: Literal["auto", "expression", "transformer"] | pd.DataFrame | ScBert = "auto",
    split: Split = "edge",
    groupby: str | None = None,
    n_edges: int | None = None,
    config: Config | None = None,
    key_added: str = "sctransnet",
    device: str = "auto",
    rng: int | np.random.Generator = 0,
    checkpoint_dir: str | Path | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Score regulatory links from known ones and expression, beside what degree alone would say.

    Known edges are hidden a part at a time, and every pair of a TF and a gene is scored by models that did not see whether
    it is known. A known edge with a low score is one that the rest of the network and expression do not bear out; a high
    score without a known edge is a candidate. The models correct a baseline that sees no expression at all: how many
    targets a TF has, and how many TFs a gene has. On usual benchmarks that baseline alone reaches an AUROC of .9; so its
    figures stand beside those of the model, in `uns` and in the log, which also say whether the difference is sure.

    The setting is that of scTransNet (arXiv 2407.18181): vectors of genes, a graph neural network over known edges, a joint
    head for pairs. Here the network is one of four members that are averaged; ``config=Config.paper()`` leaves it alone.

    Parameters
    ----------
    adata
        Annotated data, cells x genes, in memory. Counts become log1p of counts per 10,000; log-transformed values are
        taken as they are. All genes are candidates to be targets: choose those of interest first.
    network
        Known edges, with the columns `source` (TF) and `target`, as decoupler has them; edges of a `weight` of 0 are left
        out, other weights are not used. Edges of genes that `adata` lacks, repeated ones and those of a gene to itself are
        left out, and the log says how many.
    tfs
        Genes to take as TFs. Default: all sources. Those without known edges are scored with ``split="tf"`` and
        ``"both"``, since nothing else is known of them, and listed in `uns`.
    layer
        Layer to use instead of `X`.
    encoder
        What stands for a gene: `"expression"`, the principal components of its standardised expression, which `"auto"`
        means; `"transformer"`, vectors of genes in cells by a small transformer that is first trained on these cells to
        tell hidden expression, pooled as `config` says; a table with a row for each gene, named as in `adata.var_names`, such as vectors of a foundation model; or
        scBERT's checkpoint, as :func:`scbignn.regulation.read_scbert` reads it, pooled likewise. Both transformers read
        cells once, whatever ``config.n_repeats``.
    split
        What is hidden together, which is the question that scores answer: `"edge"`, other edges of the same TFs and genes
        are known; `"target"`, nothing is known of the gene as a target; `"tf"`, nothing of the TF; `"both"`, neither.
    groupby
        Column of `obs`: a network for each group of at least 20 cells, from its own cells and the same known edges. Each is
        a run of its own under the key ``"<key_added>_<number>"``; :func:`scbignn.get.grn` puts their links together.
    n_edges
        How many of the highest scores to keep. Default: twice as many as there are known edges.
    config
        Settings of the method; see :class:`scbignn.regulation.Config`. Default: ``Config()``.
    key_added
        Name from which all slots below are derived.
    device
        `"auto"` (CUDA where torch has it, else the CPU), or a torch device.
    rng
        Seed or generator. On one machine's CPU the same seed gives identical results.
    checkpoint_dir
        Folder that keeps the training of ``encoder="transformer"``: started again with the same arguments after an
        interruption, it goes on from there, to the same result. What was kept is removed at the end.
    copy
        Return a copy with the results instead of writing to `adata`.

    Returns
    -------
    None, or the copy with ``copy=True``.
        `adata.X` and every slot not named here stay as they were, also after an error. Slots, with
        ``key_added="sctransnet"``:
    `adata.varp['sctransnet']`
        Row TF, column target: probability that the pair is an edge of a network like `network`, for the `n_edges` highest.
        CSR float32 (n_vars, n_vars). Calibrated on hidden pairs, where an unknown pair counts as no edge.
    `adata.varp['sctransnet_known']`
        1 for each known edge, CSR float32.
    `adata.varp['sctransnet_sd']`, `adata.varp['sctransnet_frequency']`
        Standard deviation of the probability over repeats, and the share of repeats that had the pair among the first
        `n_edges`; written with ``config.n_repeats`` of at least 2. CSR float32.
    `adata.uns['sctransnet']`
        `metrics`, on hidden pairs, in the mean over hidden parts: `auroc`, `auprc`, `auprc_ratio` (to the share of edges),
        `early_precision`, `tf_auroc` and `tf_auprc` (means over TFs), then the same as `baseline_auroc` and so on for
        degree, as `ridge_...` for the linear member, and as `network_...` for that without expression; `auprc_gain` over
        the baseline and `expression_gain`, each with a p-value; `verdict`, the same in words; `curves` and `roc`,
        precision and recall, and true and false positive rates; `history`; `network`, what became of the table; `symmetric`, whether edges mostly run both ways, so that
        the reverse of a hidden pair was hidden too; `params`; `expression`; `version`. With `groupby` these are in
        `adata.uns['sctransnet_0']` and so on, as the other slots, and here is `groups`, a DataFrame with a row for each key:
        `group`, `n_cells`, `verdict`.

    Raises
    ------
    KeyError
        `layer`, or the column `groupby`, does not exist.
    TypeError
        An argument is of a wrong type.
    ValueError
        The table, the matrix, or another argument cannot be used. The message says what was found and what mends it.

    Examples
    --------
    >>> import scbignn
    >>> adata, network = scbignn.datasets.simulated_network(n_cells=100, n_tfs=8, n_genes=60)
    >>> config = scbignn.regulation.Config(members=("ridge",))
    >>> scbignn.tl.infer_grn(adata, network, config=config)
    >>> scbignn.get.grn(adata).columns.tolist()
    ['source', 'target', 'weight', 'known', 'rank']
    """
    start = time.perf_counter()
    check_anndata(adata)
    check_free(adata, GrnKeys(key_added))
    config = check_config(config, Config, "Config(n_repeats=5)")
    if split not in SPLITS:
        msg = f"split={split!r} is unknown. Use split={', '.join(map(repr, SPLITS[:-1]))} or {SPLITS[-1]!r}."
        raise ValueError(msg)
    groups = read_groups(adata, groupby)
    keys = [key_added] if groupby is None else [f"{key_added}_{number}" for number in range(len(groups))]
    for key in keys:
        _check_group_free(adata, key, key_added)
    known = read_network(network, adata.var_names, tfs)
    if split in ("edge", "target"):  # nothing is learned of a TF without edges, and nothing can be said of it
        known = known._replace(tfs=known.tfs[: known.n_with_edges], known=known.known[: known.n_with_edges])
    n_others = known.known.size - int(known.known.sum()) - len(known.tfs)  # less those of a gene with itself
    _check_enough(known.n_with_edges, int(known.known.sum()), n_others, split, config)
    n_edges = _checked_n_edges(n_edges, int(known.known.sum()), known.known.size)
    encode = checked_encoder(encoder, adata.var_names, config)
    folder = checkpoint_folder(checkpoint_dir)
    torch_device = choose_device(device)
    engine = choose_engine(settings.backend, torch_device)
    seed = int(generator_of(rng).integers(2**31))
    x, expression = read_log_expression(adata, layer)
    logger.info(
        "infer_grn: %s of %s to %s; split by %s; adata.%s holds %s; on %s",
        counted(int(known.known.sum()), "known edge"),
        counted(known.n_with_edges, "TF"),
        counted(adata.n_vars, "gene"),
        split,
        expression.slot,
        expression,
        torch_device,
    )
    params = {
        "split": split,
        "encoder": name_of(encoder),
        "n_edges": n_edges,
        "seed": seed,
        "backend": engine,
        "config": config.to_dict(),
    }
    slots, about = [], []
    for number, (key, group) in enumerate(zip(keys, groups, strict=True)):
        own, file = x[group.cells], Checkpoints(folder, {}).file(_kept(number))
        found = infer_links(
            own,
            known.known,
            known.tfs,
            config,
            split,
            encode
            or read_encoder(
                encoder, own, expression, adata.var_names, config, device=torch_device, seed=seed, checkpoint=file
            ),
            n_with_edges=known.n_with_edges,
            n_edges=n_edges,
            device=torch_device,
            engine=engine,
            seed=seed,
        )
        if found.symmetric and not slots:
            logger.info(
                "infer_grn: most edges between TFs are known both ways, so the reverse of a hidden pair was hidden too"
            )
        whose = "" if groupby is None else f"{group.name} ({counted(own.shape[0], 'cell')}): "
        logger.info("infer_grn: %s%s", whose, found.verdict)
        slots += grn_slots(found, known, expression, params, n_edges=n_edges, n_vars=adata.n_vars, key_added=key)
        about.append((group.name, own.shape[0], found.verdict))
    target = adata.copy() if copy else adata
    if groupby is not None:
        slots += grn_index_slots(key_added, groupby, keys, about)
    write_slots(target, stale_grn_slots(adata, key_added, keys) + slots)
    end_run(folder, [_kept(number) for number in range(len(groups))])
    written = ", ".join(str(slot) for slot in slots if slot.value is not None)
    logger.info("infer_grn: done in %.1f s; wrote %s", time.perf_counter() - start, written)
    return target if copy else None


def _kept(group: int) -> str:
    """The name below which the encoder of a group is kept."""
    return f"encoder-{group}"


def _check_group_free(adata: AnnData, key: str, key_added: str) -> None:
    """Slots that are free, or of a group of an earlier run of the same name."""
    if key != key_added and key not in group_keys(adata.uns, key_added) and is_grn(adata.uns.get(key)):
        msg = (
            f"with groupby, key_added={key_added!r} would overwrite the run in adata.uns[{key!r}]. Use another name, such as "
            f'key_added="{key_added}_groups".'
        )
        raise ValueError(msg)
    check_free(adata, GrnKeys(key))


def _check_enough(n_tfs: int, n_edges: int, n_others: int, split: str, config: Config) -> None:
    """Something to hide and something to learn from."""
    least = 2 * config.n_folds
    if n_edges < least:
        msg = (
            f"network has {counted(n_edges, 'edge')} among the genes of adata, and at least {least} are needed to hide "
            f"{config.n_folds} parts in turn. Pass a larger network, or keep more genes in adata."
        )
        raise ValueError(msg)
    if n_others < least:
        msg = (
            f"all pairs of a TF and another gene of adata but {n_others} are edges of network, and at least {least} others "
            "are needed to tell edges from. Keep genes in adata that are no targets."
        )
        raise ValueError(msg)
    if split in ("tf", "both") and n_tfs < least:
        msg = (
            f"split={split!r} hides TFs, and network has {n_tfs} among the genes of adata, fewer than {least}. Use "
            'split="edge" or "target", or a config with fewer n_folds.'
        )
        raise ValueError(msg)


def _checked_n_edges(n_edges: int | None, n_known: int, n_pairs: int) -> int:
    if n_edges is None:
        return min(2 * n_known, n_pairs)
    if isinstance(n_edges, bool) or not isinstance(n_edges, Integral):
        msg = f"n_edges is {n_edges!r}. Pass a whole number, such as n_edges=1000."
        raise TypeError(msg)
    if n_edges < 1:
        msg = f"n_edges={n_edges} must be at least 1. Pass for example n_edges=1000."
        raise ValueError(msg)
    return min(int(n_edges), n_pairs)
