import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from scbignn.clustering import Config, anchor_graph
from scbignn.clustering._landmarks import Others, cluster_graph, learn_anchors

CONFIG = Config(n_anchors=20, n_anchor_sets=3, n_nearest=3)


def blobs(sizes, seed=0):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(sizes)), sizes)
    return (9 * rng.normal(size=(len(sizes), 4))[truth] + rng.normal(size=(len(truth), 4))).astype(np.float32), truth


def clustered(points, k, config=CONFIG, seed=0, batches=None):
    rng = np.random.default_rng(seed)
    anchors, n_batches = learn_anchors(points, config, rng, n_clusters=k, batches=batches)
    graph = anchor_graph(points, anchors, config.n_nearest, n_batches)
    return *cluster_graph(graph, anchors, k, config, rng, n_batches=n_batches), graph


@pytest.mark.parametrize("sizes", [(60, 50, 40), (200, 20), (30, 90, 60, 45)])
def test_blobs_are_found_and_numbered_by_size(sizes):
    points, truth = blobs(sizes)
    landmarks, labels, graph = clustered(points, len(sizes))
    assert adjusted_rand_score(truth, labels) == 1
    assert np.bincount(labels).tolist() == sorted(sizes, reverse=True)
    memberships = landmarks.memberships(graph)
    np.testing.assert_allclose(memberships.sum(1), 1, rtol=1e-5)
    assert (memberships.argmax(1) == labels).all()


def test_a_cell_by_itself_gets_what_it_gets_among_others():
    points, _ = blobs((60, 50, 40))
    landmarks, labels, _ = clustered(points, 3)
    assert [int(landmarks.assign(points[[i]])[0]) for i in range(0, 150, 7)] == labels[::7].tolist()


def test_order_of_cells_does_not_matter():
    points, _ = blobs((60, 50, 40))
    _, labels, _ = clustered(points, 3)
    order = np.random.default_rng(5).permutation(150)
    _, shuffled, _ = clustered(points[order], 3)
    np.testing.assert_array_equal(shuffled, labels[order])


def test_anchors_come_from_a_sample():
    points, truth = blobs((300, 250, 200))
    config = Config(n_anchors=20, n_anchor_sets=2, n_nearest=3, max_fit_cells=100)
    assert learn_anchors(points, config, np.random.default_rng(0))[0].shape == (2, 20, 4)
    _, labels, _ = clustered(points, 3, config)
    assert adjusted_rand_score(truth, labels) == 1


def test_fewer_clusters_where_cells_are_alike():
    points = np.repeat(np.eye(4, dtype=np.float32)[:2], 20, axis=0)
    landmarks, labels, _ = clustered(points, 3)
    assert landmarks.anchors.shape[1] == 2
    assert sorted(np.bincount(labels)) == [20, 20]
    assert landmarks.shares.shape[1] == 2


def shifted(sizes=(60, 50, 40), by=12.0):
    """Blobs of which every other cell is of a batch that lies elsewhere."""
    points, truth = blobs(sizes)
    batches = np.arange(len(points)) % 2
    return points + by * batches[:, None] * np.array([1, -1, 1, -1], np.float32), truth, batches


def test_cells_of_a_type_meet_across_batches():
    points, truth, batches = shifted()
    apart, together = (clustered(points, 3, batches=given)[1] for given in (None, batches))
    assert adjusted_rand_score(truth, apart) < 0.7
    assert adjusted_rand_score(truth, together) == 1


def test_sets_of_batches_take_turns():
    points, _, batches = shifted(by=100.0)
    anchors, n_batches = learn_anchors(points, CONFIG, np.random.default_rng(0), batches=batches)
    assert (len(anchors), n_batches) == (4, 2)
    np.testing.assert_array_equal(anchors[:, :, 0].mean(1) > 50, [False, True, False, True])


def test_many_batches_have_fewer_anchors_each():
    points, _ = blobs((700, 700))
    config = Config(n_anchors=40, n_anchor_sets=4, n_nearest=3)
    anchors, n_batches = learn_anchors(points, config, np.random.default_rng(0), batches=np.arange(1400) % 10)
    assert (len(anchors), n_batches) == (20, 10)
    assert anchors.shape[1] == 16  # 2 x 4 x 40 in all


def test_a_cluster_that_no_majority_has_is_the_split_that_most_have():
    """Five partitions in four, of three blobs: two halve the largest, by the same plane, one the second, two the third, by two planes."""
    points, truth = blobs((80, 60, 40))
    _, _, graph = clustered(points, 3)
    half = [truth.copy() for _ in range(5)]
    for labels, blob, axis in zip(half, (0, 1, 2, 0, 2), (0, 0, 0, 0, 1), strict=True):
        own = np.flatnonzero(truth == blob)
        labels[own[points[own, axis] > np.median(points[own, axis])]] = 3
    found = Others(np.arange(180), half[1:]).agreed(graph, half[0], 4)
    assert sorted(np.bincount(found)) == [40, 40, 40, 60]
    assert adjusted_rand_score(found, half[0]) == 1


def test_partitions_without_a_cluster_too_many_leave_it_empty():
    points, truth = blobs((60, 50, 40))
    _, _, graph = clustered(points, 3)
    found = Others(np.arange(150), [truth, truth]).agreed(graph, truth, 5)
    np.testing.assert_array_equal(found, truth)
