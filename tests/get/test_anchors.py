import numpy as np
import pytest
import scipy.sparse as sp

import scbignn
from scbignn import get
from scbignn.clustering import Config
from scbignn.get import _matrix


@pytest.fixture(scope="module")
def clustered():
    adata = scbignn.datasets.simulated(n_cells=90, n_genes=60, fold_change=20.0)
    adata.layers["dense"] = 2 * adata.X.toarray()
    scbignn.tl.cluster(adata, 3, config=Config(n_anchors=20, n_anchor_sets=2, n_resamples=0))
    return adata


@pytest.mark.parametrize("number", [0, 1])
def test_profiles_are_weighted_means(clustered, number):
    found = get.anchors(clustered, anchor_set=number)
    weights = clustered.obsm["bgformer_anchors"].toarray()[:, number * 18 : (number + 1) * 18] * 2
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert found.shape == (18, 60)
    assert found.X.dtype == np.float32
    np.testing.assert_allclose(found.X, weights.T @ clustered.X.toarray() / weights.sum(0)[:, None], rtol=1e-4)
    np.testing.assert_allclose(found.obs["size"], weights.sum(0), rtol=1e-5)
    assert found.obs["size"].sum() == pytest.approx(90, rel=1e-5)
    assert found.var_names.equals(clustered.var_names)
    np.testing.assert_array_equal(
        found.obsm["X_anchor"], clustered.uns["bgformer"]["anchors"]["vectors"][number * 18 : (number + 1) * 18]
    )


def test_with_batches_a_set_is_one_of_each_of_them(clustered):
    adata = clustered.copy()
    adata.obs["batch"] = np.where(np.arange(90) % 2, "a", "b")
    scbignn.tl.cluster(adata, 3, batch_key="batch", config=Config(n_anchors=20, n_anchor_sets=2, n_resamples=0))
    anchors = adata.uns["bgformer"]["anchors"]
    assert anchors["n_sets"] == 2
    found = [get.anchors(adata, anchor_set=number) for number in (0, 1)]
    assert [part.n_obs for part in found] == [len(anchors["vectors"]) // 2] * 2
    for part in found:
        assert part.obs["size"].sum() == pytest.approx(90, rel=1e-5)


def test_purity_and_cluster(clustered):
    found = get.anchors(clustered, labels_key="truth")
    assert found.obs["purity"].between(1 / 3, 1.0001).all()
    assert found.obs["purity"].mean() > 0.95
    majority = clustered.obs.groupby("bgformer", observed=True)["truth"].agg(lambda kinds: kinds.mode()[0])
    assert (found.obs["label"].astype(str) == found.obs["cluster"].map(majority).astype(str)).all()


def test_cells_without_a_label_count_against_purity(clustered):
    adata = clustered.copy()
    adata.obs["half"] = adata.obs["truth"].astype(object).where(np.arange(90) % 2 == 0)
    found = get.anchors(adata, labels_key="half")
    assert found.obs["purity"].max() <= 1
    assert found.obs["purity"].mean() < 0.8


def test_another_layer_and_form(clustered):
    expected = get.anchors(clustered).X
    np.testing.assert_allclose(get.anchors(clustered, layer="dense").X, 2 * expected, rtol=1e-5)
    other = clustered.copy()
    other.X = sp.csc_matrix(other.X)
    np.testing.assert_allclose(get.anchors(other).X, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"anchor_set": 2}, ValueError, "anchor_set=2 must be an integer from 0 to 1"),
        ({"anchor_set": -1}, ValueError, "anchor_set=-1"),
        ({"anchor_set": True}, ValueError, "anchor_set=True"),
        ({"layer": "no"}, KeyError, "adata.layers has no 'no'"),
        ({"labels_key": "no"}, KeyError, "adata.obs has no column 'no'"),
    ],
)
def test_what_is_refused(clustered, arguments, error, message):
    with pytest.raises(error, match=message):
        get.anchors(clustered, **arguments)


def test_backed_data(clustered, tmp_path, monkeypatch):
    import anndata

    monkeypatch.setattr(_matrix, "_CHUNK_ROWS", 40)
    clustered.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    np.testing.assert_allclose(get.anchors(backed).X, get.anchors(clustered).X, rtol=1e-5)
    backed.file.close()


def test_dask_arrays(clustered):
    import dask.array as da

    for matrix in (clustered.X, clustered.X.toarray()):
        adata = clustered.copy()
        adata.X = da.from_array(matrix, chunks=(40, -1), asarray=False)
        np.testing.assert_allclose(get.anchors(adata).X, get.anchors(clustered).X, rtol=1e-5)


def test_without_x(clustered):
    adata = clustered.copy()
    adata.X = None
    assert get.anchors(adata, layer="dense").shape == (18, 60)
    with pytest.raises(ValueError, match="name of a layer"):
        get.anchors(adata)


def test_anchors_without_a_labelled_cell_have_no_label(clustered):
    adata = clustered.copy()
    adata.obs["few"] = adata.obs["truth"].astype(str).where(np.arange(90) < 3)
    adata.obs["none"] = np.nan
    found = get.anchors(adata, labels_key="few").obs
    assert 0 < found["label"].isna().sum() < len(found)
    np.testing.assert_array_equal(found["label"].isna(), found["purity"] == 0)
    found = get.anchors(adata, labels_key="none").obs
    assert found["label"].isna().all()
    assert (found["purity"] == 0).all()
