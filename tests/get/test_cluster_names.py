"""Clusters are called as their cells are, whatever became of the categories."""

import numpy as np
import pytest

import scbignn
from scbignn import get
from scbignn.clustering import Config
from scbignn.get._cluster_names import cluster_colors, cluster_names


@pytest.fixture(scope="module")
def clustered():
    adata = scbignn.datasets.simulated(n_cells=90, n_genes=60, fold_change=20.0)
    config = Config(n_anchors=20, n_anchor_sets=2, n_partitions=1, n_resamples=0)
    scbignn.tl.cluster(adata, 3, config=config)
    return adata


def changed(adata, how):
    """The same cells, but for those left out, and what becomes of their clusters."""
    found = adata.copy()
    column = found.obs["bgformer"]
    if how == "left out":
        found = found[found.obs["bgformer"] != "1"].copy()
    elif how == "another order":
        found.obs["bgformer"] = column.cat.reorder_categories(["2", "0", "1"])
    elif how == "joined":
        found.obs["bgformer"] = column.astype(str).replace({"2": "0"}).astype("category")
    elif how == "text":
        found.obs["bgformer"] = column.astype(str)
    elif how.startswith("renamed"):
        found.obs["bgformer"] = column.cat.rename_categories(["T", "B", "NK"])
        if "order" in how:
            found.obs["bgformer"] = found.obs["bgformer"].cat.reorder_categories(["NK", "T", "B"])
        elif "left out" in how:
            found = found[found.obs["bgformer"] != "B"].copy()
    return found


WAYS = ["left out", "another order", "joined", "text", "renamed", "renamed, in another order", "renamed, left out"]


@pytest.mark.parametrize("how", WAYS)
def test_clusters_are_called_as_their_cells_are(clustered, how):
    adata = changed(clustered, how)
    names = cluster_names(adata, "bgformer")
    assert len(names) == 3
    cells = adata.obsm["bgformer_proba"].to_numpy().argmax(1)
    np.testing.assert_array_equal(names.take(cells).astype(str), adata.obs["bgformer"].astype(str))
    left_out = [name for name in names.categories if name not in set(adata.obs["bgformer"].astype(str))]
    assert left_out == (["1"] if "left out" in how else [])
    assert list(names.categories) == [*get.label_colors(adata, "bgformer").index, *left_out]


@pytest.mark.parametrize("how", WAYS)
def test_anchors_have_the_cluster_of_their_cells(clustered, how):
    before = get.anchors(clustered).obs["cluster"].cat.codes
    adata = changed(clustered, how)
    found = get.anchors(adata).obs["cluster"]
    np.testing.assert_array_equal(found, cluster_names(adata, "bgformer").take(before))
    told = get.anchors(adata, labels_key="bgformer").obs.dropna()
    told = told[told["cluster"].isin(adata.obs["bgformer"].unique())]
    assert (told["cluster"].astype(str) == told["label"].astype(str)).mean() > 0.8


def test_a_name_that_another_cluster_took_is_not_that_of_one_without_cells(clustered):
    adata = clustered[clustered.obs["bgformer"] != "1"].copy()
    adata.obs["bgformer"] = adata.obs["bgformer"].cat.rename_categories({"0": "1"})
    assert list(cluster_names(adata, "bgformer")) == ["1", "1 (no cells)", "2"]


def test_a_cluster_that_no_cell_has_is_grey(clustered):
    adata = changed(clustered, "left out")
    colors = cluster_colors(adata, "bgformer", cluster_names(adata, "bgformer").categories)
    assert colors.index.tolist() == ["0", "2", "1"]
    assert colors["1"] == "#bbbbbb"
    assert colors["0"] != colors["2"]


def test_without_a_run_or_a_column(clustered):
    adata = clustered.copy()
    with pytest.raises(KeyError, match="holds no clustering"):
        cluster_names(adata, "other")
    del adata.obs["bgformer"]
    with pytest.raises(KeyError, match="no column 'bgformer'"):
        cluster_names(adata, "bgformer")
