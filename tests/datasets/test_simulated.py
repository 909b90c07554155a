import numpy as np
import pytest
import scipy.sparse as sp

import scbignn


def test_contents():
    adata = scbignn.datasets.simulated(n_cells=90, n_genes=50, n_types=3)
    assert adata.shape == (90, 50)
    assert sp.issparse(adata.X)
    assert adata.X.format == "csr"
    assert adata.X.dtype == np.float32
    assert (adata.X.data == np.round(adata.X.data)).all()
    assert adata.X.sum(1).min() > 0
    assert adata.obs["truth"].value_counts().tolist() == [30, 30, 30]
    shown = (adata.obs["cell_type"] != "Unknown").to_numpy()
    assert (adata.obs["cell_type"].astype(str) == adata.obs["truth"].astype(str))[shown].all()
    assert adata.var["marker_of"].value_counts().to_dict() == {"": 35, "type 0": 5, "type 1": 5, "type 2": 5}


@pytest.mark.parametrize(("labeled", "per_type"), [(0.2, 4), (0.5, 10), (0.0, 1), (1.0, 20)])
def test_share_of_labels_shown(labeled, per_type):
    adata = scbignn.datasets.simulated(n_cells=60, n_genes=40, n_types=3, labeled=labeled)
    shown = adata.obs["truth"][(adata.obs["cell_type"] != "Unknown").to_numpy()]
    assert shown.value_counts().tolist() == [per_type] * 3


def test_markers_are_raised_in_their_type():
    adata = scbignn.datasets.simulated(n_cells=300, n_genes=100, fold_change=8.0)
    for kind in ("type 0", "type 1", "type 2"):
        share = adata.X[:, (adata.var["marker_of"] == kind).to_numpy()].sum(1).A1 / adata.X.sum(1).A1
        own = (adata.obs["truth"] == kind).to_numpy()
        assert share[own].mean() > 3 * share[~own].mean()


def test_the_seed_decides(contents):
    first = contents(scbignn.datasets.simulated(n_cells=30, rng=4))
    assert contents(scbignn.datasets.simulated(n_cells=30, rng=4)) == first
    assert contents(scbignn.datasets.simulated(n_cells=30, rng=np.random.default_rng(4))) == first
    assert contents(scbignn.datasets.simulated(n_cells=30, rng=5))["X", ""] != first["X", ""]


def test_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002 (the very state to look at)
    scbignn.datasets.simulated(n_cells=30)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
