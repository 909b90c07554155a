"""`transformer=` of every function that builds a graph over cells."""

import dataclasses

import anndata
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsTransformer
from small import FAST

import scbignn
from scbignn.graph import describe_search

CONFIG = dataclasses.replace(FAST, cross_fit_folds=2)


class Counting(KNeighborsTransformer):
    """Counts how often it is used, in all of its clones."""

    calls = 0

    def fit_transform(self, x, y=None):
        Counting.calls += 1
        return super().fit_transform(x)


@pytest.fixture(autouse=True)
def _from_zero():
    Counting.calls = 0


@pytest.fixture
def labelled():
    return scbignn.datasets.simulated(n_cells=75, n_genes=40, rng=0)


def test_an_exact_search_gives_the_same_annotation_and_is_recorded(labelled, tmp_path):
    other = labelled.copy()
    scbignn.tl.annotate(labelled, "cell_type", config=CONFIG)
    search = Counting(n_neighbors=3)
    scbignn.tl.annotate(other, "cell_type", config=CONFIG, transformer=search)
    assert Counting.calls == 2  # evidence, whose graph is the learned one, and the raw one beside it
    assert search.get_params() == Counting(n_neighbors=3).get_params()
    for key in ("scbignn_proba", "X_scbignn"):
        np.testing.assert_array_equal(np.asarray(labelled.obsm[key]), np.asarray(other.obsm[key]))
    for key in ("scbignn_distances", "scbignn_connectivities"):
        assert (labelled.obsp[key] != other.obsp[key]).nnz == 0
    params = other.uns["scbignn"]["params"]
    assert params["transformer"] == describe_search(search)
    assert params["recall"] == 1
    assert not {"transformer", "recall"} & labelled.uns["scbignn"]["params"].keys()
    other.write_h5ad(tmp_path / "cells.h5ad")
    assert anndata.read_h5ad(tmp_path / "cells.h5ad").uns["scbignn"]["params"]["recall"] == 1


@pytest.mark.parametrize("mode", ["transductive", "inductive"])
def test_a_reference_and_its_query_are_searched_alike(labelled, mode):
    reference, query = labelled[:50].copy(), labelled[50:].copy()
    found = []
    for search in (None, Counting()):
        scbignn.tl.annotate(query, "truth", reference=reference, mode=mode, config=CONFIG, transformer=search)
        found.append(query.obsm["scbignn_proba"].to_numpy())
    np.testing.assert_array_equal(*found)
    assert Counting.calls >= (4 if mode == "transductive" else 2)


def test_a_model_made_with_a_search_can_be_saved_and_predicts_with_another(labelled, tmp_path):
    reference, query = labelled[:50].copy(), labelled[50:].copy()
    scbignn.tl.fit(reference, "truth", config=CONFIG, transformer=Counting()).save(tmp_path / "model")
    used = Counting.calls
    assert used == 2
    model = scbignn.read_model(tmp_path / "model")
    scbignn.tl.predict(query, model, transformer=Counting(n_neighbors=9))
    assert Counting.calls >= used + 2
    assert query.uns["scbignn"]["params"]["transformer"] == describe_search(Counting(n_neighbors=9))
    assert query.uns["scbignn"]["params"]["recall"] == 1
    with pytest.raises(ValueError, match=r"joint graph of mode=\"transductive\".* Leave transformer out\."):
        scbignn.tl.predict(query, model, mode="inductive", transformer=Counting())


def test_folds_and_audits_use_it(labelled):
    scbignn.tl.cross_validate(labelled, "truth", n_splits=2, config=CONFIG, transformer=Counting())
    assert Counting.calls >= 4
    assert "Counting(" in labelled.uns["scbignn_cv"]["params"]["transformer"]
    used = Counting.calls
    scbignn.tl.audit_labels(labelled, "truth", config=CONFIG, transformer=Counting())
    assert Counting.calls >= used + 2


def test_a_checkpoint_of_another_search_is_refused(labelled, tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"

    def interrupt(*_, **__):
        raise InterruptedError

    def run(search):
        scbignn.tl.annotate(labelled, "cell_type", config=CONFIG, checkpoint_dir=path, transformer=search)

    with monkeypatch.context() as patch:
        patch.setattr("scbignn.annotation._annotate.cross_fit", interrupt)
        with pytest.raises(InterruptedError):
            run(Counting(n_neighbors=20))
    assert path.exists()
    for other in (None, Counting(n_neighbors=21)):
        with pytest.raises(ValueError, match="differs from this one in transformer"):
            run(other)
    run(Counting(n_neighbors=20))
    assert not path.exists()


REFUSED = {
    "a name": ("pynndescent", "transformer is 'pynndescent', a str without get_params, set_params, fit_transform"),
    "a class": (KNeighborsTransformer, "transformer is the class KNeighborsTransformer, not an instance of it"),
    "no search": (PCA(), "a PCA without a parameter n_neighbors"),
    "a number": (15, "transformer is 15, a int without"),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("function", ["annotate", "fit", "cross_validate", "audit_labels"])
def test_what_is_no_search_is_refused_before_work_starts(labelled, function, case, monkeypatch):
    monkeypatch.setattr("scbignn.tl._learn.read_expression", lambda *_, **__: pytest.fail("work began"))
    transformer, message = REFUSED[case]
    with pytest.raises(TypeError) as caught:
        getattr(scbignn.tl, function)(labelled, "cell_type", config=CONFIG, transformer=transformer)
    assert message in str(caught.value)
    assert "Pass an instance with the interface of sklearn.neighbors.KNeighborsTransformer" in str(caught.value)
