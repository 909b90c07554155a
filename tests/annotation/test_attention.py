import numpy as np
import pytest
import reference
import scipy.sparse as sp
from scipy.stats import norm
from small import CPU, alpha, expression, gene_gnn, tiny, weights

from scbignn.annotation import _attention
from scbignn.annotation._attention import attention_of_pairs, edges_of, no_pairs, strongest_pairs
from scbignn.annotation._tokens import Tokens


def sums(network, x):
    return attention_of_pairs(network, Tokens(x, CPU), x)


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
    found = sums(network, x).mean(min_count).numpy()
    expected = by_reference(network, config, x, min_count)
    assert found.shape == (12, 12)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_rare_pairs_are_dropped_and_common_ones_kept():
    network, x = gene_gnn(tiny()), expression(25)
    both = (x.toarray() > 0).astype(int)
    count = both.T @ both
    found = sums(network, x).mean(5).numpy()
    assert (count < 5).any()
    np.testing.assert_array_equal(found > 0, count >= 5)


def test_pairs_that_never_meet_have_no_entry_and_no_nan():
    x = sp.csr_matrix(np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 0, 0]], dtype=np.float32))
    found = sums(gene_gnn(tiny(), 4), x).mean(0).numpy()
    np.testing.assert_array_equal(found > 0, np.kron(np.eye(2), np.ones((2, 2))))
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)


def test_blocks_of_cells_do_not_matter(monkeypatch):
    network, x = gene_gnn(tiny()), expression(25)
    whole = sums(network, x)
    monkeypatch.setattr(_attention, "_ROWS", 4)
    for part, expected in zip(sums(network, x), whole, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-6)


def test_nothing_expressed_and_no_layers():
    nothing = sp.csr_matrix((3, 4), dtype=np.float32)
    for network, x in ((gene_gnn(tiny(), 4), nothing), (gene_gnn(tiny(n_layers=0)), expression(25))):
        assert all(not part.any() for part in sums(network, x))


def test_cells_that_stand_for_others():
    network, x = gene_gnn(tiny()), expression(12)
    twice = sums(network, sp.vstack([x, x[:4]], format="csr"))
    found = sums(network, x[4:]).plus(sums(network, x[:4]), 2)
    for part, expected in zip(found, twice, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-6)


def per_cell(network, config, x):
    """Attention of each cell averaged over layers and heads, (N, T, T), NaN where a gene is not expressed."""
    found = np.full((x.shape[0], 12, 12), np.nan)
    for cell, row in enumerate(x.toarray().astype(float)):
        genes = np.flatnonzero(row)
        _, layers = reference.gene_network(weights(network), row, config.n_heads, alpha=alpha(network))
        found[cell][np.ix_(genes, genes)] = np.mean([r for heads in layers for r in heads], axis=0)
    return found


def edges(network, x, labels, min_count=1):
    everyone, strongest = no_pairs(12, CPU), []
    for label in np.unique(labels).tolist():
        own = sums(network, x[labels == label])
        everyone = everyone.plus(own)
        strongest.append(strongest_pairs(label, own, min_count))
    return edges_of(strongest, everyone)


def test_edges_of_labels_by_reference():
    config, labels = tiny(), np.repeat([0, 2], [25, 15])
    network, x = gene_gnn(config), expression(40, density=0.6)
    found, attention = edges(network, x, labels, 8), per_cell(gene_gnn(config), config, x)
    assert 132 < len(found.label) < 264
    for label in (0, 2):
        own = attention[labels == label]
        n, mean = np.sum(~np.isnan(own), 0), np.nanmean(own, 0)
        mean[n < 8] = 0
        np.fill_diagonal(mean, 0)
        mine = found.label == label
        assert mine.sum() == np.sum(mean > 0)
        np.testing.assert_array_equal(found.n_cells[mine], n[found.source[mine], found.target[mine]])
        np.testing.assert_allclose(found.weight[mine], mean[found.source[mine], found.target[mine]], rtol=1e-4)
        assert np.all(np.diff(found.weight[mine]) <= 1e-9)
        assert not np.any(found.source[mine] == found.target[mine])
        p = 2 * norm.sf(np.abs(found.z[mine])) * mine.sum()
        np.testing.assert_allclose(found.p_adjusted[mine], np.minimum(p, 1))


def test_z_is_that_of_relabelled_cells():
    config, labels = tiny(), np.repeat([0, 1], [12, 28])
    network, x = gene_gnn(config), expression(40, density=0.9)
    found, attention = edges(network, x, labels), per_cell(gene_gnn(config), config, x)
    rng, first = np.random.default_rng(0), found.label == 0
    for edge in np.flatnonzero(first)[:5]:
        values = attention[:, found.source[edge], found.target[edge]]
        values = values[~np.isnan(values)]
        means = [rng.choice(values, found.n_cells[edge], replace=False).mean() for _ in range(20_000)]
        z = (found.weight[edge] - np.mean(means)) / np.std(means)
        np.testing.assert_allclose(found.z[edge], z, atol=0.05, rtol=0.05)


def test_one_label_has_nothing_to_be_compared_with():
    found = edges(gene_gnn(tiny()), expression(20), np.zeros(20, dtype=int))
    assert len(found.z) > 0
    assert np.isnan(found.z).all()
    assert np.isnan(found.p_adjusted).all()


def test_so_many_pairs_are_kept(monkeypatch):
    every = edges(gene_gnn(tiny()), expression(20), np.zeros(20, dtype=int))
    monkeypatch.setattr(_attention, "_N_EDGES", 7)
    found = edges(gene_gnn(tiny()), expression(20), np.zeros(20, dtype=int))
    np.testing.assert_array_equal(found.weight, every.weight[:7])
    np.testing.assert_allclose(found.p_adjusted, every.p_adjusted[:7])
