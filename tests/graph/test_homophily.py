import numpy as np
import pytest
import reference
import scipy.sparse as sp

from scbignn.graph import homophily, homophily_per_label


def random_graph(seed):
    rng = np.random.default_rng(seed)
    dense = rng.random((15, 15)) < 0.2
    return sp.csr_matrix(dense, dtype=float), list(zip(*np.nonzero(dense), strict=True)), rng.integers(-1, 3, size=15)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("form", [sp.csr_matrix, sp.coo_matrix, sp.csc_matrix, sp.csr_array])
def test_equals_a_count_of_edges(seed, form):
    graph, edges, labels = random_graph(seed)
    assert homophily(form(graph), labels) == pytest.approx(reference.homophily(edges, labels))
    expected = [reference.homophily(edges, labels, label) for label in range(4)]
    np.testing.assert_allclose(homophily_per_label(form(graph), labels, 4), expected)  # label 3 has no edges: NaN


def test_direction_matters_per_label():
    graph = sp.csr_matrix(np.array([[0, 1, 1], [0, 0, 0], [0, 0, 0]]))
    labels = np.array([0, 0, 1])
    assert homophily(graph, labels) == 0.5
    np.testing.assert_array_equal(homophily_per_label(graph, labels, 2), [0.5, np.nan])


def test_values_are_ignored_also_zeros():
    graph = sp.csr_matrix(([0.0, -2.0], [1, 2], [0, 2, 2, 2]), shape=(3, 3))
    assert homophily(graph, np.array([0, 0, 1])) == 0.5


@pytest.mark.parametrize("labels", [[-1, -1, -1], [0, -1, -1]])
def test_without_labelled_edges(labels):
    graph = sp.csr_matrix(np.ones((3, 3)) - np.eye(3))
    assert np.isnan(homophily(graph, np.array(labels)))
    assert np.isnan(homophily_per_label(graph, np.array(labels), 2)).all()
