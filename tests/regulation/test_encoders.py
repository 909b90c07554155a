import numpy as np
from scipy.stats import spearmanr
from sklearn.decomposition import PCA

from scbignn.regulation import describe_genes, expression_encoder, table_encoder
from scbignn.regulation._encoders import components


def test_components_are_those_of_pca_up_to_sign():
    rng = np.random.default_rng(0)
    for shape in ((30, 8), (8, 30)):
        x = rng.normal(size=shape)
        theirs = PCA(4, svd_solver="full").fit_transform(x)
        np.testing.assert_allclose(np.abs(components(x, 4)), np.abs(theirs), atol=1e-8)
    assert components(rng.normal(size=(5, 3)), 10).shape == (5, 3)


def test_genes_are_described_by_correlations_and_neighbours():
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(1, 1, size=(60, 30)), 0)
    x[:, 7] = 0  # a gene that nobody expresses
    tfs = np.array([2, 5])
    genes = describe_genes(x, tfs, expression_encoder(5), rng=rng)
    kept = [gene for gene in range(30) if gene != 7]
    np.testing.assert_allclose(genes.pearson[:, kept], np.corrcoef(x[:, kept].T)[[2, 5]], atol=1e-9)
    np.testing.assert_allclose(genes.spearman[0, 9], spearmanr(x[:, 2], x[:, 9]).statistic, atol=1e-9)
    assert genes.pearson[0, 7] == 0
    assert genes.vectors.shape == (30, 5)
    np.testing.assert_allclose(genes.vectors.std(0), 1)
    for around in genes.neighbors:
        np.testing.assert_allclose(np.asarray(around.sum(1)).ravel(), 1)
        assert (around.diagonal() == 0).all()


def test_genes_without_a_vector_get_zeros():
    table = np.random.default_rng(0).normal(size=(10, 6))
    table[3] = np.nan
    found = table_encoder(table, 4)(np.zeros((2, 10)))
    assert found.shape == (10, 4)
    assert (found[3] == 0).all()
    assert np.isfinite(found).all()


def test_vectors_in_cells_are_projected_as_their_means_are():
    rng = np.random.default_rng(0)
    cells = rng.normal(size=(30, 4, 6))
    cells[3] = np.nan
    found = table_encoder(cells, 4)(np.zeros((2, 30)))
    assert found.shape == (30, 4, 4)
    assert (found[3] == 0).all()
    of_means = table_encoder(cells.mean(1), 4)(np.zeros((2, 30)))
    np.testing.assert_allclose(np.abs(found.mean(1)), np.abs(of_means), atol=1e-9)
    x = np.maximum(rng.normal(1, 1, size=(20, 30)), 0)
    genes = describe_genes(x, np.array([2, 5]), table_encoder(cells, 4), rng=rng)
    np.testing.assert_allclose(genes.cells.mean(1), genes.vectors, atol=1e-9)
    assert describe_genes(x, np.array([2, 5]), expression_encoder(4), rng=rng).cells is None
