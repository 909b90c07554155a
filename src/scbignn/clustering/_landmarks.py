"""Spectral clustering through anchors: from components to a partition that takes further cells."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from .._training import progress_bar
from ._anchors import anchor_count, anchor_graph, find_anchors, sets_a_batch
from ._config import Config
from ._consensus import consensus, left_over, support
from ._constraints import Constraints, constrained_partition
from ._scores import draw
from ._spectral import by_size, embed, partition, singular_map, votes


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Anchors, and what they say of cells: S sets of m, K clusters."""

    anchors: np.ndarray
    """(S, m, d) float32."""
    n_nearest: int
    mapping: np.ndarray
    """(S m, K) float64, from a row of the graph to singular vectors."""
    shares: np.ndarray
    """(S m, K) float32, the share of each cluster in what is joined to an anchor."""
    n_batches: int = 1
    """Of which each has sets of its own, in turn."""

    def graph(self, points: np.ndarray) -> sp.csr_matrix:
        """Weights of cells to anchors, (n, d) -> CSR float32 (n, S m)."""
        return anchor_graph(points, self.anchors, self.n_nearest, self.n_batches)

    def embedding(self, graph: sp.csr_matrix) -> np.ndarray:
        """Singular vectors, rows of length 1, (n, K) float32."""
        return embed(graph, self.mapping)

    def memberships(self, graph: sp.csr_matrix) -> np.ndarray:
        """The mean of what a cell's anchors say, by their weights, (n, K) float32; rows sum to 1."""
        return np.asarray(graph @ self.shares, dtype=np.float32)

    def assign(self, points: np.ndarray) -> np.ndarray:
        """The cluster of largest membership, (n, d) -> (n,) int64."""
        return self.memberships(self.graph(points)).argmax(1)


class Others(NamedTuple):
    """Other partitions, by anchors of their own, of some of n cells."""

    cells: np.ndarray
    """(c,), ascending."""
    partitions: list[np.ndarray]
    """(c,) int each, within 0 .. K - 1."""

    def agreed(self, graph: sp.csr_matrix, labels: np.ndarray, n_clusters: int) -> np.ndarray:
        """What most of them and `labels` (n,) say of these cells, passed on by the graph to all; (n,) int64.

        Where partitions differ in one cluster each, no cells are left to it, or so few that none are when it is passed on.
        It then becomes one of those in which they differ: of those that leave cells to most clusters when they are passed
        on, the one that is then most alike to all of these.
        """
        partitions, own = [labels[self.cells], *self.partitions], graph[self.cells]
        found = consensus(partitions, n_clusters)
        passed = _passed_on(own, found, n_clusters, own)
        while len(lost := np.setdiff1d(np.arange(n_clusters), passed)):
            kept = np.where(np.isin(found, lost), passed, found)
            clusters = left_over(partitions, kept)
            tries = [np.where(cluster, lost[0], kept) for cluster in clusters]
            outcomes = [_passed_on(own, one, n_clusters, own) for one in tries]
            merits = [(len(np.unique(one)), support(one == lost[0], clusters)) for one in outcomes]
            if not tries or max(merits)[0] <= n_clusters - len(lost):
                break
            best = merits.index(max(merits))
            found, passed = tries[best], outcomes[best]
        return found if len(found) == len(labels) else _passed_on(own, found, n_clusters, graph)


def _passed_on(graph: sp.csr_matrix, labels: np.ndarray, n_clusters: int, to: sp.csr_matrix) -> np.ndarray:
    """The cluster that has the largest share in the anchors of each cell of another graph."""
    return np.asarray(to @ votes(graph, labels, n_clusters)).argmax(1)


def learn_anchors(
    points: np.ndarray,
    config: Config,
    rng: np.random.Generator,
    *,
    n_clusters: int = 2,
    batches: np.ndarray | None = None,
) -> tuple[np.ndarray, int]:
    """Anchor sets of a sample of the cells, (n, d) -> (S B, m, d), and B; m is at least twice `n_clusters` where it can be.

    With batches, codes (n,) of :func:`batches_with_anchors`, each set is of the cells of one of B batches, and each batch in
    turn has one. There are at most twice as many anchors in all as without batches, but for what clusters need.
    """
    sample = draw(len(points), config.max_fit_cells, rng)
    parts, n_sets = [points[sample]], config.n_anchor_sets
    if batches is not None:
        parts = [points[sample[batches[sample] == batch]] for batch in np.unique(batches[sample]) if batch >= 0]
        n_sets = sets_a_batch(config, len(parts))
    m = min(anchor_count(config, len(part), len(np.unique(part, axis=0)), n_clusters) for part in parts)
    m = min(m, max(2 * n_clusters, 2 * config.n_anchor_sets * config.n_anchors // (n_sets * len(parts))))
    with progress_bar(n_sets * len(parts), unit="set", name="anchors") as bar:
        sets = [find_anchors(part, m, n_sets, rng, bar) for part in parts]
    return np.stack(sets, axis=1).reshape(-1, m, points.shape[1]), len(parts)


def cluster_graph(
    graph: sp.csr_matrix,
    anchors: np.ndarray,
    n_clusters: int,
    config: Config,
    rng: np.random.Generator,
    *,
    constraints: Constraints | None = None,
    n_batches: int = 1,
    others: Others | None = None,
) -> tuple[Landmarks, np.ndarray]:
    """Spectral clustering of the graph, and the partition (n,), the largest cluster first.

    With other partitions, what most of them and that by k-means say takes its place; not with constraints. The partition
    is passed to the anchors and back, so that a cell's cluster is the one that has the largest share in its anchors; cells
    of which something is known stay where k-means put them. K is smaller than asked for where a cluster loses all its
    cells by that, or cells are alike.
    """
    mapping = singular_map(graph, n_clusters)
    embedding = embed(graph, mapping)
    held = np.zeros(len(embedding), dtype=bool)
    if constraints is None:
        labels = partition(embedding, n_clusters, rng, max_cells=config.max_fit_cells)
        if others is not None:
            labels = others.agreed(graph, labels, n_clusters)
    else:
        held = constraints.held
        seen = np.union1d(draw(len(embedding), config.max_fit_cells, rng), np.flatnonzero(held))
        labels = constrained_partition(embedding, n_clusters, constraints, rng, cells=seen)
    while True:
        labels, n_found = by_size(labels)
        found = Landmarks(anchors, config.n_nearest, mapping[:, :n_found], votes(graph, labels, n_found), n_batches)
        settled = np.where(held, labels, found.memberships(graph).argmax(1))
        if len(np.unique(settled)) == n_found:
            break
        labels = settled
    # By size after the passing on: the columns of the shares change places.
    size = np.bincount(settled, minlength=n_found)
    order = np.argsort(-size, kind="stable")
    rank = np.empty(n_found, dtype=np.int64)
    rank[order] = np.arange(n_found)
    found = dataclasses.replace(found, shares=np.ascontiguousarray(found.shares[:, order]))
    return found, rank[settled]
