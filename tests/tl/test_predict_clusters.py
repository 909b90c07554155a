import re

import anndata
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

import scbignn
from scbignn import get
from scbignn.clustering import Config

ANCHORS = Config(n_anchors=30, n_anchor_sets=2, n_components=6, n_resamples=0)
NET = Config(network=True, width=16, n_heads=2, n_epochs=6, warm_up_epochs=3, n_tokens=4, n_anchors=30, n_anchor_sets=2)


@pytest.fixture(scope="module")
def everything():
    return scbignn.datasets.simulated(n_cells=300, n_genes=80, n_types=4, fold_change=6.0)


@pytest.fixture(scope="module", params=["anchors", "network"])
def model(request, everything):
    return scbignn.tl.fit_clusters(everything, 4, config={"anchors": ANCHORS, "network": NET}[request.param])


def predict(adata, model, **arguments):
    return scbignn.tl.predict_clusters(adata, model, copy=True, **arguments)


def test_cells_of_the_model_get_the_clusters_they_had(everything, model):
    found = predict(everything, model)
    then = scbignn.tl.cluster(everything, 4, config=model.config, copy=True)
    assert (found.obs["bgformer"] == then.obs["bgformer"]).all()
    np.testing.assert_allclose(found.obsm["bgformer_proba"], then.obsm["bgformer_proba"], atol=1e-5)
    np.testing.assert_allclose(found.obsm["X_bgformer"], then.obsm["X_bgformer"], atol=1e-4)
    np.testing.assert_allclose(
        found.obsm["bgformer_anchors"].toarray(), then.obsm["bgformer_anchors"].toarray(), atol=1e-5
    )
    assert set(found.obsm) == set(then.obsm)


def test_held_out_cells_get_the_cluster_of_their_type(everything):
    reference, later = everything[:200], everything[200:].copy()
    model = scbignn.tl.fit_clusters(reference, 4, config=ANCHORS)
    scbignn.tl.predict_clusters(later, model)
    together = scbignn.tl.cluster(everything, 4, config=ANCHORS, copy=True).obs["bgformer"][200:]
    assert adjusted_rand_score(together, later.obs["bgformer"]) > 0.97
    assert adjusted_rand_score(later.obs["truth"], later.obs["bgformer"]) > 0.95


def test_what_is_said_of_a_cell_does_not_depend_on_the_others(everything, model):
    whole = predict(everything, model).obsm["bgformer_proba"]
    few = predict(everything[[5, 40, 77]].copy(), model)
    np.testing.assert_allclose(few.obsm["bgformer_proba"], whole.iloc[[5, 40, 77]], atol=1e-5)
    assert few.obs["bgformer"].cat.categories.tolist() == ["0", "1", "2", "3"]


def test_parts_do_not_show(everything, model, monkeypatch, tmp_path):
    whole = predict(everything, model).obsm["bgformer_proba"]
    monkeypatch.setattr("scbignn.tl._predict_clusters._CHUNK", 64)
    np.testing.assert_allclose(predict(everything, model).obsm["bgformer_proba"], whole, atol=1e-5)
    everything.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    scbignn.tl.predict_clusters(backed, model)
    np.testing.assert_allclose(backed.obsm["bgformer_proba"], whole, atol=1e-5)
    backed.file.close()


def test_order_and_number_of_genes(everything, model):
    whole = predict(everything, model)
    order = np.random.default_rng(0).permutation(80)
    np.testing.assert_allclose(
        predict(everything[:, order].copy(), model).obsm["bgformer_proba"], whole.obsm["bgformer_proba"], atol=1e-5
    )
    fewer = predict(everything[:, 8:].copy(), model)
    assert fewer.uns["bgformer"]["gene_overlap"]["n_missing"] == 8
    assert list(fewer.uns["bgformer"]["gene_overlap"]["missing"]) == list(everything.var_names[:8])
    assert np.mean(fewer.obs["bgformer"] == whole.obs["bgformer"]) > 0.9


def test_what_is_written(everything, model, tmp_path, contents):
    before = contents(everything)
    found = predict(everything, model, key_added="mine")
    assert contents(everything) == before
    run = found.uns["mine"]
    assert run["model"] == model.about
    assert run["gene_overlap"]["share"] == 1
    assert "history" not in run
    table = get.clusters(found, key="mine")
    assert table["n_cells"].sum() == 300
    assert "stability" not in table
    found.write_h5ad(tmp_path / "cells.h5ad")
    again = anndata.read_h5ad(tmp_path / "cells.h5ad")
    pd.testing.assert_frame_equal(get.clusters(again, key="mine"), table)


def test_names_by_another_column(everything, model):
    other = everything.copy()
    other.var["symbol"] = other.var_names
    other.var_names = [f"id{number}" for number in range(80)]
    found = predict(other, model, gene_symbols="symbol")
    np.testing.assert_allclose(
        found.obsm["bgformer_proba"], predict(everything, model).obsm["bgformer_proba"], atol=1e-6
    )


def test_what_is_refused(everything, model):
    few = everything[:, :20].copy()
    with pytest.raises(ValueError, match="20 of the model's 80 genes|25"):
        scbignn.tl.predict_clusters(few, model)
    with pytest.raises(TypeError, match=re.escape("scbignn.tl.fit_clusters")):
        scbignn.tl.predict_clusters(everything, 3)
    taken = everything.copy()
    taken.obsm["X_bgformer"] = np.zeros((300, 2))
    with pytest.raises(ValueError, match="would overwrite"):
        scbignn.tl.predict_clusters(taken, model)
    empty = everything[:5].copy()
    empty.X = empty.X.toarray()
    empty.X[2, 40:] = 0
    kept = empty[:, 40:].copy()
    kept.X[2] = 0
    kept = anndata.AnnData(
        np.c_[kept.X, np.ones(5)], obs=kept.obs, var=pd.DataFrame(index=[*kept.var_names, "another"])
    )
    with pytest.raises(ValueError, match="1 cells have no counts in the genes of the model"):
        scbignn.tl.predict_clusters(kept, model)
