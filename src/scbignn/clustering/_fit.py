"""Clustering of cells, from counts to result."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from .._training import progress_bar
from ._anchors import anchor_graph, batches_with_anchors
from ._config import Config
from ._constraints import Constraints
from ._landmarks import Others, cluster_graph, learn_anchors
from ._model import Assigned, Model, Net, assign
from ._network import Counts, train_network
from ._number import best_number, evidence
from ._scores import Rows, Scores, all_components, chunks, draw, learn_scores, row_sums
from ._spectral import by_size, partition
from ._stability import stability

logger = logging.getLogger(__name__)

#: Cells on which numbers of clusters are compared.
_EVIDENCE_CELLS = 5000
#: Sets of anchors that the other partitions draw theirs from, for each that one of them has.
POOL = 7


@dataclass(frozen=True, eq=False)
class Clustering:
    """What was found of N cells."""

    model: Model
    assigned: Assigned
    labels: np.ndarray
    """(N,) int64, 0 for the largest cluster."""
    components: np.ndarray
    """(N, d) float32."""
    evidence: pd.DataFrame | None
    """What speaks for each number of clusters, where none was given."""
    stability: np.ndarray | None
    """(K,) float64, mean Jaccard index over resamples."""
    history: list[dict[str, Any]]
    """A row an epoch; empty without a network."""


def cluster_cells(
    rows: Rows,
    shape: tuple[int, int],
    n_clusters: int | None,
    config: Config,
    *,
    genes: np.ndarray,
    device: torch.device,
    seed: int,
    about: dict[str, Any] | None = None,
    constraints: Constraints | None = None,
    batches: np.ndarray | None = None,
) -> Clustering:
    """Cluster N cells by M genes.

    Parameters
    ----------
    rows
        Counts, or values proportional to counts; no cell is empty.
    shape
        (N, M), at least two cells.
    n_clusters
        K; None to estimate it.
    config
        Settings.
    genes
        (M,) names.
    device
        Where a network is trained.
    seed
        Of everything random.
    about
        Where the data come from, ready for JSON, for the model.
    constraints
        What is known of the partition; without a network.
    batches
        Codes, (N,), from 0 on: each batch gets anchors of its own, if it has cells enough, and every cell is joined to
        anchors of all of them; without a network.

    Raises
    ------
    ValueError
        Fewer than two genes vary, there are more clusters or labels than anchors, or constraints cannot be met.
    """
    rng = np.random.default_rng(seed)
    n = shape[0]
    scores = learn_scores(rows, shape, config, rng)
    points = all_components(rows, n, scores)
    n_labels = 0 if constraints is None else constraints.n_labels
    least = n_clusters or max(2, n_labels)
    if batches is not None:
        batches = batches_with_anchors(batches, config, least)
        if batches is None:
            logger.warning("fewer than two batches have cells enough for anchors of their own: batches change nothing")
    anchors, n_batches = learn_anchors(points, config, rng, n_clusters=least, batches=batches)
    m = anchors.shape[1]
    if max(n_clusters or 0, n_labels) > m:
        what = f"{n_labels} labels are" if n_clusters is None else f"n_clusters={n_clusters} is"
        mend = "Use more anchors, or fewer labels" if n_clusters is None else f"Ask for at most {m} clusters"
        why = "as n_anchors says" if m == config.n_anchors else f"for {n} cells, some of which may be alike"
        msg = f"{what} more than the {m} anchors there are {why}. {mend}."
        raise ValueError(msg)
    graph = anchor_graph(points, anchors, config.n_nearest, n_batches)
    table = None
    if n_clusters is None:
        seen = draw(n, _EVIDENCE_CELLS, rng)
        table = evidence(graph[seen], len(anchors) // n_batches, config.max_clusters, rng)
        n_clusters = max(best_number(table), n_labels)
    alone = constraints is not None or config.partitions == 1
    others = None if alone else _others(points, n_clusters, config, rng, batches)
    landmarks, labels = cluster_graph(
        graph, anchors, n_clusters, config, rng, constraints=constraints, n_batches=n_batches, others=others
    )
    net, history = None, []
    if config.network:
        counts = _panel_counts(rows, n, scores)
        n_clusters = landmarks.shares.shape[1]

        def start(z: np.ndarray) -> np.ndarray:
            if config.start == "graph":
                return labels
            return partition(z, n_clusters, rng, max_cells=config.max_fit_cells)

        trained = train_network(counts, scores, n_clusters, start, config, device=device, seed=seed)
        order, labels = _largest_first(trained.q.argmax(1))
        history = trained.history
        net = Net(
            {name: value.detach().cpu().clone() for name, value in trained.network.state_dict().items()},
            trained.centers[torch.from_numpy(order).to(device)].cpu().numpy(),
            trained.scale,
        )
    n_found = len(net.centers) if net else landmarks.shares.shape[1]
    if n_found < n_clusters:
        logger.warning(
            "%d clusters were to be found, and %d have cells: the others lost all of theirs", n_clusters, n_found
        )
    model = Model(
        genes=np.asarray(genes, dtype=str),
        config=config,
        scores=scores,
        landmarks=landmarks,
        net=net,
        about=about or {},
    )
    assigned = assign(model, graph, lambda: _panel_counts(rows, n, scores), device=device)
    if constraints is not None:
        _hold(assigned.memberships, labels, constraints.held)
    return Clustering(
        model=model,
        assigned=assigned,
        labels=labels,
        components=points,
        evidence=table,
        stability=_stability(points, labels, n_found, config, rng, batches),
        history=history,
    )


def _hold(memberships: np.ndarray, labels: np.ndarray, held: np.ndarray) -> None:
    """Where anchors say another cluster than the one that a cell is held in, its membership of that one becomes 1."""
    cells = np.flatnonzero(held & (memberships.argmax(1) != labels))
    memberships[cells] = 0
    memberships[cells, labels[cells]] = 1


def _panel_counts(rows: Rows, n: int, scores: Scores) -> Counts:
    parts, totals = [], []
    for chunk in chunks(n):
        x = rows[chunk]
        parts.append(sp.csr_matrix(x[:, scores.panel]))
        totals.append(row_sums(x))
    return Counts(sp.vstack(parts, format="csr"), np.concatenate(totals))


def _largest_first(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The old number of each new cluster that has cells, and the new labels."""
    new, n_found = by_size(labels)
    order = np.empty(n_found, dtype=np.int64)
    order[new] = labels
    return order, new


def _others(
    points: np.ndarray, n_clusters: int, config: Config, rng: np.random.Generator, batches: np.ndarray | None
) -> Others:
    """All partitions but the first, of a sample of the cells: each from as many sets of anchors, drawn from a pool."""
    seen = draw(len(points), config.max_fit_cells, rng)
    points, batches = points[seen], None if batches is None else batches[seen]
    pool, found, n_others = [], [], config.partitions - 1
    n_pools = min(POOL, n_others)
    with progress_bar(n_pools + n_others, unit="step", name="other partitions") as bar:
        for _ in range(n_pools):
            anchors, n_batches = learn_anchors(points, config, rng, n_clusters=n_clusters, batches=batches)
            n_sets = len(anchors) // n_batches
            pool += [(own, anchor_graph(points, own, config.n_nearest, n_batches)) for own in np.split(anchors, n_sets)]
            bar.update()
        for _ in range(n_others):
            drawn = [pool[number] for number in rng.choice(len(pool), n_sets, replace=False)]
            anchors = np.concatenate([own for own, _ in drawn])
            graph = sp.hstack([own for _, own in drawn], format="csr") / np.float32(n_sets)
            k = min(n_clusters, anchors.shape[1])
            found.append(cluster_graph(graph, anchors, k, config, rng, n_batches=n_batches)[1])
            bar.update()
    return Others(seen, found)


def _stability(
    points: np.ndarray,
    labels: np.ndarray,
    n_clusters: int,
    config: Config,
    rng: np.random.Generator,
    batches: np.ndarray | None,
) -> np.ndarray | None:
    if not config.resamples or len(points) < 4:
        return None
    seen = draw(len(points), config.max_fit_cells, rng)
    points, labels = points[seen], labels[seen]

    def cluster(half: np.ndarray, rng: np.random.Generator):
        own = None if batches is None else batches[seen][half]
        anchors, n_batches = learn_anchors(points[half], config, rng, n_clusters=n_clusters, batches=own)
        graph = anchor_graph(points[half], anchors, config.n_nearest, n_batches)
        k = min(n_clusters, anchors.shape[1])
        return cluster_graph(graph, anchors, k, config, rng, n_batches=n_batches)[0].assign

    return stability(points, labels, n_clusters, cluster, config.resamples, rng)
