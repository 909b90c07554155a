import numpy as np
import pytest

from scbignn.clustering import Config, anchor_graph, find_anchors
from scbignn.clustering._anchors import anchor_count


def points(n=60, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("r", [1, 3, 9, 20])
def test_the_graph_equals_its_formula(r):
    x, anchors = points(), points(18, seed=1).reshape(2, 9, 4)
    found = anchor_graph(x, anchors, r)
    expected = np.zeros((60, 18))
    for i, cell in enumerate(x.astype(np.float64)):
        for s, own in enumerate(anchors):
            squares = ((cell - own) ** 2).sum(1)
            nearest = np.argsort(squares)[:r]
            weight = np.exp(-squares[nearest] / squares[nearest].mean())
            expected[i, s * 9 + nearest] = weight / weight.sum() / 2
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-6)
    assert (found.dtype, found.format) == (np.float32, "csr")
    assert (np.diff(found.indptr) == 2 * min(r, 9)).all()
    assert found.has_sorted_indices


def test_chunks_do_not_show(monkeypatch):
    x, anchors = points(), points(18, seed=1).reshape(2, 9, 4)
    whole = anchor_graph(x, anchors, 3)
    monkeypatch.setattr("scbignn.clustering._anchors.CHUNK", 7)
    np.testing.assert_allclose(anchor_graph(x, anchors, 3).toarray(), whole.toarray(), atol=1e-6)


def test_cells_on_their_anchors_have_even_weights():
    anchors = np.zeros((1, 3, 2), dtype=np.float32)
    np.testing.assert_allclose(anchor_graph(np.zeros((4, 2), np.float32), anchors, 3).toarray(), 1 / 3)


def test_sets_of_anchors_differ_and_come_again():
    found = find_anchors(points(), 5, 3, np.random.default_rng(0))
    assert found.shape == (3, 5, 4)
    assert found.dtype == np.float32
    assert not np.allclose(np.sort(found[0], axis=0), np.sort(found[1], axis=0))
    np.testing.assert_array_equal(found, find_anchors(points(), 5, 3, np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("n_cells", "n_distinct", "n_clusters", "expected"),
    [(10_000, 10_000, 3, 256), (100, 100, 3, 20), (20, 20, 8, 16), (100, 4, 3, 4), (100, 1, 2, 1), (3, 3, 2, 3)],
)
def test_fewer_anchors_where_cells_are_few_or_alike(n_cells, n_distinct, n_clusters, expected):
    assert anchor_count(Config(), n_cells, n_distinct, n_clusters) == expected
