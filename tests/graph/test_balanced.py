import numpy as np
import pytest
import torch

from scbignn.graph import balanced_among, balanced_neighbors, nearest_neighbors

CPU = torch.device("cpu")


def problem(n=40, seed=0, sizes=(0.6, 0.3, 0.1)):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)).astype(np.float32), rng.choice(len(sizes), size=n, p=sizes)


def in_turn(queries, points, batches, k, itself):
    """Every batch's nearest, then every batch's second, ...: the rule, cell by cell."""
    found = []
    for number, query in enumerate(queries):
        distance = np.linalg.norm(points - query, axis=1)
        piles = [sorted(np.flatnonzero(batches == batch), key=lambda j: distance[j]) for batch in np.unique(batches)]
        piles = [[j for j in pile if not (itself and j == number)] for pile in piles]
        chosen = []
        while len(chosen) < k:
            turn = sorted((pile.pop(0) for pile in piles if pile), key=lambda j: distance[j])
            chosen += turn[: k - len(chosen)]
        found.append(sorted(chosen, key=lambda j: distance[j]))
    return np.array(found)


@pytest.mark.parametrize("k", [1, 2, 3, 7, 20, 39])
@pytest.mark.parametrize("seed", [0, 1])
def test_batches_take_turns(k, seed):
    points, batches = problem(seed=seed)
    found = balanced_neighbors(points, batches, k, device=CPU)
    np.testing.assert_array_equal(found.indices, in_turn(points, points, batches, k, itself=True))
    away = np.linalg.norm(points[:, None] - points[found.indices], axis=2)
    np.testing.assert_allclose(found.distances, away, rtol=1e-5)
    assert (found.indices.dtype, found.distances.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("k", [1, 4, 40])
def test_queries_are_served_alike_and_each_by_itself(k):
    points, batches = problem()
    queries = np.random.default_rng(5).normal(size=(7, 3))
    found = balanced_among(queries, points, batches, k, device=CPU)
    np.testing.assert_array_equal(found.indices, in_turn(queries.astype(np.float32), points, batches, k, itself=False))
    alone = balanced_among(queries[3:4], points, batches, k, device=CPU)
    np.testing.assert_array_equal(alone.indices[0], found.indices[3])


def test_a_batch_of_one_cell_and_codes_with_gaps():
    points, batches = problem()
    batches = np.where(np.arange(40) == 5, 9, np.where(batches == 2, 7, batches))
    found = balanced_neighbors(points, batches, 4, device=CPU)
    np.testing.assert_array_equal(found.indices, in_turn(points, points, batches, 4, itself=True))
    assert all(5 in row for number, row in enumerate(found.indices) if number != 5)


def test_one_batch_is_the_plain_graph():
    points, _ = problem()
    plain, balanced = nearest_neighbors(points, 6, device=CPU), balanced_neighbors(points, np.zeros(40), 6, device=CPU)
    np.testing.assert_array_equal(balanced.indices, plain.indices)


def test_cells_that_are_the_same_are_not_their_own_neighbours():
    points, batches = np.zeros((6, 2)), np.array([0, 0, 0, 1, 1, 1])
    found = balanced_neighbors(points, batches, 5, device=CPU)
    for number, row in enumerate(found.indices):
        assert sorted([*row, number]) == list(range(6))


@pytest.mark.parametrize("k", [0, 40])
def test_too_many_neighbours_or_none(k):
    points, batches = problem()
    with pytest.raises(ValueError, match=f"k={k} neighbours cannot be found among 40 cells"):
        balanced_neighbors(points, batches, k, device=CPU)
