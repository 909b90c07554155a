"""kNN by a search of the user's: any instance with the interface of scikit-learn's KNeighborsTransformer."""

import logging

import numpy as np
import pytest
import reference
import scipy.sparse as sp
from pynndescent import PyNNDescentTransformer
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.neighbors import KNeighborsTransformer
from small import CPU

from scbignn.graph import describe_search, nearest_neighbors


def clustered(n_cells=300, n_dims=8, n_clusters=12, seed=0):
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, 4, (n_clusters, n_dims))
    return (centers[rng.integers(n_clusters, size=n_cells)] + rng.normal(size=(n_cells, n_dims))).astype(np.float32)


class Search(TransformerMixin, BaseEstimator):
    """Brute force, in the forms that searches give their results."""

    asked = ()

    def __init__(self, n_neighbors=5, *, lists_itself=True, counts_itself=False, change=None, random_state=None):
        self.n_neighbors = n_neighbors
        self.lists_itself = lists_itself
        self.counts_itself = counts_itself
        self.change = change
        self.random_state = random_state

    def fit(self, x, y=None):
        return self

    def transform(self, x):
        Search.asked = (*Search.asked, (self.n_neighbors, self.random_state, x.dtype))
        distances = reference.distances(x)
        np.fill_diagonal(distances, -1 if self.lists_itself else np.inf)
        k = self.n_neighbors + (self.lists_itself and not self.counts_itself)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        found = np.take_along_axis(distances, order, 1).clip(min=0)
        matrix = sp.csr_matrix((found.ravel(), order.ravel(), np.arange(0, order.size + 1, k)), (len(x), len(x)))
        return matrix if self.change is None else self.change(matrix)


@pytest.fixture(autouse=True)
def _forget():
    Search.asked = ()


def assert_same(found, points, k):
    truth = nearest_neighbors(points, k, device=CPU)
    np.testing.assert_array_equal(found.indices, truth.indices)
    np.testing.assert_array_equal(found.distances, truth.distances)
    assert found.indices.dtype == np.int64
    assert found.distances.dtype == np.float32


@pytest.mark.parametrize(
    "search",
    [
        KNeighborsTransformer(),
        KNeighborsTransformer(mode="connectivity"),
        KNeighborsTransformer(n_neighbors=50, algorithm="kd_tree"),
        KNeighborsTransformer(metric="sqeuclidean"),
        Search(),
        Search(counts_itself=True),
        Search(lists_itself=False),
        Search(change=sp.coo_array),
        Search(change=lambda found: found[:, ::-1].tocsc()[:, ::-1]),
    ],
    ids=describe_search,
)
@pytest.mark.parametrize("k", [1, 7])
def test_an_exact_search_gives_what_ours_gives_however_it_counts(search, k, caplog):
    points = clustered()
    found = nearest_neighbors(points, k, device=CPU, transformer=search)
    assert_same(found, points, k)
    assert found.recall == 1
    assert not caplog.records


def test_points_that_are_alike_are_told_by_number_and_are_no_lack_of_recall(caplog):
    points = np.repeat(clustered(60), 2, axis=0)
    found = nearest_neighbors(points, 3, device=CPU, transformer=KNeighborsTransformer(n_neighbors=20))
    assert_same(found, points, 3)
    crowded = np.repeat(clustered(12), 20, axis=0)  # which of nineteen at distance 0 are found is up to the search
    found = nearest_neighbors(crowded, 3, device=CPU, transformer=KNeighborsTransformer())
    assert found.recall == 1
    assert not found.distances.any()
    assert (found.indices != np.arange(len(crowded))[:, None]).all()
    assert not caplog.records


def test_as_many_neighbours_as_there_can_be():
    points = clustered(9)
    for search in (KNeighborsTransformer(), Search(), Search(lists_itself=False)):
        assert_same(nearest_neighbors(points, 8, device=CPU, transformer=search), points, 8)


@pytest.mark.slow
def test_pynndescent_is_taken_and_is_repeatable():
    points = clustered(400)
    search = PyNNDescentTransformer(n_jobs=1)
    first, second = (nearest_neighbors(points, 6, device=CPU, seed=3, transformer=search) for _ in range(2))
    np.testing.assert_array_equal(first.indices, second.indices)
    assert 0.95 < first.recall <= 1
    truth = reference.neighbors(points, 6)
    assert np.mean([len(set(a) & set(b)) / 6 for a, b in zip(first.indices, truth, strict=True)]) > 0.95


def test_it_is_asked_for_one_more_or_for_what_it_was_set_to_and_is_left_as_it_was():
    points, search = clustered(), Search()
    for own, asked in ((2, 8), (30, 30), (10**6, len(points) - 1)):
        search.set_params(n_neighbors=own)
        before = search.get_params()
        nearest_neighbors(points, 7, device=CPU, seed=5, transformer=search)
        assert search.get_params() == before
        assert not hasattr(search, "n_features_in_")
        assert Search.asked[-1] == (asked, 5, np.float32)
    nearest_neighbors(points, 7, device=CPU, seed=5, transformer=Search(random_state=9))
    assert Search.asked[-1][1] == 9


def test_a_low_recall_is_kept_and_warned_of_with_what_mends_it(caplog):
    points = clustered()

    def scramble(found):
        keep = found.indices % 5 != 0  # a fifth of all cells is never found, but as a far one
        return sp.csr_matrix(
            sp.coo_matrix((found.data[keep], (found.tocoo().row[keep], found.indices[keep])), found.shape)
        )

    found = nearest_neighbors(points, 4, device=CPU, transformer=Search(n_neighbors=60, change=scramble))
    truth = reference.neighbors(points, 4)
    expected = np.mean([len(set(a) & set(b)) / 4 for a, b in zip(found.indices, truth, strict=True)])
    assert found.recall == pytest.approx(expected)
    assert found.recall < 0.95
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert f"finds {100 * found.recall:.1f} % of the true neighbours" in message
    assert "transformer=sklearn.neighbors.KNeighborsTransformer()" in message
    assert "PyNNDescentTransformer(n_neighbors=12)" in message


class FromGPU:
    """Not a SciPy matrix, but one that can be had from it, as CuPy's."""

    def __init__(self, matrix):
        self.matrix = matrix

    def get(self):
        return self.matrix


def test_a_matrix_on_a_gpu_is_fetched():
    points = clustered()
    assert_same(nearest_neighbors(points, 5, device=CPU, transformer=Search(change=FromGPU)), points, 5)


def nan(found):
    found.data[3] = np.nan
    return found


def sparser(found):
    found = found.tolil()
    found[4] = 0
    return found.tocsr()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nan, r"Search gave 1 distances that are not finite\. Pass transformer="),
        (
            sparser,
            r"Search found fewer than 5 neighbours of 1 of 300 cells, and 0 of one\. Give it a larger n_neighbors",
        ),
        (lambda found: found[:10], r"Search gave a csr_matrix of shape \(10, 300\), not .* \(300, 300\)"),
        (lambda found: found.toarray(), r"Search gave a ndarray of shape \(300, 300\), not a sparse matrix"),
        (lambda found: None, r"Search gave a NoneType without a shape"),
    ],
)
def test_a_result_that_is_no_graph_is_refused(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        nearest_neighbors(clustered(), 5, device=CPU, transformer=Search(change=change))
    assert "KNeighborsTransformer(), or leave it out" in str(caught.value)


def test_an_exact_search_of_ours_has_no_recall_and_an_approximate_one_has(monkeypatch):
    points = clustered()
    assert nearest_neighbors(points, 5, device=CPU).recall is None
    monkeypatch.setattr("scbignn.graph._knn.EXACT_LIMIT", 10)
    assert nearest_neighbors(points, 5, device=CPU).recall > 0.95


def test_descriptions_tell_searches_apart_in_any_process():
    assert describe_search(None) is None
    first, same, other = (describe_search(KNeighborsTransformer(n_neighbors=k)) for k in (5, 5, 6))
    assert first == same != other
    assert first.startswith("sklearn.neighbors._graph.KNeighborsTransformer(algorithm='auto', ")

    def metric(a, b):
        return abs(a - b).sum()

    described = describe_search(KNeighborsTransformer(metric=metric))
    assert "metric>" in described
    assert "0x" not in described
    assert described != first
