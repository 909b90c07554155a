import numpy as np
import pytest

from scbignn import _check


@pytest.mark.parametrize("n_clusters", [None, 2, 10, np.int64(3)])
def test_numbers_of_clusters_that_can_be(n_clusters):
    assert _check.check_n_clusters(n_clusters, 10) is None


@pytest.mark.parametrize(
    ("n_clusters", "n_obs", "error", "message"),
    [
        (1, 10, ValueError, "n_clusters=1 must be at least 2, and at most the number of cells, 10"),
        (11, 10, ValueError, "n_clusters=11"),
        (2.0, 10, TypeError, r"n_clusters=2\.0 must be an integer"),
        (True, 10, TypeError, "n_clusters=True must be an integer"),
        (None, 1, ValueError, "1 cell, which makes no clusters"),
    ],
)
def test_numbers_of_clusters_that_cannot_be(n_clusters, n_obs, error, message):
    with pytest.raises(error, match=message):
        _check.check_n_clusters(n_clusters, n_obs)
