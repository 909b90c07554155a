"""From expression and labels to everything scBiGNN says about cells and genes: the whole wing, on arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.decomposition import PCA
from tqdm.auto import tqdm

from .._checkpoints import NOTHING, Checkpoints
from .._expression import NormalizedRows, Rows, columns, mean_and_variance, mean_share, normalized
from .._ranks import ALONE, Ranks
from .._training import progress_bar
from ..graph import Engine, Neighbors, nearest_neighbors
from ._anchor import MOST_TRAINED, TUNING_CELLS, Anchor, fit_anchor
from ._attention import Edges
from ._config import Config
from ._cross_batch import ByBatch, can_cross_fit_batches, cross_fit_batches
from ._cross_fit import cross_fit
from ._draws import draw_labelled
from ._em import Fit
from ._evidence import Evidence, gather_evidence, n_of_evidence
from ._fit import fit
from ._guard import machine_probabilities, with_source_of_labels
from ._homophily import Homophily, homophily_of
from ._importance import Anchored, Importance, importance_of
from ._machines import InnerProducts
from ._panel import top_label_genes, top_variance_genes

#: Of the normalisation, where the config leaves it open; the first unless another is surely better.
_TARGET_SUMS = (1e4, 1e3)
_STANDARD_ERRORS = 2.0
#: Principal components of the graph that the learned one is compared with.
_N_COMPONENTS = 50


@dataclass(frozen=True)
class Annotation:
    """N cells, M genes of which T entered, C labels."""

    fit: Fit
    config: Config
    """With the `target_sum` that was used, and with the source of labels, `labels_from`."""
    expression: sp.csr_matrix | NormalizedRows
    """(N, M) float32, normalised."""
    x: sp.csr_matrix
    """(N, T) float32, that of the genes that entered."""
    y: np.ndarray
    """(N,) label codes; -1 where unlabelled."""
    evidence: Evidence | None
    """What linear methods said beforehand; None where the config has no use for it."""
    gene_share: np.ndarray
    """(M,) float64, a gene's mean share of a cell's total."""
    gene_mean: np.ndarray
    """(M,) float32, its mean on the log scale, before cells are scaled to length 1."""
    genes: np.ndarray
    """(T,) columns of the expression matrix that entered, ascending."""
    attention: sp.csr_matrix
    """(T, T) float32, mean attention between them."""
    edges: Edges
    """Where it is strongest, label by label."""
    importance: Importance
    """Of these genes, for the labels that p gives."""
    cross_fitted: np.ndarray | None
    """(N, C) float32, what p would have said of each labelled cell without its label, NaN where there is nothing to
    say; None with ``cross_fit_folds=0``."""
    homophily: Homophily
    by_batch: ByBatch | None = None
    """How it was cross-fitted where that was done batch by batch."""


def annotate_cells(
    x: sp.csr_matrix | Rows,
    y: np.ndarray,
    n_labels: int,
    config: Config,
    *,
    device: torch.device,
    engine: Engine,
    seed: int,
    transformer: Any = None,
    batches: np.ndarray | None = None,
    unseen_batches: bool = True,
    checkpoint_dir: Path | None = None,
    fingerprint: dict[str, Any] | None = None,
    ranks: Ranks = ALONE,
) -> Annotation:
    """Normalise, choose genes, run EM, and read attention and homophily off the result.

    Parameters
    ----------
    x
        Expression on a linear scale, shape (N, M), no empty row; in memory, or read a few rows at a time.
    y
        Label codes, shape (N,); -1 where unlabelled.
    n_labels
        C.
    batches
        Codes, shape (N,), where cells come from several.
    unseen_batches
        Whether the cells that one wants to know about are of batches without labelled ones.
    device, engine, seed, transformer, ranks
        As in :func:`scbignn.annotation.fit`.
    checkpoint_dir, fingerprint
        Folder that keeps the anchors, EM and the folds of cross-fitting, and what else the run depends on; see
        :class:`scbignn._checkpoints.Checkpoints`.
    """
    where = str(device) if ranks.size == 1 else device.type
    about = {"config": config.to_dict(), "seed": seed, "device": where, **(fingerprint or {})}
    if batches is not None:
        about["unseen_batches"] = bool(unseen_batches)
    kept = Checkpoints(checkpoint_dir, about, writes=ranks.is_first)
    ranks.check_alike(checkpoints=[path.name for path in kept.found])
    gene_share = mean_share(x)
    evidence = None
    with progress_bar(_n_machines(config, y, n_labels), "machine", "linear methods", shown=ranks.is_first) as bar:
        config, anchor = choose_target_sum(x, y, n_labels, config, seed=seed, kept=kept, progress=bar)
        gene_mean = mean_and_variance(NormalizedRows(x, config.target_sum, unit=False))[0].astype(np.float32)
        expression = normalized(x, config.target_sum, unit=config.unit_rows)
        genes = choose_genes(expression, y, config, batches)
        ranks.check_alike(target_sum=config.target_sum, genes=genes)
        if config.has_components:
            gathering = {"device": device, "seed": seed, "transformer": transformer, "batches": batches}

            def gathered() -> dict[str, np.ndarray]:
                gene = anchor
                if anchor is not None and len(anchor.decisions) == np.sum(y >= 0):
                    gene = anchor.of_all(expression, y)
                elif anchor is not None:  # of a part of the labelled cells, which has shown what penalty is good
                    gene = fit_anchor(expression, y, n_labels, penalties=(anchor.penalty,), seed=seed)
                return gather_evidence(expression, y, n_labels, config, gene=gene, progress=bar, **gathering).arrays()

            evidence = Evidence.of(kept.arrays("evidence", gathered))
            del anchor  # and with it inner products
    config = with_source_of_labels(config, evidence, y, n_labels)
    panel = columns(expression, genes)
    found = fit(
        panel,
        y,
        n_labels,
        config,
        device=device,
        engine=engine,
        seed=seed,
        evidence=evidence,
        transformer=transformer,
        batches=batches,
        checkpoint=kept.file("em"),
        fingerprint=kept.fingerprint,
        ranks=ranks,
    )
    if config.labels_from == "genes":
        found = dataclasses.replace(found, p=machine_probabilities(evidence.gene_decisions))
    cross_fitted = by_batch = None
    where = {"device": device, "engine": engine, "seed": seed, "kept": kept, "ranks": ranks}
    where |= {"transformer": transformer, "expression": expression}
    if config.cross_fit_folds and unseen_batches and can_cross_fit_batches(y, config, batches):
        by_batch = cross_fit_batches(panel, y, n_labels, config, batches, evidence=evidence, **where)
        cross_fitted = by_batch.p
    elif config.cross_fit_folds:
        seen = {"evidence": evidence, "found": found, "batches": batches}
        cross_fitted = cross_fit(panel, y, n_labels, config, **where, **seen)
    k = found.neighbors.indices.shape[1]
    if evidence is None:
        raw = raw_neighbors(panel, k, device=device, seed=seed, transformer=transformer)
    else:
        raw = nearest_neighbors(evidence.components, k, device=device, seed=seed, transformer=transformer)
    anchored = None
    if config.anchor:
        anchored = Anchored(evidence.gene_decisions, evidence.views.gene.weights[:, genes])
    importance, attention, edges = importance_of(
        found.gene_gnn,
        panel,
        found.p.argmax(1),
        n_labels,
        min_count=config.min_count,
        anchored=anchored,
        device=device,
        seed=seed,
    )
    return Annotation(
        fit=found,
        config=config,
        expression=expression,
        x=panel,
        y=y,
        evidence=evidence,
        gene_share=gene_share,
        gene_mean=gene_mean,
        genes=genes,
        attention=attention,
        edges=edges,
        importance=importance,
        cross_fitted=cross_fitted,
        homophily=homophily_of(found.neighbors, raw, y, n_labels),
        by_batch=by_batch,
    )


def _n_machines(config: Config, y: np.ndarray, n_labels: int) -> int:
    """How many linear machines are fitted before the networks train."""
    n_of_genes = len(_TARGET_SUMS) if config.target_sum is None else int(config.has_components)
    return n_of_genes + (n_of_evidence(config, y, n_labels) if config.has_components else 0)


def choose_target_sum(
    x: sp.csr_matrix | Rows,
    y: np.ndarray,
    n_labels: int,
    config: Config,
    *,
    seed: int,
    kept: Checkpoints = NOTHING,
    progress: tqdm | None = None,
) -> tuple[Config, Anchor | None]:
    """The config with a number for s, and the linear machine on all genes that was fitted to find it, if one was.

    How strongly counts are compressed matters more than most of what follows, and which s is best differs from data to
    data: shallow data gain by a small one. Labels decide, of cells held out of the machine; where very many are
    labelled, a part of them decides.

    Parameters
    ----------
    x
        Expression on a linear scale, shape (N, M), no empty row.
    y, n_labels, config, seed
        As in :func:`annotate_cells`.
    kept
        What keeps the machine of each s.
    progress
        Goes on by one a machine.

    Returns
    -------
    The config, and the machine of those labelled cells that decided, with its decisions about them only.
    """
    if config.target_sum is not None:
        return config, None
    known = draw_labelled(y, TUNING_CELLS, np.random.default_rng(seed))
    x, y, best_sum, best = x[known], y[known], None, None
    for target_sum in _TARGET_SUMS:
        candidate = normalized(x, target_sum, unit=config.unit_rows)
        products = InnerProducts(candidate)
        fit_it = partial(fit_anchor, candidate, y, n_labels, seed=seed, products=products)

        def fitted(name: str, fit_it: Callable[..., Anchor] = fit_it, **fitting: Any) -> Anchor:
            return Anchor.of(kept.arrays(name, lambda: fit_it(**fitting).arrays()))

        if progress is not None:
            progress.update()
        if best is not None:  # a first look, at the penalty that is known to be good
            anchor = fitted(f"look-{target_sum:g}", penalties=(best.penalty,))
            if not _is_better(*(found.decisions.argmax(1) == y for found in (anchor, best))):
                continue
        best_sum, best = target_sum, dataclasses.replace(fitted(f"anchor-{target_sum:g}"), products=products)
    return dataclasses.replace(config, target_sum=best_sum), best


def _is_better(right: np.ndarray, before: np.ndarray) -> bool:
    """Whether more cells were gained than lost, by two standard errors (McNemar's test)."""
    gained, lost = np.sum(right & ~before), np.sum(before & ~right)
    return gained - lost > _STANDARD_ERRORS * np.sqrt(gained + lost)


def choose_genes(
    x: sp.csr_matrix | Rows, y: np.ndarray, config: Config, batches: np.ndarray | None = None
) -> np.ndarray:
    """Columns of normalised expression (N, M) that enter the gene-level network, ascending, (T,).

    With batches, codes of shape (N,), and ``genes_within_batches=True``, by what they tell within each.
    """
    within = batches if config.genes_within_batches else None
    if config.gene_panel == "variance" and config.top_genes_from == "all":
        return top_variance_genes(x, config.n_top_genes, within)
    known = draw_labelled(y, MOST_TRAINED, np.random.default_rng(0))
    within = None if within is None else within[known]
    if config.gene_panel == "labels":
        return top_label_genes(x[known], y[known], config.n_top_genes, within)
    return top_variance_genes(x[known], config.n_top_genes, within)


def raw_neighbors(x: sp.csr_matrix, k: int, *, device: torch.device, seed: int, transformer: Any = None) -> Neighbors:
    """kNN graph of the principal components of normalised expression: the graph one has without learning."""
    n_components = min(_N_COMPONENTS, min(x.shape) - 1)
    if n_components < 1 or not mean_and_variance(x)[1].any():  # a single gene is its own component
        return nearest_neighbors(x[:, :1].toarray(), k, device=device, seed=seed, transformer=transformer)
    components = PCA(n_components, svd_solver="arpack", random_state=seed).fit_transform(x)
    return nearest_neighbors(components, k, device=device, seed=seed, transformer=transformer)
