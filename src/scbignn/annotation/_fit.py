"""EM from its start to its end, or from where the gene-level network is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from .._checkpoints import Keeper
from .._ranks import ALONE, Ranks
from ..graph import Engine
from ._config import Config
from ._em import EM, Fit, GeneLevel
from ._evidence import Evidence


def fit(
    x: sp.csr_matrix,
    y: np.ndarray,
    n_labels: int,
    config: Config,
    *,
    device: torch.device,
    engine: Engine,
    seed: int,
    evidence: Evidence | None = None,
    transformer: Any = None,
    batches: np.ndarray | None = None,
    checkpoint: Path | None = None,
    fingerprint: dict[str, Any] | None = None,
    ranks: Ranks = ALONE,
    gene_level: GeneLevel | None = None,
    silent: np.ndarray | None = None,
) -> Fit:
    """Pre-train q, then alternate M-steps of p and E-steps of q.

    Where every cell is labelled, q and p have nothing to tell each other: one M-step follows pre-training.

    Parameters
    ----------
    x
        Normalised expression of the top genes, CSR float32, shape (N, T).
    y
        Label codes, shape (N,); -1 where unlabelled.
    n_labels
        C.
    device, engine
        Where to compute, and what aggregates over the cell graph.
    evidence
        What the config's anchors and components are; None where it has neither.
    transformer
        What searches neighbours; see :func:`scbignn.graph.nearest_neighbors`.
    batches
        Codes, shape (N,), for ``balanced_graph=True``.
    seed
        Seeds initial weights, the validation split, batches, pseudo-labels and dropout.
    checkpoint, fingerprint
        File that keeps the run, and what else it depends on; see :class:`scbignn._checkpoints.Keeper`.
    ranks
        The processes that run this together. They divide what q computes; p trains alike in each.
    gene_level
        A q that has learned elsewhere, in place of pre-training; rounds of EM, where the config has any, train it
        further.
    silent
        Cells of which p learns nothing: they are in the graph, but what q believes of them does not count. Places of
        cells without a label.

    Raises
    ------
    ValueError
        No cell is labelled, or the checkpoint is of another run.
    """
    if not (y >= 0).any():
        msg = "EM needs cells with a label (y >= 0). Label some cells of each type."
        raise ValueError(msg)
    em = EM(
        x,
        y,
        n_labels,
        config,
        device=device,
        engine=engine,
        seed=seed,
        evidence=evidence,
        transformer=transformer,
        batches=batches,
        ranks=ranks,
    )
    stages = em.stages()
    if gene_level is not None:
        em.take(gene_level)
        stages = stages[1:]
    if silent is not None:
        em.unlabelled_cells = np.setdiff1d(em.unlabelled_cells, silent)
    where = str(device) if ranks.size == 1 else device.type
    fingerprint = {"config": config.to_dict(), "seed": seed, "device": where, **(fingerprint or {})}
    keeper = Keeper(checkpoint, fingerprint, em.generator, writes=ranks.is_first)
    ranks.check_alike(checkpoint=keeper.reached)
    em.restore(keeper.finished, keeper.history)
    em.run(stages, keeper=keeper)
    return em.result()
