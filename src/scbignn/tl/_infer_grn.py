"""`tl.infer_grn`."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable
from numbers import Integral
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

from .._adata import grn_slots, read_log_expression, write_slots
from .._check import Expression, check_anndata, check_free, counted, generator_of, some
from .._keys import GrnKeys
from .._settings import settings
from .._training import choose_device
from ..graph import choose_engine
from ..regulation import (
    SPLITS,
    Config,
    Encoder,
    ScBert,
    Split,
    encode_genes,
    expression_encoder,
    infer_links,
    read_network,
    table_encoder,
)

logger = logging.getLogger(__name__)


def infer_grn(
    adata: AnnData,
    network: pd.DataFrame,
    *,
    tfs: Iterable[str] | None = None,
    layer: str | None = None,
    encoder: Literal["auto", "expression"] | pd.DataFrame | ScBert = "auto",
    split: Split = "edge",
    n_edges: int | None = None,
    config: Config | None = None,
    key_added: str = "sctransnet",
    device: str = "auto",
    rng: int | np.random.Generator = 0,
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
        means; a table with a row for each gene, named as in `adata.var_names`, such as vectors of a foundation model; or
        scBERT's checkpoint, as :func:`scbignn.regulation.read_scbert` reads it, whose vectors of genes in cells are pooled
        as `config` says (``config.n_repeats`` does not draw cells anew for it).
    split
        What is hidden together, which is the question that scores answer: `"edge"`, other edges of the same TFs and genes
        are known; `"target"`, nothing is known of the gene as a target; `"tf"`, nothing of the TF; `"both"`, neither.
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
        the baseline and `expression_gain`, each with a p-value; `verdict`, the same in words; `curves`, precision and
        recall; `history`; `network`, what became of the table; `symmetric`, whether edges mostly run both ways, so that
        the reverse of a hidden pair was hidden too; `params`; `expression`; `version`.

    Raises
    ------
    KeyError
        `layer` does not exist.
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
    config = _checked_config(config)
    if split not in SPLITS:
        msg = f"split={split!r} is unknown. Use split={', '.join(map(repr, SPLITS[:-1]))} or {SPLITS[-1]!r}."
        raise ValueError(msg)
    known = read_network(network, adata.var_names, tfs)
    if split in ("edge", "target"):  # nothing is learned of a TF without edges, and nothing can be said of it
        known = known._replace(tfs=known.tfs[: known.n_with_edges], known=known.known[: known.n_with_edges])
    _check_enough(known.n_with_edges, int(known.known.sum()), split, config)
    n_edges = _checked_n_edges(n_edges, int(known.known.sum()), known.known.size)
    encode = None if isinstance(encoder, ScBert) else _checked_encoder(encoder, adata.var_names, config)
    if encode is None:
        _check_overlap(encoder, adata.var_names)
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
    if encode is None:
        table = encode_genes(
            encoder,
            _natural(x, expression),
            adata.var_names,
            config,
            device=torch_device,
            rng=np.random.default_rng(seed),
        )
        encode = table_encoder(table, config.n_components)
    found = infer_links(
        x,
        known.known,
        known.tfs,
        config,
        split,
        encode,
        n_with_edges=known.n_with_edges,
        n_edges=n_edges,
        device=torch_device,
        engine=engine,
        seed=seed,
    )
    if found.symmetric:
        logger.info(
            "infer_grn: most edges between TFs are known both ways, so the reverse of a hidden pair was hidden too"
        )
    logger.info("infer_grn: %s", found.verdict)
    params = {
        "split": split,
        "encoder": _name_of(encoder),
        "n_edges": n_edges,
        "seed": seed,
        "backend": engine,
        "config": config.to_dict(),
    }
    target = adata.copy() if copy else adata
    slots = grn_slots(found, known, expression, params, n_edges=n_edges, n_vars=adata.n_vars, key_added=key_added)
    write_slots(target, slots)
    written = ", ".join(str(slot) for slot in slots if slot.value is not None)
    logger.info("infer_grn: done in %.1f s; wrote %s", time.perf_counter() - start, written)
    return target if copy else None


def _checked_config(config: Config | None) -> Config:
    if config is None:
        return Config()
    if not isinstance(config, Config):
        msg = f"config is a {type(config).__name__}. Pass a scbignn.regulation.Config, such as Config(n_repeats=5)."
        raise TypeError(msg)
    return config


def _check_enough(n_tfs: int, n_edges: int, split: str, config: Config) -> None:
    """Something to hide and something to learn from."""
    least = 2 * config.n_folds
    if n_edges < least:
        msg = (
            f"network has {counted(n_edges, 'edge')} among the genes of adata, and at least {least} are needed to hide "
            f"{config.n_folds} parts in turn. Pass a larger network, or keep more genes in adata."
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


def _natural(x: sp.csr_matrix, expression: Expression) -> sp.csr_matrix:
    """Log-values to base e; of an unknown base they are taken to have it."""
    if expression.kind != "log1p" or expression.base == "e":
        return x
    if expression.base == "unknown":
        logger.warning("encoder: nothing tells the base of the logarithm in adata.%s; e is assumed", expression.slot)
        return x
    return x * math.log(float(expression.base))


def _name_of(encoder: object) -> str:
    """For `uns`."""
    return encoder if isinstance(encoder, str) else "scbert" if isinstance(encoder, ScBert) else "table"


def _check_overlap(encoder: ScBert, genes: pd.Index) -> None:
    """Genes that scBERT knows."""
    n_known = int((encoder.places(genes) >= 0).sum())
    if n_known < 2:
        msg = (
            f"encoder knows {n_known} of the {len(genes)} genes of adata: its genes are {some(encoder.genes)}, "
            f"adata.var_names are {some(genes)}. Use human gene symbols: adata.var_names = ..."
        )
        raise ValueError(msg)
    if n_known < len(genes):
        logger.info("encoder: %d of %d genes have no vector and get one of zeros", len(genes) - n_known, len(genes))


def _checked_encoder(encoder: object, genes: pd.Index, config: Config) -> Encoder:
    if isinstance(encoder, str) and encoder in ("auto", "expression"):
        return expression_encoder(config.n_components)
    if not isinstance(encoder, pd.DataFrame):
        msg = f'encoder={encoder!r} is unknown. Use "auto", "expression", a DataFrame with a row for each gene, or scbignn.regulation.read_scbert(...).'
        raise (ValueError if isinstance(encoder, str) else TypeError)(msg)
    if not encoder.index.is_unique:
        repeated = encoder.index[encoder.index.duplicated()]
        msg = f"encoder has several rows for {some(repeated)}. Keep one of each: encoder.groupby(level=0).mean()."
        raise ValueError(msg)
    wrong = [name for name, kind in encoder.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if wrong or not encoder.shape[1]:
        msg = (
            f"encoder must have columns of numbers, and has {some(wrong or encoder.columns)} beside. Drop what is none."
        )
        raise TypeError(msg)
    values = encoder.reindex(genes).to_numpy(dtype=np.float64)
    inside = genes.isin(encoder.index)
    if inside.sum() < 2:
        msg = (
            f"encoder has rows for {inside.sum()} of the {len(genes)} genes of adata: its rows are {some(encoder.index)}, "
            f"adata.var_names are {some(genes)}. Rename one side: encoder.index = ..."
        )
        raise ValueError(msg)
    if not np.isfinite(values[inside]).all():
        msg = "encoder holds NaN or infinite values. Drop those rows: encoder.dropna()."
        raise ValueError(msg)
    if not inside.all():
        logger.info("encoder: %d of %d genes have no vector and get one of zeros", (~inside).sum(), len(genes))
    return table_encoder(values, config.n_components)
