import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from scbignn import get


@pytest.fixture
def run():
    """TF a regulates c (known), b; gene c does not vary."""
    rng = np.random.default_rng(0)
    x = rng.poisson(2.0, (60, 4)).astype(np.float32)
    x[:, 2] = 1
    adata = AnnData(sp.csr_matrix(x), var=pd.DataFrame(index=list("abcd")))
    adata.obs["type"] = pd.Categorical(np.arange(60) % 3 + 8, categories=[8, 9, 10, 11])
    scores = np.zeros((4, 4), dtype=np.float32)
    scores[0, 1], scores[0, 2] = 0.5, 0.9
    adata.varp["sctransnet"], adata.varp["sctransnet_known"] = (
        sp.csr_matrix(scores),
        sp.csr_matrix(scores > 0.6, dtype="f4"),
    )
    adata.uns["sctransnet"] = {"verdict": "", "metrics": {}}
    return adata, x


def test_means_of_groups_are_standardised(run):
    adata, x = run
    table = get.grn_regulon(adata, "a", groupby="type")
    assert table.index.tolist() == ["a", "c", "b"]
    assert table.columns.tolist() == ["8", "9", "10"]
    z = (x[:, 1] - x[:, 1].mean()) / x[:, 1].std()
    np.testing.assert_allclose(table.loc["b"], [z[np.arange(60) % 3 == k].mean() for k in range(3)], atol=1e-6)
    assert (table.loc["c"] == 0).all()


def test_without_groups_cells_are_binned_by_the_tf(run):
    adata, x = run
    table = get.grn_regulon(adata, "a", n_targets=1)
    assert table.shape == (2, 20)
    assert (table.loc["a"].diff().dropna() >= 0).all()
    assert table.loc["a"].mean() == pytest.approx(0, abs=1e-6)


def test_layers_are_read(run):
    adata, x = run
    adata.layers["other"] = -x
    pd.testing.assert_frame_equal(
        get.grn_regulon(adata, "a", groupby="type", layer="other"), -get.grn_regulon(adata, "a", groupby="type")
    )


def test_dask_arrays_are_read_and_no_x_is_told(run):
    import dask.array as da

    adata, x = run
    expected = get.grn_regulon(adata, "a")
    adata.X = da.from_array(sp.csr_matrix(x), chunks=(20, -1), asarray=False)
    pd.testing.assert_frame_equal(get.grn_regulon(adata, "a"), expected)
    adata.X = None
    with pytest.raises(ValueError, match="adata.X is empty. Pass the name of a layer"):
        get.grn_regulon(adata, "a")


def test_groups_without_a_cell_are_refused(run):
    adata, _ = run
    adata.obs["type"] = np.nan
    with pytest.raises(ValueError, match=r"adata.obs\['type'\] has no value"):
        get.grn_regulon(adata, "a", groupby="type")


def test_what_is_not_there_is_named(run):
    with pytest.raises(ValueError, match="tf='b' has no link among those kept. TFs with links: 'a'"):
        get.grn_regulon(run[0], "b")
    with pytest.raises(KeyError, match="no column 'batch'"):
        get.grn_regulon(run[0], "a", groupby="batch")
    with pytest.raises(KeyError, match="no 'log'"):
        get.grn_regulon(run[0], "a", layer="log")
