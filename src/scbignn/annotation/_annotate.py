"""From expression and labels to everything scBiGNN says about cells and genes: the whole wing, on arrays."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.decomposition import PCA

from .._expression import mean_and_variance, mean_share, normalize, unit_rows
from .._training import NOTHING, Checkpoints
from ..graph import Engine, Neighbors, nearest_neighbors
from ._anchor import Anchor, fit_anchor
from ._attention import Edges
from ._config import Config
from ._cross_batch import ByBatch, can_cross_fit_batches, cross_fit_batches
from ._cross_fit import cross_fit
from ._em import Fit, fit
from ._evidence import Evidence, gather_evidence
from ._homophily import Homophily, homophily_of
from ._importance import Anchored, Importance, importance_of
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
    """With the `target_sum` that was used."""
    expression: sp.csr_matrix
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
    x: sp.csr_matrix,
    y: np.ndarray,
    n_labels: int,
    config: Config,
    *,
    device: torch.device,
    engine: Engine,
    seed: int,
    batches: np.ndarray | None = None,
    unseen_batches: bool = True,
    checkpoint_dir: Path | None = None,
    fingerprint: dict[str, Any] | None = None,
) -> Annotation:
    """Normalise, choose genes, run EM, and read attention and homophily off the result.

    Parameters
    ----------
    x
        Expression on a linear scale, CSR, shape (N, M), no empty row.
    y
        Label codes, shape (N,); -1 where unlabelled.
    n_labels
        C.
    batches
        Codes, shape (N,), where cells come from several.
    unseen_batches
        Whether the cells that one wants to know about are of batches without labelled ones.
    device, engine, seed
        As in :func:`scbignn.annotation.fit`.
    checkpoint_dir, fingerprint
        Folder that keeps the anchors, EM and the folds of cross-fitting, and what else the run depends on; see
        :class:`scbignn._training.Checkpoints`.
    """
    about = {"config": config.to_dict(), "seed": seed, "device": str(device), **(fingerprint or {})}
    kept = Checkpoints(checkpoint_dir, about)
    gene_share = mean_share(x)
    config, anchor = choose_target_sum(x, y, n_labels, config, seed=seed, kept=kept)
    x = normalize(x, config.target_sum)
    gene_mean = np.asarray(x.mean(0), dtype=np.float32).ravel()
    if config.unit_rows:
        x = unit_rows(x)
    genes = choose_genes(x, y, config, batches)
    evidence = None
    if config.has_components:
        gathering = {"device": device, "seed": seed, "gene": anchor, "batches": batches}
        gathered = kept.arrays("evidence", lambda: gather_evidence(x, y, n_labels, config, **gathering).arrays())
        evidence = Evidence.of(gathered)
    expression, panel = x, x[:, genes].tocsr()
    found = fit(
        panel,
        y,
        n_labels,
        config,
        device=device,
        engine=engine,
        seed=seed,
        evidence=evidence,
        batches=batches,
        checkpoint=kept.file("em"),
        fingerprint=kept.fingerprint,
    )
    cross_fitted = by_batch = None
    where = {"device": device, "engine": engine, "seed": seed, "kept": kept}
    if config.cross_fit_folds and unseen_batches and can_cross_fit_batches(y, config, batches):
        by_batch = cross_fit_batches(panel, y, n_labels, config, batches, expression=expression, **where)
        cross_fitted = by_batch.p
    elif config.cross_fit_folds:
        seen = {"evidence": evidence, "expression": expression, "found": found}
        cross_fitted = cross_fit(panel, y, n_labels, config, **where, **seen, batches=batches)
    k = found.neighbors.indices.shape[1]
    if evidence is None:
        raw = raw_neighbors(panel, k, device=device, seed=seed)
    else:
        raw = nearest_neighbors(evidence.components, k, device=device, seed=seed)
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


def choose_target_sum(
    x: sp.csr_matrix, y: np.ndarray, n_labels: int, config: Config, *, seed: int, kept: Checkpoints = NOTHING
) -> tuple[Config, Anchor | None]:
    """The config with a number for s, and the linear machine on all genes that was fitted to find it, if any was.

    How strongly counts are compressed matters more than most of what follows, and which s is best differs from data to
    data: shallow data gain by a small one. Labels decide, of cells held out of the machine.

    Parameters
    ----------
    x
        Expression on a linear scale, CSR, shape (N, M), no empty row.
    y, n_labels, config, seed
        As in :func:`annotate_cells`.
    kept
        What keeps the machine of each s.
    """
    if config.target_sum is not None:
        return config, None
    known, best_sum, best = y >= 0, None, None
    for target_sum in _TARGET_SUMS:
        candidate = normalize(x, target_sum)
        candidate = unit_rows(candidate) if config.unit_rows else candidate
        fitted = kept.arrays(f"anchor-{target_sum:g}", partial(_anchor_arrays, candidate, y, n_labels, seed))
        anchor = Anchor.of(fitted)
        if best is None or _is_better(*(found.decisions[known].argmax(1) == y[known] for found in (anchor, best))):
            best_sum, best = target_sum, anchor
    return dataclasses.replace(config, target_sum=best_sum), best


def _anchor_arrays(x: sp.csr_matrix, y: np.ndarray, n_labels: int, seed: int) -> dict[str, np.ndarray]:
    return fit_anchor(x, y, n_labels, seed=seed).arrays()


def _is_better(right: np.ndarray, before: np.ndarray) -> bool:
    """Whether more cells were gained than lost, by two standard errors (McNemar's test)."""
    gained, lost = np.sum(right & ~before), np.sum(before & ~right)
    return gained - lost > _STANDARD_ERRORS * np.sqrt(gained + lost)


def choose_genes(x: sp.csr_matrix, y: np.ndarray, config: Config, batches: np.ndarray | None = None) -> np.ndarray:
    """Columns of normalised expression (N, M) that enter the gene-level network, ascending, (T,).

    With batches, codes of shape (N,), and ``genes_within_batches=True``, by what they tell within each.
    """
    within = batches if config.genes_within_batches else None
    if config.gene_panel == "labels":
        return top_label_genes(x, y, config.n_top_genes, within)
    ranked = slice(None) if config.top_genes_from == "all" else y >= 0
    return top_variance_genes(x[ranked], config.n_top_genes, None if within is None else within[ranked])


def raw_neighbors(x: sp.csr_matrix, k: int, *, device: torch.device, seed: int) -> Neighbors:
    """kNN graph of the principal components of normalised expression: the graph one has without learning."""
    n_components = min(_N_COMPONENTS, min(x.shape) - 1)
    if n_components < 1 or not mean_and_variance(x)[1].any():  # a single gene is its own component
        return nearest_neighbors(x[:, :1].toarray(), k, device=device, seed=seed)
    components = PCA(n_components, svd_solver="arpack", random_state=seed).fit_transform(x)
    return nearest_neighbors(components, k, device=device, seed=seed)
