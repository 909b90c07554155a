import numpy as np
import pytest

import scbignn
from scbignn import get
from scbignn.clustering import Config


@pytest.fixture(scope="module")
def clustered():
    adata = scbignn.datasets.simulated(n_cells=91, n_genes=60, fold_change=20.0)
    scbignn.tl.cluster(adata, 3, config=Config(n_anchors=20, n_anchor_sets=2, n_resamples=2))
    return adata


def test_a_row_a_cluster(clustered):
    table = get.clusters(clustered)
    assert table.columns.tolist() == ["cluster", "n_cells", "share", "confidence", "stability"]
    assert table["cluster"].tolist() == ["0", "1", "2"]
    assert table["n_cells"].tolist() == clustered.obs["bgformer"].value_counts(sort=False).tolist()
    np.testing.assert_allclose(table["share"], table["n_cells"] / 91)
    by_cluster = clustered.obs.groupby("bgformer", observed=True)["bgformer_confidence"].mean()
    np.testing.assert_allclose(table["confidence"], by_cluster, rtol=1e-5)


def test_without_a_run(adata):
    for function in (get.clusters, get.anchors):
        with pytest.raises(KeyError, match=r"holds no clustering.*scbignn\.tl\.cluster"):
            function(adata)
    adata.uns["bgformer"] = {"gene_importance": 0}
    with pytest.raises(KeyError, match="holds no clustering"):
        get.clusters(adata)
