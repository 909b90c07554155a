import numpy as np
import pytest

from scbignn.clustering._consensus import consensus, left_over, matched, support


def noisy(truth, n_clusters, share, rng):
    """The same partition, its clusters renamed, with a share of the points at random."""
    found = np.where(rng.random(len(truth)) < share, rng.integers(n_clusters, size=len(truth)), truth)
    return rng.permutation(n_clusters)[found]


@pytest.mark.parametrize("n_clusters", [2, 5, 9])
def test_renamed_clusters_are_matched(n_clusters):
    rng = np.random.default_rng(0)
    truth = rng.integers(n_clusters, size=300)
    np.testing.assert_array_equal(matched(rng.permutation(n_clusters)[truth], truth, n_clusters), truth)


def test_a_cluster_too_many_has_no_match():
    reference = np.array([0, 0, 0, 1, 1, 1])
    assert matched(np.array([2, 2, 0, 1, 1, 1]), reference, 2).tolist() == [0, 0, -1, 1, 1, 1]


def test_fewer_clusters_are_matched_with_some():
    reference = np.array([0, 0, 1, 1, 2, 2, 2])
    assert matched(np.array([1, 1, 1, 1, 0, 0, 0]), reference, 3).tolist() in ([0] * 4 + [2] * 3, [1] * 4 + [2] * 3)


def test_most_votes_count_whatever_clusters_are_called():
    partitions = [np.array(labels) for labels in ([0, 0, 0, 1, 1, 1], [1, 1, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0])]
    found = consensus(partitions, 2)
    assert (found == found[0]).tolist() == [True, True, True, False, False, False]


def test_one_partition_is_its_own_consensus():
    labels = np.random.default_rng(0).integers(4, size=50)
    np.testing.assert_array_equal(consensus([labels], 4), labels)


def test_errors_that_partitions_do_not_share_cancel():
    rng = np.random.default_rng(0)
    truth = rng.integers(6, size=2000)
    partitions = [noisy(truth, 6, 0.3, rng) for _ in range(9)]
    right = [np.mean(matched(found, truth, 6) == truth) for found in (consensus(partitions, 6), *partitions)]
    assert right[0] > 0.99
    assert max(right[1:]) < 0.8


def test_clusters_without_a_match_are_left_over():
    found = np.array([0, 0, 0, 0, 3, 3, 3, 3])
    partitions = [
        np.array(labels) for labels in ([0, 0, 0, 1, 2, 2, 2, 2], [2, 2, 2, 2, 1, 1, 1, 0], [0, 0, 0, 0, 1, 1, 1, 1])
    ]
    assert [np.flatnonzero(cells).tolist() for cells in left_over(partitions, found)] == [[3], [7]]


def test_support_is_a_sum_of_jaccard_indices():
    cells = np.array([True, True, True, False, False, False])
    clusters = [np.array(own, dtype=bool) for own in ([1, 1, 1, 0, 0, 0], [0, 0, 1, 1, 1, 0], [0, 0, 0, 0, 1, 1])]
    np.testing.assert_allclose(support(cells, clusters), 1 + 1 / 5)
    assert support(~cells & cells, clusters) == 0
