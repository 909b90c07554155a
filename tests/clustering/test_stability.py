import numpy as np
import pytest

from scbignn.clustering import jaccard
from scbignn.clustering._stability import stability


def test_jaccard_equals_that_of_sets():
    rng = np.random.default_rng(0)
    one, other = rng.integers(4, size=60), rng.integers(3, 9, size=60)
    found = jaccard(one, other, 5)
    for k in range(4):
        own = set(np.flatnonzero(one == k))
        theirs = [set(np.flatnonzero(other == j)) for j in np.unique(other)]
        assert found[k] == pytest.approx(max(len(own & s) / len(own | s) for s in theirs))
    assert np.isnan(found[4])


def test_names_of_clusters_do_not_matter():
    labels = np.array([0, 0, 1, 1, 2])
    np.testing.assert_array_equal(jaccard(labels, np.array([8, 8, 3, 3, 5]), 3), 1)


def test_clusters_that_come_again_and_clusters_that_do_not():
    points = np.r_[np.zeros(40), np.full(40, 9.0)][:, None]
    labels = np.repeat([0, 1, 2], [40, 20, 20])  # the second half is split for no reason

    def cluster(half, rng):
        assert len(half) == 40
        middle = points[half].mean()
        return lambda x: (x[:, 0] > middle).astype(int)

    found = stability(points, labels, 3, cluster, 4, np.random.default_rng(0))
    np.testing.assert_allclose(found, [1, 0.5, 0.5])
