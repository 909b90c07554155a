"""`batch_key` of `tl.annotate`, `tl.fit` and `tl.cross_validate`."""

import dataclasses
import logging
from functools import partial

import anndata
import numpy as np
import pytest
from small import FAST

import scbignn
from scbignn import get
from scbignn.annotation import top_label_genes, top_variance_genes

CONFIG = dataclasses.replace(FAST, m_step_updates=10)


@pytest.fixture
def donors(adata):
    """Four donors; the last has no labelled cell."""
    adata.obs["donor"] = [f"donor {number % 4}" for number in range(60)]
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(object)
    kind = adata.obs["truth"].astype(object)
    adata.obs["cell_type"] = np.where(adata.obs["donor"] == "donor 3", "Unknown", kind)
    return adata


def held_out(adata, key="scbignn"):
    return adata.uns[key]["calibration"]["held_out"]


def test_cells_of_other_batches_are_calibrated_by_batch(donors, tmp_path):
    scbignn.tl.annotate(donors, "cell_type", batch_key="donor", config=CONFIG, false_rejection_rate=0.1)
    assert held_out(donors) == "batches"
    assert donors.uns["scbignn"]["params"]["batch_key"] == "donor"
    assert donors.uns["scbignn"]["calibration"]["n_cells"] == 45
    donors.write_h5ad(tmp_path / "adata.h5ad")
    again = anndata.read_h5ad(tmp_path / "adata.h5ad")
    assert get.calibration(again).equals(get.calibration(donors))


def test_cells_of_batches_with_labels_are_calibrated_by_cell(donors):
    shown = np.where(np.arange(60) % 5 == 0, "Unknown", donors.obs["truth"].astype(object))
    donors.obs["cell_type"] = shown
    scbignn.tl.annotate(donors, "cell_type", batch_key="donor", config=CONFIG)
    assert held_out(donors) == "folds"


def test_a_model_is_always_calibrated_by_batch_and_survives_saving(donors, tmp_path):
    reference, query = donors[donors.obs["donor"] != "donor 3"].copy(), donors[donors.obs["donor"] == "donor 3"].copy()
    model = scbignn.tl.fit(reference, "cell_type", batch_key="donor", config=CONFIG)
    assert model.about["batch_key"] == "donor"
    assert model.trust.calibration.held_out == "batches"
    assert model.trust.novelty.shape == model.trust.novelty_together.shape == (45,)
    np.testing.assert_array_equal(np.bincount(model.reference.batches), [15, 15, 15])
    model.save(tmp_path / "model")
    again = scbignn.read_model(tmp_path / "model")
    for found in (model, again):
        for mode in ("transductive", "inductive"):
            key = f"{mode}{found is again}"
            scbignn.tl.predict(query, found, mode=mode, key_added=key, false_rejection_rate=0.2)
    for mode in ("transductive", "inductive"):
        one, other = (get.annotation(query, key=f"{mode}{flag}", probabilities=True) for flag in (False, True))
        assert one.equals(other)
    thresholds = {
        mode: query.uns[f"{mode}False"]["rejection"]["thresholds"]["threshold"]
        for mode in ("transductive", "inductive")
    }
    assert not thresholds["transductive"].equals(thresholds["inductive"])
    both = [model.trust.thresholds(0.2, together=together).values for together in (False, True)]
    assert both == [tuple(thresholds[mode]) for mode in ("inductive", "transductive")]


def test_with_a_reference_the_column_is_the_references(donors):
    reference, query = donors[donors.obs["donor"] != "donor 3"].copy(), donors[donors.obs["donor"] == "donor 3"].copy()
    del query.obs["donor"]
    scbignn.tl.annotate(query, "cell_type", reference=reference, batch_key="donor", config=CONFIG)
    assert held_out(query) == "batches"
    assert query.uns["scbignn"]["model"]["batch_key"] == "donor"
    with pytest.raises(KeyError, match=r"reference\.obs has no column 'plate'"):
        scbignn.tl.annotate(query, "cell_type", reference=reference, batch_key="plate", config=CONFIG)


@pytest.mark.parametrize("config", [CONFIG, dataclasses.replace(CONFIG, balanced_graph=True, graph_from="h")])
def test_a_balanced_graph_has_neighbours_in_every_batch(donors, config):
    config = dataclasses.replace(config, n_neighbors=8, cross_fit_folds=0)
    scbignn.tl.annotate(donors, "cell_type", batch_key="donor", config=config)
    codes = donors.obs["donor"].astype("category").cat.codes.to_numpy()
    edges = donors.obsp["scbignn_distances"]
    found = [np.bincount(codes[edges.indices[edges.indptr[n] : edges.indptr[n + 1]]], minlength=4) for n in range(60)]
    assert all((counts == 2).all() for counts in found) == config.balanced_graph


@pytest.mark.parametrize("mode", ["transductive", "inductive"])
def test_reference_and_query_are_two_batches_of_a_balanced_graph(donors, mode, monkeypatch):
    from scbignn.annotation import _neighbors

    seen = []
    for name in ("balanced_neighbors", "balanced_among"):
        original = getattr(_neighbors, name)
        monkeypatch.setattr(
            _neighbors,
            name,
            lambda *given, original=original, **named: seen.append(given[-2]) or original(*given, **named),
        )
    reference, query = donors[donors.obs["donor"] != "donor 3"].copy(), donors[donors.obs["donor"] == "donor 3"].copy()
    config = dataclasses.replace(CONFIG, balanced_graph=True, cross_fit_folds=0)
    model = scbignn.tl.fit(reference, "cell_type", config=config)
    assert seen == []  # one batch
    scbignn.tl.predict(query, model, mode=mode)
    sizes = [np.bincount(batches).tolist() for batches in seen]
    assert sizes == ([[45, 15], [45, 15]] if mode == "transductive" else [])


def test_genes_are_chosen_within_the_batches(donors, monkeypatch):
    from scbignn.annotation import _annotate

    seen, choose_genes = [], _annotate.choose_genes
    monkeypatch.setattr(_annotate, "choose_genes", lambda *given: seen.append(given) or choose_genes(*given))
    config = dataclasses.replace(CONFIG, cross_fit_folds=0)
    scbignn.tl.fit(donors, "cell_type", batch_key="donor", config=config)
    scbignn.tl.fit(donors, "cell_type", config=config)
    (x, y, config, batches), (*_, nothing) = seen
    np.testing.assert_array_equal(batches, np.arange(60) % 4)
    assert nothing is None
    config = dataclasses.replace(config, n_top_genes=12)
    for panel, rank in (("labels", lambda *of: top_label_genes(x, y, 12, *of)), ("variance", partial(ranked, x))):
        for within in (True, False):
            asked = dataclasses.replace(config, gene_panel=panel, genes_within_batches=within)
            np.testing.assert_array_equal(choose_genes(x, y, asked, batches), rank(batches if within else None))
    asked = dataclasses.replace(config, gene_panel="variance", top_genes_from="labeled")
    np.testing.assert_array_equal(choose_genes(x, y, asked, batches), ranked(x[y >= 0], batches[y >= 0]))


def ranked(x, batches):
    return top_variance_genes(x, 12, batches)


def test_one_batch_says_so_and_changes_nothing(donors, caplog):
    donors.obs["plate"] = 1.0
    whole = donors.copy()
    scbignn.tl.annotate(whole, "cell_type", config=CONFIG)
    scbignn.tl.annotate(donors, "cell_type", batch_key="plate", config=CONFIG)
    assert "all cells are of one batch in obs['plate'], '1': batch_key changes nothing" in caplog.text
    assert get.annotation(whole, probabilities=True).equals(get.annotation(donors, probabilities=True))


def test_labelled_cells_of_one_batch_only(donors):
    donors.obs["cell_type"] = np.where(donors.obs["donor"] == "donor 0", donors.obs["truth"].astype(object), "Unknown")
    scbignn.tl.annotate(donors, "cell_type", batch_key="donor", config=CONFIG)
    assert held_out(donors) == "folds"


def test_a_label_of_one_batch_only_is_told(donors, caplog):
    mine = (donors.obs["donor"] == "donor 0") & (np.arange(60) > 30)
    donors.obs["cell_type"] = np.where(mine, "rare", donors.obs["cell_type"].astype(object))
    with caplog.at_level(logging.INFO, "scbignn"):
        scbignn.tl.annotate(donors, "cell_type", batch_key="donor", config=CONFIG)
    assert "1 label in one batch only ('rare')" in caplog.text
    assert "annotate: 4 batches in adata.obs['donor']" in caplog.text
    assert held_out(donors) == "batches"
    assert np.isfinite(donors.obs["scbignn_confidence"]).all()


def test_cross_validation_by_batch_calibrates_by_batch(donors, monkeypatch):
    from scbignn.annotation import _cross_validate

    runs, annotate_cells = [], _cross_validate.annotate_cells

    def seen(*given, **named):
        runs.append(annotate_cells(*given, **named))
        return runs[-1]

    monkeypatch.setattr(_cross_validate, "annotate_cells", seen)
    scbignn.tl.cross_validate(donors, "cell_type", batch_key="donor", config=CONFIG)
    assert len(runs) == 3
    for number, found in enumerate(runs):
        assert set(np.flatnonzero(found.by_batch.fold >= 0) % 4) == {0, 1, 2} - {number}
    runs.clear()
    scbignn.tl.cross_validate(donors, "cell_type", n_splits=2, config=CONFIG)
    assert [found.by_batch for found in runs] == [None, None]


def test_folds_of_a_model_are_not_those_of_a_run_of_its_own(donors, tmp_path, monkeypatch):
    donors.obs["cell_type"] = np.where(np.arange(60) % 5 == 0, "Unknown", donors.obs["truth"].astype(object))
    given = {"labels_key": "cell_type", "batch_key": "donor", "config": CONFIG, "checkpoint_dir": tmp_path / "run"}
    with monkeypatch.context() as patch:
        patch.setattr("scbignn.annotation._annotate.importance_of", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            scbignn.tl.fit(donors, **given)
    with pytest.raises(ValueError, match="differs from this one in unseen_batches"):
        scbignn.tl.annotate(donors, **given)
    scbignn.tl.fit(donors, **given)
    assert not (tmp_path / "run").exists()


def test_data_are_hashed_only_where_that_is_of_use(donors, tmp_path, monkeypatch):
    from scbignn.tl import _learn

    hashed, fingerprint = [], _learn._fingerprint
    monkeypatch.setattr(_learn, "_fingerprint", lambda *given: hashed.append(1) or fingerprint(*given))
    scbignn.tl.annotate(donors, "cell_type", config=CONFIG)
    assert hashed == []
    scbignn.tl.annotate(donors, "cell_type", config=CONFIG, checkpoint_dir=tmp_path / "run")
    assert hashed == [1]
    model = scbignn.tl.fit(donors, "cell_type", config=CONFIG)
    assert hashed == [1, 1]
    assert len(model.about["data"]) == 64
