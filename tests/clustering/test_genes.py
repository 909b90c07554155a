import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from anndata import AnnData

from scbignn.clustering import dispersion_genes


def normalised(n=200, m=300, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.negative_binomial(rng.uniform(0.3, 5, m), 0.3, (n, m)).astype(np.float64)
    counts[:, 7] = 0
    counts[:, 0] += 1
    return counts / counts.sum(1, keepdims=True) * 500


@pytest.mark.parametrize("n_top", [1, 40, 150])
def test_equals_scanpy(n_top):
    x = normalised()
    adata = AnnData(np.log1p(x))
    sc.pp.highly_variable_genes(adata, n_top_genes=n_top)
    found = dispersion_genes(x.mean(0), x.var(0, ddof=1), n_top)
    np.testing.assert_array_equal(found, np.flatnonzero(adata.var["highly_variable"]))


def test_columns_of_a_table_may_be_read_only():
    """As they are from pandas 3 on."""
    x = normalised()
    expected = dispersion_genes(x.mean(0), x.var(0, ddof=1), 40)
    with pd.option_context("mode.copy_on_write", True):
        np.testing.assert_array_equal(dispersion_genes(x.mean(0), x.var(0, ddof=1), 40), expected)


def test_genes_that_do_not_vary_are_never_picked():
    mean, variance = np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.0, 5.0, 1.0])
    assert dispersion_genes(mean, variance, 10).tolist() == [2, 3]
    assert dispersion_genes(mean, np.zeros(4), 10).tolist() == []
