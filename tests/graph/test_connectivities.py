import numpy as np
import pytest
import reference
import scipy.sparse as sp
import torch
from small import CPU

from scbignn.graph import Neighbors, connectivities, nearest_neighbors


@pytest.mark.parametrize(("n", "k"), [(30, 5), (12, 3)])
def test_equals_the_fuzzy_union(n, k):
    found = nearest_neighbors(np.random.default_rng(n).normal(size=(n, 4)), k, device=CPU)
    weights = connectivities(found)
    assert weights.dtype == np.float32
    assert weights.format == "csr"
    expected = reference.fuzzy_union(found.indices, found.distances.astype(np.float64))
    np.testing.assert_allclose(weights.toarray(), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("n", "k", "copies"), [(300, 10, 1), (60, 1, 1), (60, 2, 1), (120, 15, 2), (100, 5, 10)])
def test_equals_umap(n, k, copies):
    points = np.repeat(np.random.default_rng(k).normal(size=(n // copies, 5)), copies, axis=0)
    found = nearest_neighbors(points, k, device=CPU)
    n_threads = torch.get_num_threads()
    umap = pytest.importorskip("umap.umap_")  # comes with scanpy
    indices = np.column_stack([np.arange(n), found.indices])
    distances = np.column_stack([np.zeros(n, dtype=np.float32), found.distances])
    expected, *_ = umap.fuzzy_simplicial_set(
        sp.csr_matrix((n, 1)), k + 1, None, "euclidean", knn_indices=indices, knn_dists=distances
    )
    torch.set_num_threads(n_threads)  # numba's first parallel kernel sets OpenMP's threads for the whole process
    np.testing.assert_allclose(connectivities(found).toarray(), expected.toarray(), atol=2e-5)


def test_cells_at_one_place():
    found = nearest_neighbors(np.zeros((8, 2)), 3, device=CPU)
    np.testing.assert_array_equal(connectivities(found).data, 1)


def test_symmetric_on_the_union_of_edges_within_0_and_1():
    found = nearest_neighbors(np.random.default_rng(0).normal(size=(40, 3)), 4, device=CPU)
    weights = connectivities(found).toarray()
    edges = reference.adjacency(found.indices)
    np.testing.assert_array_equal(weights, weights.T)
    np.testing.assert_array_equal(weights > 0, np.maximum(edges, edges.T) > 0)
    assert weights.max() <= 1


def test_identical_points_are_fully_connected():
    points = np.repeat(np.random.default_rng(0).normal(size=(10, 3)), 2, axis=0)
    weights = connectivities(nearest_neighbors(points, 3, device=CPU)).toarray()
    np.testing.assert_allclose(weights[np.arange(0, 20, 2), np.arange(1, 20, 2)], 1)
    assert not weights.diagonal().any()


def test_neighbours_and_global_generators_stay_as_they_were():
    found = nearest_neighbors(np.random.default_rng(0).normal(size=(15, 3)), 3, device=CPU)
    before = Neighbors(found.indices.copy(), found.distances.copy())
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (the global state is looked at)
    connectivities(found)
    np.testing.assert_array_equal(found.indices, before.indices)
    np.testing.assert_array_equal(found.distances, before.distances)
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
