import numpy as np
import pytest
import reference
import scipy.sparse as sp
from small import CPU, alpha, expression, gene_gnn, tiny, weights

from scbignn.annotation import _importance, gene_importance, mean_attention


def by_reference(network, config, x, min_count):
    per_cell = []
    for row in x.toarray().astype(float):
        if row.any():
            _, layers = reference.gene_network(weights(network), row, config.n_heads, alpha=alpha(network))
            per_cell.append((np.flatnonzero(row), layers))
    return reference.mean_attention(per_cell, x.shape[1], min_count)


@pytest.mark.parametrize("changes", [{"n_heads": 1}, {"n_heads": 4}, {"n_layers": 2}, {"read_out": "mean"}])
@pytest.mark.parametrize("min_count", [0, 1, 4, 8, 1000])
def test_equals_reference(changes, min_count):
    config = tiny(**changes)
    network, x = gene_gnn(config), expression(25, empty=(0, 9))
    found = mean_attention(network, x, min_count=min_count, device=CPU)
    expected = by_reference(network, config, x, min_count)
    assert found.dtype == np.float32
    assert found.shape == (12, 12)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(gene_importance(found), expected.sum(0), rtol=1e-4, atol=1e-6)


def test_rare_pairs_are_dropped_and_common_ones_kept():
    network, x = gene_gnn(tiny()), expression(25)
    both = (x.toarray() > 0).astype(int)
    count = both.T @ both
    found = mean_attention(network, x, min_count=5, device=CPU).toarray()
    assert (count < 5).any()
    np.testing.assert_array_equal(found > 0, count >= 5)


def test_pairs_that_never_meet_have_no_entry_and_no_nan():
    x = sp.csr_matrix(np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0]], dtype=np.float32))
    found = mean_attention(gene_gnn(tiny(), 4), x, min_count=0, device=CPU)
    np.testing.assert_array_equal(found.toarray() > 0, np.kron(np.eye(2), np.ones((2, 2))))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)


def test_blocks_of_cells_do_not_matter(monkeypatch):
    network, x = gene_gnn(tiny()), expression(25)
    whole = mean_attention(network, x, min_count=2, device=CPU)
    monkeypatch.setattr(_importance, "_ROWS", 4)
    np.testing.assert_allclose(
        mean_attention(network, x, min_count=2, device=CPU).toarray(), whole.toarray(), rtol=1e-6
    )


def test_importance_is_attention_received():
    attention = sp.csr_matrix(np.array([[0.5, 0.25], [1.0, 0.0]], dtype=np.float32))
    found = gene_importance(attention)
    np.testing.assert_array_equal(found, [1.5, 0.25])
    assert found.dtype == np.float64
    assert found.shape == (2,)


def test_nothing_expressed():
    found = mean_attention(gene_gnn(tiny(), 4), sp.csr_matrix((3, 4), dtype=np.float32), min_count=1, device=CPU)
    assert found.nnz == 0
