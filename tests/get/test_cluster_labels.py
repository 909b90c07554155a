"""Clusters are known by name, whatever became of the categories."""

import numpy as np
import pytest

import scbignn
from scbignn import get
from scbignn.clustering import Config
from scbignn.get._cluster_labels import cluster_colors, cluster_labels


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
    return found


WAYS = ["left out", "another order", "joined", "text"]


@pytest.mark.parametrize("how", WAYS)
def test_clusters_are_known_by_name(clustered, how):
    adata = changed(clustered, how)
    labels = cluster_labels(adata, "bgformer")
    assert labels.cat.categories.tolist() == ["0", "1", "2"]
    np.testing.assert_array_equal(labels.astype(str), adata.obs["bgformer"].astype(str))
    assert cluster_colors(adata, "bgformer").index.tolist() == ["0", "1", "2"]


@pytest.mark.parametrize("how", WAYS)
def test_anchors_keep_their_clusters(clustered, how):
    found = get.anchors(changed(clustered, how)).obs["cluster"]
    assert found.cat.categories.tolist() == ["0", "1", "2"]
    np.testing.assert_array_equal(found.astype(str), get.anchors(clustered).obs["cluster"].astype(str))


def test_new_names_for_all_clusters_are_taken(clustered):
    adata = clustered.copy()
    adata.obs["bgformer"] = adata.obs["bgformer"].cat.rename_categories(["T", "B", "NK"])
    assert cluster_labels(adata, "bgformer").tolist() == adata.obs["bgformer"].tolist()
    found = get.anchors(adata, labels_key="bgformer").obs
    assert set(found["cluster"]) <= {"T", "B", "NK"}
    assert (found["cluster"].astype(str) == found["label"].astype(str)).mean() > 0.9


def test_clusters_that_the_run_does_not_know_are_refused_with_the_way_back(clustered):
    adata = clustered.copy()
    adata.obs["bgformer"] = adata.obs["bgformer"].cat.rename_categories(["T", "B", "NK"])
    adata = adata[adata.obs["bgformer"] != "B"].copy()
    with pytest.raises(ValueError, match="has the clusters 'T', 'NK', which") as refused:
        get.anchors(adata)
    exec(str(refused.value).split("own back: ")[1].rstrip("."), {"adata": adata})
    kept = adata.obs_names
    np.testing.assert_array_equal(
        cluster_labels(adata, "bgformer").astype(str), clustered.obs["bgformer"][kept].astype(str)
    )


def test_a_cluster_that_no_cell_has_is_grey(clustered):
    colors = cluster_colors(changed(clustered, "left out"), "bgformer")
    assert colors["1"] == "#bbbbbb"
    assert colors["0"] != colors["2"]
