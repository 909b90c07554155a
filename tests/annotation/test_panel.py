import numpy as np
import pytest
import reference
import scipy.sparse as sp
from small import expression, labelled

from scbignn.annotation import top_label_genes, top_variance_genes


@pytest.mark.parametrize("n_top", [1, 4, 10, 14])
@pytest.mark.parametrize("seed", range(3))
def test_top_variance_genes_equal_reference(n_top, seed):
    x = expression(30, 15, seed=seed).toarray()
    found = top_variance_genes(sp.csr_matrix(x), n_top)
    np.testing.assert_array_equal(found, reference.top_variance_genes(x, n_top))


def test_genes_without_expression_never_count():
    x = np.random.default_rng(0).uniform(0.5, 1, (8, 5)).astype(np.float32)
    x[:, 1] = 0
    np.testing.assert_array_equal(top_variance_genes(sp.csr_matrix(x), 100), [0, 2, 3, 4])


def test_ties_go_to_the_first_gene():
    column = np.array([[0.0], [1.0], [2.0]])
    x = np.hstack([np.ones((3, 1)), column, 2 * column, column, column])
    np.testing.assert_array_equal(top_variance_genes(sp.csr_matrix(x), 3), [1, 2, 3])


@pytest.mark.parametrize("n_top", [1, 2, 3, 7, 12])
@pytest.mark.parametrize("seed", range(3))
def test_top_label_genes_equal_reference(n_top, seed):
    x, y = labelled(40, seed=seed)
    np.testing.assert_array_equal(top_label_genes(x, y, n_top), reference.top_label_genes(x.toarray(), y, n_top))


def test_unlabelled_cells_do_not_matter():
    x, y = labelled(40)
    other = x.tolil()
    other[np.flatnonzero(y < 0)] = 7
    np.testing.assert_array_equal(top_label_genes(other.tocsr(), y, 4), top_label_genes(x, y, 4))


def test_a_label_of_one_cell_has_its_genes():
    x, y = labelled(60, hidden=0.0)
    x = sp.hstack([x, np.zeros((60, 1))]).tolil()
    y[7] = 3
    x[7, 12] = 5
    assert 12 in top_label_genes(x.tocsr().astype(np.float32), y, 4)


def test_labels_take_turns():
    """One label has four times as many genes as each other one, and takes no more than its share."""
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = rng.poisson(1.0, (90, 30)).astype(float)
    x[:, :20] += 2 * (y == 0)[:, None]
    x[:, 20:25] += 1.8 * (y == 1)[:, None]
    x[:, 25:] += 1.8 * (y == 2)[:, None]
    chosen = top_label_genes(sp.csr_matrix(x), y, 9)
    assert [np.sum((chosen >= a) & (chosen < b)) for a, b in ((0, 20), (20, 25), (25, 30))] == [3, 3, 3]


def test_genes_that_do_not_vary_come_last_and_unexpressed_ones_never():
    x, y = labelled(40)
    x = sp.hstack([np.ones((40, 2)), np.zeros((40, 2)), x]).tocsr()
    np.testing.assert_array_equal(top_label_genes(x, y, 12), np.arange(4, 16))
    np.testing.assert_array_equal(top_label_genes(x, y, 13), [0, *range(4, 16)])
    np.testing.assert_array_equal(top_label_genes(x, y, 100), [0, 1, *range(4, 16)])
