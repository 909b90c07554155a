import numpy as np
import pytest

from scbignn.clustering import Config, anchor_graph, find_anchors
from scbignn.clustering._anchors import anchor_count, batches_with_anchors, sets_a_batch


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


def test_with_batches_the_graph_equals_its_formula():
    """Two sets of each of two batches, in turn; the sets of the second batch are far from all cells, and count less."""
    x, anchors = points(), points(36, seed=1).reshape(4, 9, 4) + 4 * np.array([0, 1, 0, 1])[:, None, None]
    found = anchor_graph(x, anchors.astype(np.float32), 3, 2).toarray()
    expected = np.zeros((60, 36))
    for i, cell in enumerate(x.astype(np.float64)):
        for s in (0, 18):
            squares = ((cell - anchors.reshape(36, 4)[s : s + 18]) ** 2).sum(1)
            nearest = np.concatenate([b + np.argsort(squares[b : b + 9])[:3] for b in (0, 9)])
            weight = np.exp(-squares[nearest] / squares[nearest].mean())
            expected[i, s + nearest] = weight / weight.sum() / 2
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found[:, :9].sum() > 1.5 * found[:, 9:18].sum()


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ((600, 700), [0, 1]),
        ((5000, 400, 3000), [0, -1, 1]),  # 256 anchors would be too many for 400 cells
        ((5000, 400), [0, 1]),  # 64 are not
        ((90_000, 90_000, 2000), [0, 1, -1]),  # anchors are learned from 20,000, which hold some 200 of the last
        ((5000, 400, 3), [0, 1, -1]),
        ((5000, 3), None),
        ((40,), None),
    ],
)
def test_batches_have_anchors_where_they_have_cells_enough(sizes, expected):
    codes = np.repeat(np.arange(len(sizes)), sizes)
    found = batches_with_anchors(codes, Config(), 4)
    if expected is None:
        assert found is None
    else:
        np.testing.assert_array_equal(found, np.asarray(expected)[codes])


@pytest.mark.parametrize(("n_sets", "n_batches", "expected"), [(5, 1, 5), (5, 2, 3), (5, 4, 2), (5, 20, 2), (1, 3, 1)])
def test_sets_of_each_batch(n_sets, n_batches, expected):
    assert sets_a_batch(Config(n_anchor_sets=n_sets), n_batches) == expected
