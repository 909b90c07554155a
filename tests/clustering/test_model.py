import json

import numpy as np
import pytest
from small import CLUSTERING_NETWORK

import scbignn
from scbignn.clustering import Config, Model

KINDS = {
    "anchors": Config(n_anchors=20, n_anchor_sets=2, n_resamples=0),
    "network": CLUSTERING_NETWORK,
    "no attention": Config(
        network=True, width=8, n_epochs=2, warm_up_epochs=1, attention=False, n_anchors=20, n_anchor_sets=2
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def model(request):
    adata = scbignn.datasets.simulated(n_cells=90, n_genes=40, fold_change=20.0)
    return scbignn.tl.fit_clusters(adata, 3, config=KINDS[request.param])


def said(adata, model):
    found = scbignn.tl.predict_clusters(adata, model, copy=True)
    return found.obsm["bgformer_proba"].to_numpy(), found.obsm["X_bgformer"], found.obsm["bgformer_anchors"].toarray()


def test_a_saved_model_says_the_same_to_the_bit(adata, model, tmp_path):
    model.save(tmp_path / "model")
    again = scbignn.read_model(tmp_path / "model")
    for before, after in zip(said(adata, model), said(adata, again), strict=True):
        np.testing.assert_array_equal(after, before)
    assert again.config == model.config
    assert again.about == model.about
    assert repr(again) == repr(model)
    again.save(tmp_path / "again")
    for name in ("model.json", "model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_a_model_is_overwritten_only_when_asked(model, tmp_path):
    model.save(tmp_path / "model")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.save(tmp_path / "model")
    model.save(tmp_path / "model", overwrite=True)


def test_a_model_of_another_kind(adata, model, tmp_path):
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="a model of the kind 'clustering', not 'annotation'"):
        scbignn.annotation.Model.read(tmp_path / "model")


def test_what_this_version_does_not_expect(model, tmp_path):
    from scbignn._files import read_parts, write_parts

    model.save(tmp_path / "model")
    parts = read_parts(tmp_path / "model", "clustering")
    parts.about.pop("target_sum")
    write_parts(tmp_path / "other", "clustering", parts, overwrite=False)
    with pytest.raises(ValueError, match="does not hold what this version expects"):
        Model.read(tmp_path / "other")


def test_it_holds_no_cells(model, tmp_path):
    model.save(tmp_path / "model")
    about = json.loads((tmp_path / "model" / "model.json").read_text())
    assert "cell_0" not in json.dumps(about)
    assert about["about"]["n_obs"] == 90
    assert not any(90 in array.shape for array in (model.landmarks.anchors, model.landmarks.shares))
