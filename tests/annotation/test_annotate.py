import numpy as np
import pytest
import reference
import scipy.sparse as sp
import torch
from small import CPU, tiny

from scbignn._settings import settings
from scbignn.annotation import annotate_cells, fit, mean_attention, normalize, raw_neighbors, top_variance_genes
from scbignn.graph import homophily, homophily_per_label


@pytest.fixture(autouse=True)
def quiet():
    with settings.override(progress=False):
        yield


def counts(n=40, m=20, seed=0):
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 3
    x = rng.poisson(np.where(np.arange(m) % 3 == kind[:, None], 4.0, 0.6))
    x[:, 5] = 0
    x[np.arange(n), kind] += 1
    y = np.where(rng.random(n) < 0.4, -1, kind)
    y[:3] = [0, 1, 2]
    return sp.csr_matrix(x, dtype=np.float32), y.astype(np.int64)


def run(config, x, y, seed=0):
    return annotate_cells(x, y, 3, config, device=CPU, engine="torch", seed=seed)


def test_every_part_is_what_its_own_function_gives():
    config, (x, y) = tiny(n_top_genes=9), counts()
    found = run(config, x, y)
    z = normalize(x, config.target_sum)
    genes = top_variance_genes(z, 9)
    z = z[:, genes]
    alone = fit(z, y, 3, config, device=CPU, engine="torch", seed=0)
    np.testing.assert_array_equal(found.genes, reference.top_variance_genes(reference.normalize(x.toarray(), 1e4), 9))
    np.testing.assert_array_equal(found.fit.p, alone.p)
    attention = mean_attention(alone.gene_gnn, z, min_count=1, device=CPU)
    np.testing.assert_array_equal(found.attention.toarray(), attention.toarray())
    np.testing.assert_allclose(found.importance, attention.toarray().sum(0), rtol=1e-6)
    for name, graph in (("learned", alone.neighbors), ("raw", raw_neighbors(z, 3, device=CPU, seed=0))):
        edges = reference.adjacency(graph.indices)
        assert getattr(found.homophily, name) == homophily(sp.csr_matrix(edges), y)
        np.testing.assert_array_equal(
            getattr(found.homophily, f"{name}_per_label"), homophily_per_label(sp.csr_matrix(edges), y, 3)
        )


def test_same_seed_same_bits_and_another_seed_another_result():
    x, y = counts()
    first, again, other = (run(tiny(), x, y, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.fit.p, again.fit.p)
    np.testing.assert_array_equal(first.attention.toarray(), again.attention.toarray())
    assert first.homophily.raw == again.homophily.raw
    assert not np.array_equal(first.fit.p, other.fit.p)


def test_input_and_global_generators_stay_as_they_were():
    x, y = counts()
    before, labels = x.copy(), y.copy()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 (the global state is looked at)
    run(tiny(), x, y)
    np.testing.assert_array_equal(x.toarray(), before.toarray())
    np.testing.assert_array_equal(y, labels)
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002


def test_genes_ranked_on_labelled_cells_only():
    x, y = counts()
    dense = x.toarray()
    dense[y < 0, 7] = np.where(np.arange((y < 0).sum()) % 2, 200, 0)  # varies most, among unlabelled cells
    dense[y >= 0, 7] = 0
    x = sp.csr_matrix(dense)
    z = reference.normalize(dense, 1e4)
    by_all, by_labelled = (run(tiny(n_top_genes=6, top_genes_from=kind), x, y).genes for kind in ("all", "labeled"))
    np.testing.assert_array_equal(by_all, reference.top_variance_genes(z, 6))
    np.testing.assert_array_equal(by_labelled, reference.top_variance_genes(z[y >= 0], 6))
    assert 7 in by_all
    assert 7 not in by_labelled


def test_scale_of_a_cell_does_not_matter_beyond_rounding():
    x, y = counts()
    scaled = sp.csr_matrix(x.multiply(2.0 ** (np.arange(40) % 5)[:, None]), dtype=np.float32)
    np.testing.assert_array_equal(run(tiny(), x, y).fit.p, run(tiny(), scaled, y).fit.p)


def test_more_genes_wanted_than_expressed():
    x, y = counts()
    found = run(tiny(n_top_genes=1000), x, y)
    np.testing.assert_array_equal(found.genes, np.setdiff1d(np.arange(20), 5))
    assert found.attention.shape == (19, 19)


@pytest.mark.parametrize("n_top_genes", [1, 2])
def test_very_few_genes(n_top_genes):
    x, y = counts()
    found = run(tiny(n_top_genes=n_top_genes), x, y)
    assert len(found.genes) == n_top_genes
    assert np.isfinite(found.fit.p).all()


def test_cells_that_express_none_of_the_chosen_genes():
    x, y = counts()
    dense = x.toarray()
    dense[[4, 30]] = 0
    dense[[4, 30], 5] = 7  # the one gene that no other cell expresses
    found = run(tiny(n_top_genes=4), sp.csr_matrix(dense), y)
    assert 5 not in found.genes
    assert not found.fit.h[[4, 30]].any()
    assert np.isfinite(found.fit.p).all()
    assert np.isfinite(found.attention.data).all()


def test_raw_neighbours_are_those_of_all_principal_components():
    x, _ = counts()
    found = raw_neighbors(x, 4, device=CPU, seed=0)
    centred = x.toarray() - x.toarray().mean(0)
    left, size, _ = np.linalg.svd(centred.astype(np.float64), full_matrices=False)
    expected = reference.distances(left[:, :19] * size[:19])
    np.testing.assert_allclose(found.distances, np.sort(expected, axis=1)[:, :4], rtol=1e-3)
