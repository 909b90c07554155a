import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score

from scbignn.clustering import singular_map
from scbignn.clustering._spectral import by_size, embed, partition, votes


def graph(n=80, m=20, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.random((n, m)) * (rng.random((n, m)) < 0.3)
    z[np.arange(n), rng.integers(m, size=n)] += 0.1
    return sp.csr_matrix(z / z.sum(1, keepdims=True))


@pytest.mark.parametrize("k", [1, 4, 20])
def test_equals_a_dense_svd(k):
    z = graph()
    b = z.toarray() / np.sqrt(z.toarray().sum(0))
    u, s, _ = np.linalg.svd(b, full_matrices=False)
    found = z @ singular_map(z, k)
    np.testing.assert_allclose(np.abs(found), np.abs(u[:, :k]), atol=1e-6)
    np.testing.assert_allclose(s[0], 1)  # the trivial vector


def test_equals_the_spectrum_of_the_cell_graph():
    """Left singular vectors of B are eigenvectors of Z D^-1 Z^T, which is never built."""
    z = graph()
    dense = z.toarray()
    cells = dense @ np.diag(1 / dense.sum(0)) @ dense.T
    np.testing.assert_allclose(cells.sum(1), 1)
    u = z @ singular_map(z, 5)
    values = np.linalg.eigvalsh(cells)[::-1][:5]
    np.testing.assert_allclose(cells @ u, u * values, atol=1e-8)


def test_vectors_beyond_the_rank_and_idle_anchors():
    z = sp.csr_matrix(np.array([[1.0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]))
    found = singular_map(z, 6)
    assert found.shape == (4, 6)
    assert np.isfinite(found).all()
    assert (found[:, 2:] == 0).all()
    assert (found[2:] == 0).all()


def test_rows_of_the_embedding_have_length_1():
    z = graph()
    found = embed(z, singular_map(z, 5))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    assert found.dtype == np.float32
    assert (embed(sp.csr_matrix((2, 20)), singular_map(z, 5)) == 0).all()


def test_blocks_are_found():
    truth = np.repeat([0, 1, 2], 30)
    z = np.kron(np.eye(3), np.ones((30, 4))) + 0.02 * np.random.default_rng(0).random((90, 12))
    z = sp.csr_matrix(z / z.sum(1, keepdims=True))
    for most in (90, 40):  # centres from all cells, and from some
        found = partition(embed(z, singular_map(z, 3)), 3, np.random.default_rng(0), max_cells=most)
        assert adjusted_rand_score(truth, found) == 1


def test_votes_are_shares_of_weight():
    z = graph(6, 4)
    labels = np.array([0, 1, 0, 1, 2, 2])
    found = votes(z, labels, 4)
    dense = z.toarray()
    for k in range(4):
        np.testing.assert_allclose(found[:, k], dense[labels == k].sum(0) / dense.sum(0), rtol=1e-6)
    idle = votes(sp.csr_matrix((2, 3)), np.array([0, 1]), 2)
    np.testing.assert_allclose(idle, 0.5)


def test_numbers_go_by_size_then_by_place():
    labels, n = by_size(np.array([7, 3, 3, 9, 9, 1]))
    assert labels.tolist() == [2, 0, 0, 1, 1, 3]
    assert n == 4
