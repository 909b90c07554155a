"""What is known of a partition beforehand: labels of some cells, cells that belong together, and cells that do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

_STARTS, _ITERATIONS = 10, 100


@dataclass(frozen=True, eq=False)
class Constraints:
    """Groups of cells that share a cluster, and pairs of groups that do not."""

    group: np.ndarray
    """(N,) int64 within 0 .. G - 1; -1 for cells of which nothing is known."""
    apart: np.ndarray
    """(P, 2) int64, pairs of groups."""
    n_labels: int
    """L: the groups 0 .. L - 1 are those of a label each, all apart from one another."""

    @property
    def held(self) -> np.ndarray:
        """(N,) bool, the cells of a group."""
        return self.group >= 0

    def of(self, cells: np.ndarray) -> Constraints:
        """What is known of some cells, (n,) int."""
        return Constraints(self.group[cells], self.apart, self.n_labels)


def constraints_of(
    labels: np.ndarray, n_labels: int, together: np.ndarray, apart: np.ndarray, names: np.ndarray
) -> Constraints:
    """Labels and pairs as groups.

    Parameters
    ----------
    labels
        (N,) int, within 0 .. L - 1, or -1.
    n_labels
        L; each label has a cell.
    together, apart
        (P, 2) int, pairs of cells.
    names
        (N,) of the cells, for messages.

    Raises
    ------
    ValueError
        Two cells are to be together and apart, at once or by way of others or of their labels.
    """
    n, known = len(labels), np.flatnonzero(labels >= 0)
    # A node more for each label: cells that have it are together with the node.
    rows = np.concatenate([together[:, 0], known])
    columns = np.concatenate([together[:, 1], n + labels[known]])
    links = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(n + n_labels, n + n_labels))
    _, found = connected_components(links, directed=False)
    of_label = found[n:]
    shared = np.flatnonzero(np.bincount(of_label, minlength=1) > 1)
    if shared.size:
        two = np.flatnonzero(of_label == shared[0])[:2]
        one, other = (names[known[labels[known] == label][0]] for label in two)
        msg = (
            f"must_link joins cells of two labels, those of {str(one)!r} and {str(other)!r}, at once or by way of others. "
            "Give both one label, or leave out the pairs between them."
        )
        raise ValueError(msg)
    wrong = np.flatnonzero(found[apart[:, 0]] == found[apart[:, 1]])
    if wrong.size:
        one, other = names[apart[wrong[0]]]
        msg = (
            f"cannot_link parts the cells {str(one)!r} and {str(other)!r}, which labels or must_link join, at once or by way "
            "of others. Leave out one of the two."
        )
        raise ValueError(msg)
    linked = np.setdiff1d(found[np.concatenate([together, apart]).ravel()], of_label)
    number = np.full(found.max() + 1, -1)
    number[np.concatenate([of_label, linked])] = np.arange(n_labels + len(linked))
    pairs = np.concatenate([np.stack(np.triu_indices(n_labels, 1), axis=1), np.sort(number[found[apart]], axis=1)])
    return Constraints(number[found[:n]], np.unique(pairs, axis=0), n_labels)


def constrained_partition(
    embedding: np.ndarray, n_clusters: int, constraints: Constraints, rng: np.random.Generator, *, cells: np.ndarray
) -> np.ndarray:
    """Clusters by k-means in which groups move as one, and those that are apart go to different clusters.

    The first L centres start from the cells of a label each, which stay there (seeded k-means, Basu et al. 2002); the others
    from cells far from them. A group goes to the centre that is nearest to all of its cells, of those that the groups
    before it leave; groups with most others to be apart from come first (after COP-k-means, Wagstaff et al. 2001).

    Parameters
    ----------
    embedding
        (n, d).
    n_clusters
        K, at least L.
    constraints
        What is known.
    rng
        Draws the other starts, of which the one with the smallest sum of squares is kept.
    cells
        Cells that centres come from, among them all that are held.

    Returns
    -------
    (n,) int64.

    Raises
    ------
    ValueError
        Groups could not be kept apart in K clusters.
    """
    points, known = embedding[cells].astype(np.float64), constraints.of(cells)
    plan = _Plan.of(known)
    best, best_sum = None, np.inf
    for _ in range(_STARTS):
        centers = _starts(points, known, n_clusters, rng)
        labels = None
        for _ in range(_ITERATIONS):
            squares = _squares(points, centers)
            before, labels = labels, plan.assign(squares, n_clusters)
            if before is not None and (before == labels).all():
                break
            centers = _means(points, labels, centers)
        total = squares[np.arange(len(labels)), labels].sum()
        if total < best_sum:
            best, best_sum = centers, total
    return _Plan.of(constraints).assign(_squares(embedding.astype(np.float64), best), n_clusters)


@dataclass(frozen=True, eq=False)
class _Plan:
    """In which order groups are placed, and what each has to avoid."""

    constraints: Constraints
    order: np.ndarray
    avoid: list[np.ndarray]

    @classmethod
    def of(cls, constraints: Constraints) -> _Plan:
        n_groups = (
            max(constraints.group.max(initial=-1), constraints.apart.max(initial=-1), constraints.n_labels - 1) + 1
        )
        avoid: list[list[int]] = [[] for _ in range(n_groups)]
        for one, other in constraints.apart:
            avoid[one].append(other)
            avoid[other].append(one)
        degree = np.array([len(others) for others in avoid], dtype=np.int64)
        order = np.argsort(-degree[constraints.n_labels :], kind="stable") + constraints.n_labels
        return cls(constraints, order, [np.array(others, dtype=np.int64) for others in avoid])

    def assign(self, squares: np.ndarray, n_clusters: int) -> np.ndarray:
        """The cluster of each cell by its squared distances to centres, (n, K) -> (n,)."""
        group, n_labels = self.constraints.group, self.constraints.n_labels
        labels, held = squares.argmin(1), group >= 0
        cost = np.zeros((len(self.avoid), n_clusters))
        np.add.at(cost, group[held], squares[held])
        place = np.full(len(self.avoid), -1)
        place[:n_labels] = np.arange(n_labels)
        for number in self.order:
            taken = place[self.avoid[number]]
            taken = taken[taken >= 0]
            if len(np.unique(taken)) == n_clusters:
                msg = (
                    f"cells that labels and cannot_link keep apart found no place in {n_clusters} clusters. Ask for more, with "
                    "n_clusters=..., or leave out some pairs."
                )
                raise ValueError(msg)
            own = cost[number].copy()
            own[taken] = np.inf
            place[number] = own.argmin()
        labels[held] = place[group[held]]
        return labels


def _starts(points: np.ndarray, known: Constraints, n_clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Means of labelled cells, then cells drawn in proportion to the squared distance to the centres so far."""
    centers = [points[known.group == label].mean(0) for label in range(known.n_labels)]
    while len(centers) < n_clusters:
        near = _squares(points, np.array(centers)).min(1) if centers else np.ones(len(points))
        total = near.sum()
        centers.append(points[rng.choice(len(points), p=near / total if total > 0 else None)])
    return np.array(centers)


def _squares(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    found = (points**2).sum(1)[:, None] - 2 * points @ centers.T + (centers**2).sum(1)
    return np.maximum(found, 0)


def _means(points: np.ndarray, labels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Means of clusters; a cluster without cells keeps its centre."""
    k = len(centers)
    member = sp.csr_matrix((np.ones(len(labels)), (labels, np.arange(len(labels)))), shape=(k, len(labels)))
    size = np.bincount(labels, minlength=k)[:, None]
    return np.where(size > 0, (member @ points) / np.maximum(size, 1), centers)
