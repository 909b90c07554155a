import logging

import numpy as np
import pytest
import reference
import torch
from small import CPU

from scbignn.graph import Neighbors, _knn, nearest_among, nearest_neighbors


def clustered(n_cells=700, n_dims=8, n_clusters=12, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, 4, (n_clusters, n_dims))
    return (centers[rng.integers(n_clusters, size=n_cells)] + rng.normal(size=(n_cells, n_dims))).astype(np.float32)


def assert_nearest(points, found, k):
    """k distinct others a row, at the k smallest distances, nearest first, ties by index."""
    truth = reference.distances(points)
    assert found.indices.shape == found.distances.shape == (len(points), k)
    assert found.indices.dtype == np.int64
    assert found.distances.dtype == np.float32
    for i, (row, lengths) in enumerate(zip(found.indices, found.distances, strict=True)):
        assert i not in row
        assert len(set(row)) == k
        np.testing.assert_allclose(lengths, truth[i, row], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(lengths, np.sort(truth[i])[:k], rtol=1e-5, atol=1e-6)
        tied = np.diff(lengths) == 0
        assert (np.diff(row)[tied] > 0).all()


@pytest.mark.parametrize(("n", "d", "k"), [(40, 3, 5), (25, 10, 1), (12, 2, 11), (2, 1, 1)])
def test_exact_search_equals_brute_force(n, d, k):
    points = np.random.default_rng(n).normal(size=(n, d))
    found = nearest_neighbors(points, k, device=CPU)
    np.testing.assert_array_equal(found.indices, reference.neighbors(points, k))
    assert_nearest(points, found, k)


def test_exact_search_in_several_blocks(monkeypatch):
    points = np.random.default_rng(0).normal(size=(50, 4))
    monkeypatch.setattr(_knn, "BLOCK_ENTRIES", 350)
    np.testing.assert_array_equal(nearest_neighbors(points, 6, device=CPU).indices, reference.neighbors(points, 6))


@pytest.mark.parametrize("k", [2, 4, 7])
def test_ties_on_a_grid(k):
    points = np.stack(np.meshgrid(np.arange(6), np.arange(5)), axis=-1).reshape(-1, 2).astype(float)
    assert_nearest(points, nearest_neighbors(points, k, device=CPU), k)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_identical_points_never_list_themselves(k):
    points = np.repeat(np.random.default_rng(0).normal(size=(5, 3)), 4, axis=0)
    assert_nearest(points, nearest_neighbors(points, k, device=CPU), k)


def test_all_points_identical():
    found = nearest_neighbors(np.ones((7, 3)), 4, device=CPU)
    assert_nearest(np.ones((7, 3)), found, 4)
    assert not found.distances.any()


def test_points_far_from_the_origin():
    points = np.random.default_rng(0).integers(0, 1000, size=(60, 3)) / 8 + 4096.0  # exact in float32
    assert_nearest(points, nearest_neighbors(points, 5, device=CPU), 5)


def test_neighbours_within_tight_and_distant_clusters():
    rng = np.random.default_rng(0)
    centers = np.repeat(rng.normal(0, 10, (4, 3)), 20, axis=0)
    points = (centers + rng.normal(0, 0.5, centers.shape)).astype(np.float32)
    assert_nearest(points, nearest_neighbors(points, 5, device=CPU), 5)


def test_input_is_not_changed():
    points = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    before = points.copy()
    nearest_neighbors(points, 3, device=CPU)
    np.testing.assert_array_equal(points, before)


@pytest.mark.parametrize("k", [-1, 0, 6, 7])
def test_k_out_of_range(k):
    with pytest.raises(ValueError, match=rf"k={k} .*among 6 cells.*between 1 and 5"):
        nearest_neighbors(np.zeros((6, 2)), k, device=CPU)


def test_distance_matrix_stores_every_neighbour():
    points = np.repeat(np.random.default_rng(0).normal(size=(4, 2)), 3, axis=0)
    found = nearest_neighbors(points, 4, device=CPU)
    matrix = found.distance_matrix()
    assert matrix.shape == (12, 12)
    assert matrix.has_sorted_indices
    assert (np.diff(matrix.indptr) == 4).all()
    for i in range(12):
        stored = dict(zip(matrix[[i]].indices, matrix[[i]].data, strict=True))
        assert stored == dict(zip(found.indices[i], found.distances[i], strict=True))


def test_distance_matrix_leaves_the_neighbours_alone():
    indices = np.array([[2, 1], [2, 0], [1, 0]])
    lengths = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=np.float32)
    found = Neighbors(indices.copy(), lengths.copy())
    matrix = found.distance_matrix()
    matrix.data[:] = -1
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_array_equal(found.distances, lengths)


def recall(points, found):
    truth = reference.neighbors(points, found.indices.shape[1])
    return np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(found.indices, truth, strict=True)])


@pytest.fixture
def approximate(monkeypatch):
    """Any set is large enough for the approximate search; counts its calls."""
    calls = []
    search = _knn._inverted_file
    monkeypatch.setattr(_knn, "EXACT_LIMIT", 10)
    monkeypatch.setattr(_knn, "_inverted_file", lambda *a, **k: calls.append(1) or search(*a, **k))
    return calls


def test_approximate_search(approximate, caplog):
    points = clustered()
    found = nearest_neighbors(points, 10, device=CPU, seed=3)
    assert approximate == [1]
    assert recall(points, found) >= 0.95
    assert (found.indices != np.arange(len(points))[:, None]).all()
    assert all(len(set(row)) == 10 for row in found.indices)
    assert (np.diff(found.distances, axis=1) >= 0).all()
    truth = reference.distances(points)
    np.testing.assert_allclose(found.distances, np.take_along_axis(truth, found.indices, 1), rtol=1e-4, atol=1e-5)
    assert not caplog.records


def test_approximate_search_misses_little_where_it_prunes(approximate):
    points = torch.from_numpy(clustered(1200))
    indices, distances = _knn._inverted_file(points, 10, 0, n_probe=20)  # of 69 lists
    assert recall(points.numpy(), Neighbors(indices.numpy(), distances.numpy())) >= 0.95


def test_approximate_search_is_repeatable(approximate):
    points = clustered(300)
    first, second = (nearest_neighbors(points, 5, device=CPU, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.indices, second.indices)
    np.testing.assert_array_equal(first.distances, second.distances)
    assert len(approximate) == 2


def test_approximate_search_leaves_the_global_generator_alone(approximate):
    before = torch.get_rng_state()
    nearest_neighbors(clustered(100), 5, device=CPU, seed=1)
    assert torch.equal(before, torch.get_rng_state())


def test_seed_reaches_the_centroids():
    points = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32))
    first, second = (_knn._inverted_file(points, 5, seed, n_probe=4)[0] for seed in (0, 1))
    assert not torch.equal(first, second)


def test_lists_with_too_few_candidates_look_everywhere():
    points = torch.from_numpy(clustered(60))
    indices = _knn._inverted_file(points, 40, 0, n_probe=1)[0].numpy()
    np.testing.assert_array_equal(np.sort(indices), np.sort(reference.neighbors(points.numpy(), 40)))


def test_low_recall_warns_once(monkeypatch, caplog):
    points = clustered(80)
    truth = reference.distances(points)
    wrong = np.argsort(-truth, axis=1)[:, :3]  # the farthest
    found = (torch.from_numpy(part.copy()) for part in (wrong, np.take_along_axis(truth, wrong, 1).astype(np.float32)))
    monkeypatch.setattr(_knn, "EXACT_LIMIT", 10)
    monkeypatch.setattr(_knn, "_inverted_file", lambda *_: tuple(found))
    nearest_neighbors(points, 3, device=CPU)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "finds 0.0 % of the true neighbours" in record.getMessage()


def test_identical_points_are_no_lack_of_recall(approximate, caplog):
    points = np.repeat(clustered(40), 20, axis=0)
    nearest_neighbors(points, 5, device=CPU)
    assert not caplog.records


def test_adjacency_has_an_edge_of_one_for_every_neighbour():
    points = np.repeat(np.random.default_rng(0).normal(size=(10, 3)), 2, axis=0)  # each point twice: distances of 0
    found = nearest_neighbors(points, 3, device=CPU)
    expected = np.zeros((20, 20))
    np.put_along_axis(expected, found.indices, 1, axis=1)
    np.testing.assert_array_equal(found.adjacency().toarray(), expected)
    assert (found.distance_matrix().data == 0).any()


@pytest.mark.parametrize("block_entries", [16_000_000, 100])
def test_nearest_among_other_points_are_those_of_a_full_search(monkeypatch, block_entries):
    monkeypatch.setattr(_knn, "BLOCK_ENTRIES", block_entries)
    rng = np.random.default_rng(0)
    queries, points = rng.normal(size=(23, 4)), rng.normal(size=(31, 4)) + 100
    queries += 100
    found = nearest_among(queries, points, 5, device=CPU)
    distances = np.linalg.norm(queries[:, None] - points[None], axis=2)
    np.testing.assert_array_equal(found.indices, np.argsort(distances, axis=1)[:, :5])
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :5], rtol=1e-4)


def test_nearest_among_few_points_are_all_of_them():
    points = np.arange(3.0)[:, None]
    np.testing.assert_array_equal(nearest_among([[0.9]], points, 3, device=CPU).indices, [[1, 0, 2]])
