"""How well labels are recovered: each fold of the labelled cells in turn loses its labels, and everything runs anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support
from torch import Tensor
from tqdm.auto import tqdm

from .._agreement import mean_agreement
from .._checkpoints import Checkpoints, Keeper, below, prefixed, remove_checkpoints
from .._keys import column_names
from ..graph import Engine
from ._annotate import annotate_cells
from ._config import Config
from ._trust import trust_of


class HeldOut(NamedTuple):
    """What was said of the n cells of one fold without their labels: M genes, C labels, R steps of EM."""

    cells: np.ndarray
    """(n,) int64, ascending."""
    p: np.ndarray
    """(n, C) float32, cell-level probabilities, calibrated on the other cells where the config is cross-fitted."""
    q: np.ndarray
    """(n, C) float32, gene-level probabilities."""
    rounds: np.ndarray
    """(R,) int64, the rounds of EM that a network ended, q and p in turn; 0 is pre-training."""
    guesses: np.ndarray
    """(R, n) int64, the labels it gave then."""
    received: np.ndarray
    """(M,) float64, attention that each gene received; NaN where it did not enter."""
    attribution: np.ndarray
    """(M,) float64, what each gene added to the margin, alike."""
    homophily: np.ndarray
    """(2,) float64, of the learned and of the raw graph, among cells that kept their labels."""


def cross_validate(
    x: sp.csr_matrix,
    y: np.ndarray,
    n_labels: int,
    config: Config,
    fold: np.ndarray,
    *,
    device: torch.device,
    engine: Engine,
    seed: int,
    progress: tqdm,
    transformer: Any = None,
    batches: np.ndarray | None = None,
    checkpoint_dir: Path | None = None,
    fingerprint: dict[str, Any] | None = None,
) -> list[HeldOut]:
    """Hide the labels of one fold after another, and annotate.

    Transductive: the expression of the cells of a fold is seen, their labels are not, by anything. A label that no other
    cell has is never given.

    Parameters
    ----------
    x, y, n_labels, config, device, engine, seed, transformer
        As in :func:`scbignn.annotation.annotate_cells`.
    fold
        Shape (N,), numbers from 0; -1 for cells that are never held out.
    progress
        Goes on by one a fold.
    batches
        Codes, shape (N,), where folds are batches.
    checkpoint_dir, fingerprint
        Folder that keeps finished folds, and what else they depend on; in it, one that keeps the fold that is running.

    Raises
    ------
    ValueError
        Without a fold, the others' labels are all alike; or the checkpoint is of another run.
    """
    fingerprint = {"fold": fold.tolist(), "config": config.to_dict(), "seed": seed, **(fingerprint or {})}
    kept = Checkpoints(checkpoint_dir, fingerprint)
    keeper = Keeper(kept.file("folds"), kept.fingerprint, torch.Generator())
    finished = dict(keeper.finished)
    progress.update(keeper.n_finished)
    for number in range(keeper.n_finished):
        remove_checkpoints(kept.within(f"fold-{number}"))  # killed just before
    for number in range(keeper.n_finished, fold.max() + 1):
        cells = np.flatnonzero((fold == number) & (y >= 0))
        running = kept.within(f"fold-{number}")
        where = {"device": device, "engine": engine, "seed": seed, "transformer": transformer, "batches": batches}
        where |= {"checkpoint_dir": running, "fingerprint": fingerprint}
        found = _without(x, y, cells, n_labels, config, **where)
        finished |= prefixed(**{str(number): {name: torch.from_numpy(part) for name, part in found.items()}})
        keeper.finish_stage(finished, [])
        remove_checkpoints(running)
        progress.update()
    return [_held_out(below(finished, str(number))) for number in range(fold.max() + 1)]


def _without(
    x: sp.csr_matrix, y: np.ndarray, cells: np.ndarray, n_labels: int, config: Config, *, seed: int, **where: Any
) -> dict[str, np.ndarray]:
    """Annotate without the labels of these cells; the fields of :class:`HeldOut`."""
    shown = y.copy()
    shown[cells] = -1
    known = np.unique(shown[shown >= 0])
    if len(known) < 2:
        msg = (
            f"without a fold of {len(cells)} cells only {len(known)} label is left to learn from. Use other folds: fewer "
            "n_splits, or a batch_key whose batches hold several labels each."
        )
        raise ValueError(msg)
    codes = np.where(shown >= 0, np.searchsorted(known, shown), -1)  # a label that no cell shows cannot be learned
    found = annotate_cells(x, codes, len(known), config, seed=seed, **where)
    trust, _ = trust_of(found, of_its_own=True, seed=seed)
    p = found.fit.p[cells] if trust is None else trust.calibration.apply(found.fit.p[cells])
    per_gene = np.full((2, x.shape[1]), np.nan)
    per_gene[:, found.genes] = found.importance.received, found.importance.attribution
    return {
        "cells": cells,
        "p": _among_all(p, known, n_labels),
        "q": _among_all(found.fit.q[cells], known, n_labels),
        "rounds": np.array([guess.round for guess in found.fit.guesses]),
        "guesses": known[np.stack([guess.labels[cells] for guess in found.fit.guesses])],
        "received": per_gene[0],
        "attribution": per_gene[1],
        "homophily": np.array([found.homophily.learned, found.homophily.raw]),
    }


def _among_all(p: np.ndarray, known: np.ndarray, n_labels: int) -> np.ndarray:
    everything = np.zeros((len(p), n_labels), dtype=np.float32)
    everything[:, known] = p
    return everything


def _held_out(tensors: dict[str, Tensor]) -> HeldOut:
    return HeldOut(**{name: tensor.numpy() for name, tensor in tensors.items()})


def validation_tables(
    found: list[HeldOut], y: np.ndarray, labels: list[str], folds: list[str], genes: Sequence[str]
) -> dict[str, pd.DataFrame]:
    """What was found, as tables.

    Parameters
    ----------
    found
        One a fold.
    y
        True label codes, shape (N,).
    labels, folds, genes
        Names of the C labels, of the folds and of the M genes.

    Returns
    -------
    `folds`, `per_label`, `rounds`, `gene_importance`, `gene_attribution` and `gene_stability`; see
    :func:`scbignn.get.cross_validation`.
    """
    rows, rounds = [], []
    for name, held_out in zip(folds, found, strict=True):
        truth, (learned, raw) = y[held_out.cells], held_out.homophily
        of_q = {f"{score}_q": value for score, value in _scores(truth, held_out.q.argmax(1)).items()}
        row = {"fold": name, "n_cells": len(truth), **_scores(truth, held_out.p.argmax(1)), **of_q}
        rows.append({**row, "homophily_learned": learned, "homophily_raw": raw})
        for turn, (round_, guesses) in enumerate(zip(held_out.rounds, held_out.guesses, strict=True)):
            rounds.append({"fold": name, "round": round_, "network": "qp"[turn % 2], **_scores(truth, guesses)})
    cells = np.concatenate([held_out.cells for held_out in found])
    given = np.concatenate([held_out.p.argmax(1) for held_out in found])
    codes = np.arange(len(labels))
    per_label = precision_recall_fscore_support(y[cells], given, labels=codes, zero_division=0)
    received, attribution = (
        _per_gene(folds, genes, [getattr(held_out, score) for held_out in found])
        for score in ("received", "attribution")
    )
    return {
        "folds": pd.DataFrame(rows),
        "per_label": pd.DataFrame(dict(zip(["precision", "recall", "f1", "support"], per_label, strict=True)), labels),
        "rounds": pd.DataFrame(rounds),
        "gene_importance": received,
        "gene_attribution": attribution,
        "gene_stability": mean_agreement({"attention": received, "attribution": attribution}),
    }


def _scores(truth: np.ndarray, given: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": accuracy_score(truth, given),
        "macro_f1": f1_score(truth, given, average="macro", zero_division=0),
    }


def _per_gene(folds: list[str], genes: Sequence[str], scores: list[np.ndarray]) -> pd.DataFrame:
    """Genes x folds, without the genes that entered in none."""
    table = pd.DataFrame(np.column_stack(scores), index=pd.Index(genes, dtype=object), columns=column_names(folds))
    return table.dropna(how="all")
