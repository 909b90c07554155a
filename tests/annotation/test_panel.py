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


# --- batches --------------------------------------------------------------------------------------------------------


def test_a_gene_that_differs_between_batches_only_tells_nothing():
    """Most cells of a label are of one batch, so the gene tells labels apart over all cells, and not within batches."""
    rng = np.random.default_rng(0)
    batch = np.repeat([0, 1], 60)
    y = np.where(rng.random(120) < np.where(batch == 0, 0.9, 0.1), 0, 1)
    x = rng.normal(1, 0.1, size=(120, 8)).clip(0.01)
    x[:, 3] += 5 * batch
    x[:, 5] += 0.3 * y
    x = sp.csr_matrix(x, dtype=np.float32)
    assert top_label_genes(x, y, 1).tolist() == [3]
    assert top_label_genes(x, y, 1, batch).tolist() == [5]
    assert top_variance_genes(x, 1).tolist() == [3]
    assert top_variance_genes(x, 1, batch).tolist() == [5]


def test_t_within_batches_is_summed_with_its_sign():
    rng = np.random.default_rng(1)
    batch, y = np.repeat([0, 1], 30), np.arange(60) % 2
    x = rng.normal(1, 0.1, size=(60, 4)).clip(0.01)
    x[:, 1] += np.where(batch == 0, 1, -1) * y * 0.5  # up in one, down in the other
    x[:, 2] += 0.2 * y
    assert top_label_genes(sp.csr_matrix(x, dtype=np.float32), y, 1, batch).tolist() == [2]


def test_labels_that_share_no_batch_are_ranked_over_all_cells():
    rng = np.random.default_rng(2)
    y = np.repeat([0, 1], 20)
    x = sp.csr_matrix(rng.random((40, 6)) + 0.01, dtype=np.float32)
    np.testing.assert_array_equal(top_label_genes(x, y, 3, y), top_label_genes(x, y, 3))


def test_one_batch_is_no_batch():
    rng = np.random.default_rng(3)
    x, y = sp.csr_matrix(rng.random((40, 6)) + 0.01, dtype=np.float32), np.arange(40) % 4 - 1
    for batches in (np.zeros(40), np.where(y < 0, np.arange(40), 0)):
        np.testing.assert_array_equal(top_label_genes(x, y, 3, batches), top_label_genes(x, y, 3))
    np.testing.assert_array_equal(top_variance_genes(x, 3, np.zeros(40)), top_variance_genes(x, 3))
