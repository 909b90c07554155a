"""The partition that most of several partitions give, one point at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

#: Rounds after which the majority stays as it is, whether it has settled or not.
_ROUNDS = 10


def partners(both: np.ndarray) -> np.ndarray:
    """The column that each row of a table of counts is matched with, one to one, so that their sum is largest; else -1."""
    found = np.full(len(both), -1)
    rows, columns = linear_sum_assignment(both, maximize=True)
    found[rows] = columns
    return found


def matched(labels: np.ndarray, reference: np.ndarray, n_clusters: int) -> np.ndarray:
    """Clusters of `labels` called by those of `reference`, matched one to one so that most points agree.

    Both are (n,) int, those of `reference` below K; so is the result, with -1 where a cluster has no match.
    """
    both = np.zeros((labels.max() + 1, n_clusters), dtype=np.int64)
    np.add.at(both, (labels, reference), 1)
    return partners(both)[labels]


def consensus(partitions: Sequence[np.ndarray], n_clusters: int) -> np.ndarray:
    """The cluster in which most partitions put each point, after their clusters are matched (plurality voting).

    They are matched with the partition that agrees best with all of them, then with what came out, until that stays.

    Parameters
    ----------
    partitions
        (n,) int each, of the same points, within 0 .. K - 1.
    n_clusters
        K.

    Returns
    -------
    (n,) int64, within 0 .. K - 1; some clusters may have no points. Where two have as many votes, the first counts.
    """

    def agreement(one: np.ndarray) -> int:
        return sum(int((matched(other, one, n_clusters) == one).sum()) for other in partitions)

    found = max(partitions, key=agreement)
    points = np.arange(len(found))
    for _ in range(_ROUNDS):
        votes = np.zeros((len(found), n_clusters), dtype=np.int32)
        for partition in partitions:
            choice = matched(partition, found, n_clusters)
            votes[points[choice >= 0], choice[choice >= 0]] += 1
        before, found = found, votes.argmax(1)
        if (found == before).all():
            break
    return found


def left_over(partitions: Sequence[np.ndarray], found: np.ndarray) -> list[np.ndarray]:
    """Points of each cluster of several partitions, all of the same n points, that has no match in `found`; (n,) bool each."""
    live, codes = np.unique(found, return_inverse=True)
    clusters = []
    for partition in partitions:
        unmatched = np.unique(partition[matched(partition, codes, len(live)) < 0])
        clusters += [partition == cluster for cluster in unmatched]
    return clusters


def support(cells: np.ndarray, clusters: Sequence[np.ndarray]) -> float:
    """How alike some cells, (n,) bool, are to several clusters, (n,) bool each: the sum of Jaccard indices."""
    return sum(float((cells & cluster).sum() / (cells | cluster).sum()) for cluster in clusters)
