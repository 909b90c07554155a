"""What `tl.annotate` and `tl.fit` have in common: from an AnnData with labels to a trained run."""

from __future__ import annotations

import hashlib
import logging
from importlib.metadata import version
from numbers import Real
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from anndata import AnnData

from .._adata import check_rejects, read_expression
from .._check import (
    Batches,
    Expression,
    Labels,
    check_anndata,
    check_config,
    check_n_neighbors,
    check_transformer,
    checkpoint_folder,
    count_values,
    form_of,
    generator_of,
    pick_matrix,
    read_batches,
    read_labels,
)
from .._expression import Rows, digest
from .._keys import UNKNOWN
from .._memory import Size, annotation_memory, check_memory
from .._ranks import Ranks, join
from .._settings import settings
from .._training import choose_device
from ..annotation import Annotation, Config, annotate_cells
from ..graph import Engine, choose_engine, describe_search

logger = logging.getLogger(__name__)

#: What takes less memory than training on all cells.
_FEWER = (
    "Train on fewer cells: model = scbignn.tl.fit(adata[np.random.default_rng(0).permutation(adata.n_obs)[:100_000]].copy(), "
    '...), and label all by scbignn.tl.predict(adata, model, mode="inductive"), which also reads backed files in chunks.'
)


class Prepared(NamedTuple):
    """What a run starts from, checked: N cells, M genes."""

    x: sp.csr_matrix | Rows
    """(N, M) float32, on a linear scale; in memory where the data are."""
    labels: Labels
    expression: Expression
    config: Config
    device: torch.device
    engine: Engine
    seed: int
    transformer: Any
    """What searches neighbours; None for the search that is built in."""
    checkpoint_dir: Path | None
    fingerprint: dict[str, Any]
    """What a checkpoint must agree on besides config and seed; empty where nobody asks."""
    batches: Batches | None
    ranks: Ranks
    """The processes that train together; `device` is that of this one."""


class Learned(NamedTuple):
    """A run, and what it rests on."""

    found: Annotation
    false_rejection_rate: float | Literal["auto"] | None
    labels: Labels
    expression: Expression
    params: dict[str, Any]
    """For `uns`."""
    fingerprint: dict[str, Any]
    batches: np.ndarray | None
    """(N,) codes."""
    checkpoint_dir: Path | None


def prepare(
    adata: AnnData,
    labels_key: str,
    *,
    verb: str,
    unlabeled_category: object,
    may_be_complete: bool,
    layer: str | None,
    config: Config | None,
    device: str,
    backend: str,
    rng: int | np.random.Generator,
    checkpoint_dir: str | Path | None,
    transformer: Any = None,
    n_top_genes: int | None = None,
    n_neighbors: int | None = None,
    batch_key: str | None = None,
    devices: int | None = 1,
    num_nodes: int | None = 1,
    hashed: bool = False,
    told: Expression | None = None,
) -> Prepared:
    """Check everything, and read; `verb` is what the log calls the run.

    The data are hashed for checkpoints, where several processes must agree, or where they are to be `hashed` in any case.
    `told` is what their values are, where that was found when there were more genes.
    """
    check_anndata(adata, in_memory=False)
    labels = read_labels(adata, labels_key, unlabeled_category, may_be_complete=may_be_complete)
    batches = read_batches(adata, batch_key, labels)
    config = annotation_config(config, n_top_genes=n_top_genes, n_neighbors=n_neighbors)
    check_n_neighbors(config.n_neighbors, adata.n_obs)
    check_transformer(transformer)
    folder = checkpoint_folder(checkpoint_dir)
    ranks = join(choose_device(device), devices, num_nodes)
    torch_device, engine = choose(ranks.device, backend)
    seed = int(generator_of(rng).integers(2**31))
    matrix, _ = pick_matrix(adata, layer, in_memory=False)
    size = Size(*adata.shape, count_values(matrix), len(labels.names))
    check_memory(
        verb, annotation_memory(size, config, n_labelled=np.sum(labels.codes >= 0), form=form_of(matrix)), _FEWER
    )
    x, expression = read_expression(adata, layer, told)
    logger.info(
        "%s: %d of %d cells have one of %d labels; adata.%s holds %s; on %s, cell graph by %s%s",
        verb,
        np.sum(labels.codes >= 0),
        adata.n_obs,
        len(labels.names),
        expression.slot,
        expression,
        torch_device,
        engine,
        "" if ranks.size == 1 else f"; process {ranks.rank} of {ranks.size}",
    )
    if batches is not None:
        logger.info("%s: %d batches in adata.obs[%r]", verb, len(batches.names), batch_key)
    fingerprint = {}
    if hashed or folder is not None or ranks.size > 1:
        fingerprint = _fingerprint(x, labels, batches, transformer)
    ranks.check_alike(**fingerprint, config=config, seed=seed)
    where = torch_device, engine, seed, transformer, folder
    return Prepared(x, labels, expression, config, *where, fingerprint, batches, ranks)


def learn(
    adata: AnnData,
    labels_key: str,
    *,
    reject: str | None = None,
    false_rejection_rate: float | None = None,
    batch_key: str | None = None,
    of_its_own: bool = True,
    **arguments: Any,
) -> Learned:
    """Prepare with the given arguments, and train. Nothing is written to `adata`.

    `of_its_own` says whether the cells to label are those of `adata`, and not of batches to come.
    """
    start = prepare(adata, labels_key, batch_key=batch_key, **arguments)
    rate = rejection_rate(reject, false_rejection_rate, start.labels.names, start.config)
    if np.bincount(start.labels.codes[start.labels.codes >= 0]).max() < 2 and start.config.cross_fit_folds:
        if rate is not None:
            check_rejects(None)
        logger.warning(
            "no label has two labelled cells, one to score and one to score it by: confidence is not calibrated, and may be "
            "far too high, and novelty is not written"
        )
    codes = None if start.batches is None else start.batches.codes
    found = annotate_cells(
        start.x,
        start.labels.codes,
        len(start.labels.names),
        start.config,
        device=start.device,
        engine=start.engine,
        seed=start.seed,
        transformer=start.transformer,
        batches=codes,
        unseen_batches=not of_its_own or _mostly_unseen(start.labels.codes, codes),
        checkpoint_dir=start.checkpoint_dir,
        fingerprint=start.fingerprint,
        ranks=start.ranks,
    )
    if start.config.labels_from == "auto" and found.config.labels_from == "genes":
        logger.info(
            "neighbours mislead here: with them, labels of held-out cells cost more than twice as much as by a linear machine "
            "on a cell's own genes, so labels come from that machine. Config(labels_from='p') takes the network's"
        )
    params = run_params(start, labels_key, arguments["unlabeled_category"]) | {"config": found.config.to_dict()}
    if batch_key is not None:
        params["batch_key"] = batch_key
    return Learned(found, rate, start.labels, start.expression, params, start.fingerprint, codes, start.checkpoint_dir)


def _mostly_unseen(labels: np.ndarray, batches: np.ndarray | None) -> bool:
    """Whether most cells to label are of batches without a labelled cell."""
    if batches is None:
        return False
    seen = np.isin(batches, batches[labels >= 0])
    return bool(np.mean(~seen[labels < 0]) > 0.5)


def run_params(start: Prepared, labels_key: str, unlabeled_category: object) -> dict[str, Any]:
    """What a run was asked to do, for `uns`."""
    params = {
        "labels_key": labels_key,
        "unlabeled_category": str(unlabeled_category),
        "seed": start.seed,
        "backend": start.engine,
        "config": start.config.to_dict(),
    }
    return params if start.transformer is None else params | {"transformer": describe_search(start.transformer)}


def annotation_config(config: Config | None, **changes: object) -> Config:
    """The config, or the default, with the changes that are not None.

    Raises
    ------
    TypeError
        It is none.
    """
    return check_config(config, Config, "Config(n_rounds=2)", **changes)


def rejection_rate(
    reject: str | None, false_rejection_rate: float | None, names: list[str], config: Config
) -> float | Literal["auto"] | None:
    """The rate that both arguments ask for; None where nothing is to be rejected.

    Raises
    ------
    ValueError
        One of them is not what it can be, a label has the name that rejected cells get, or with this config nothing
        tells which cells are strange.
    """
    if reject is not None and not (isinstance(reject, str) and reject == "auto"):
        msg = f'reject={reject!r} is unknown. Use reject="auto", or false_rejection_rate=0.05.'
        raise ValueError(msg)
    rate = reject if false_rejection_rate is None else false_rejection_rate
    if rate is None:
        return None
    if rate != "auto" and (isinstance(rate, bool) or not isinstance(rate, Real) or not 0 < rate < 1):
        msg = f"false_rejection_rate={rate!r} must be a number within (0, 1). Use for example 0.05."
        raise ValueError(msg)
    if UNKNOWN in names:
        msg = f"a label is called {UNKNOWN!r}, as rejected cells would be. Rename it, or use reject=None."
        raise ValueError(msg)
    lacking = [] if config.cross_fit_folds else ["cross_fit_folds=0, so no labelled cell is scored without its label"]
    lacking += (
        [] if config.has_components else ["anchor=False and no components, so nothing tells which cells are strange"]
    )
    if lacking:
        msg = (
            f"nothing can be rejected with this config: it has {', and '.join(lacking)}. Leave out reject and "
            "false_rejection_rate, or use Config(cross_fit_folds=3, anchor=True)."
        )
        raise ValueError(msg)
    return rate


def choose(device: str | torch.device, backend: str) -> tuple[torch.device, Engine]:
    """The device, and what aggregates over the cell graph on it."""
    torch_device = choose_device(device)
    return torch_device, choose_engine(settings.backend if backend == "auto" else backend, torch_device)


def _fingerprint(x: sp.csr_matrix | Rows, labels: Labels, batches: Batches | None, transformer: Any) -> dict[str, Any]:
    codes = hashlib.sha256(labels.codes).hexdigest()
    of_batches = None if batches is None else hashlib.sha256(batches.codes).hexdigest()
    return {
        "expression": digest(x),
        "labels": [codes, *labels.names],
        "batches": of_batches,
        "transformer": describe_search(transformer),
        "version": version("scbignn"),
    }
