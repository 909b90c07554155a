import numpy as np
import pytest
import scipy.sparse as sp

from scbignn.clustering import anchor_graph, best_number, evidence, find_anchors, modularity


def blobs(n_blobs=4, per=50, seed=0):
    rng = np.random.default_rng(seed)
    centers = 12 * rng.normal(size=(n_blobs, 5))
    return (np.repeat(centers, per, axis=0) + rng.normal(size=(n_blobs * per, 5))).astype(np.float32)


def graph(points, n_sets=3, m=30):
    anchors = find_anchors(points, m, n_sets, np.random.default_rng(0))
    return anchor_graph(points, anchors, 4)


def test_modularity_equals_that_of_the_dense_cell_graph():
    z = graph(blobs())
    labels = np.random.default_rng(0).integers(3, size=200)
    dense = z.toarray().astype(np.float64)
    cells = dense @ np.diag(1 / np.maximum(dense.sum(0), 1e-300)) @ dense.T
    degree, total = cells.sum(1), cells.sum()
    same = labels[:, None] == labels
    expected = ((cells - np.outer(degree, degree) / total) * same).sum() / total
    assert modularity(z, labels, 3) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("n_blobs", [2, 4, 6])
def test_the_number_of_blobs_is_found(n_blobs):
    table = evidence(graph(blobs(n_blobs)), 3, 10, np.random.default_rng(0))
    assert best_number(table) == n_blobs
    assert table["n_clusters"].tolist() == list(range(2, 11))
    assert table["agreement"].between(-1, 1).all()
    np.testing.assert_allclose(table["score"], table["modularity"] * table["agreement"])
    assert table["agreement"].iloc[n_blobs - 2] == pytest.approx(1)


def test_one_set_agrees_with_itself():
    table = evidence(graph(blobs(), n_sets=1), 1, 5, np.random.default_rng(0))
    assert (table["agreement"] == 1).all()


def test_where_cells_or_anchors_are_few():
    assert evidence(graph(blobs(), m=4), 3, 30, np.random.default_rng(0))["n_clusters"].max() == 4
    alone = evidence(sp.csr_matrix(np.ones((2, 1))), 1, 30, np.random.default_rng(0))
    assert best_number(alone) == 1
