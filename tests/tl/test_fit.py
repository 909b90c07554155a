import dataclasses
import doctest
import inspect
import logging

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
import torch

import scbignn
from scbignn import get
from scbignn.annotation import Model


def said(model, adata, **arguments):
    """What a model says of cells, in numbers."""
    found = scbignn.tl.predict(adata, model, copy=True, **({"mode": "inductive"} | arguments))
    return get.annotation(found, probabilities=True)


def assert_same_model(one, other):
    for name in ("genes", "gene_share", "gene_mean", "panel"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.labels, one.config, one.colors, one.about) == (other.labels, other.config, other.colors, other.about)
    for weights, others in (
        (one.gene_weights, other.gene_weights),
        (one.cell_weights, other.cell_weights),
    ):
        assert list(weights) == list(others)
        assert all(torch.equal(value, others[name]) for name, value in weights.items())
    for scores, others in zip(one.importance, other.importance, strict=True):
        np.testing.assert_array_equal(scores, others)
    np.testing.assert_array_equal(one.reference.h, other.reference.h)
    np.testing.assert_array_equal(one.reference.q, other.reference.q)
    pd.testing.assert_frame_equal(pd.DataFrame(one.history), pd.DataFrame(other.history), check_exact=True)


# --- the model ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("labels_key", ["cell_type", "truth"])
def test_a_model_of_a_reference_with_some_or_all_labels(adata, fast, labels_key):
    model = scbignn.tl.fit(adata, labels_key, config=fast)
    assert isinstance(model, Model)
    assert model.labels == ["type 0", "type 1", "type 2"]
    assert model.genes.tolist() == adata.var_names.tolist()
    assert model.config == dataclasses.replace(fast, target_sum=model.config.target_sum)
    assert len(model.panel) == 30
    assert model.reference.x.shape == (60, 30)
    shown = adata.obs[labels_key].astype(str).to_numpy()
    expected = [int(label[-1]) if label != "Unknown" else -1 for label in shown]
    np.testing.assert_array_equal(model.reference.y, expected)
    assert f"{np.sum(shown != 'Unknown')} of them labelled" in repr(model)
    assert said(model, adata)["label"].notna().all()


def test_where_a_model_comes_from(adata, fast):
    about = scbignn.tl.fit(adata, "truth", config=fast, rng=3).about
    assert (about["labels_key"], about["slot"], about["expression"]) == ("truth", "X", "counts")
    assert (about["n_obs"], about["n_vars"]) == (60, 40)
    assert about["versions"]["scbignn"] == scbignn.__version__
    assert about["versions"]["torch"] == torch.__version__
    assert about["seed"] == int(np.random.default_rng(3).integers(2**31))
    other = adata.copy()
    other.X = other.X * 2
    assert scbignn.tl.fit(other, "truth", config=fast, rng=3).about["data"] != about["data"]


def test_the_reference_stays_as_it_was(furnished, fast, contents):
    before = contents(furnished)
    scbignn.tl.fit(furnished, "cell_type", config=fast)
    view = furnished[:50]
    scbignn.tl.fit(view, "cell_type", config=fast)
    assert view.is_view
    assert contents(furnished) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_the_reference_stays_as_it_was_after_an_error(furnished, fast, contents, monkeypatch, error):
    def stop(*_, **__):
        raise error

    before = contents(furnished)
    monkeypatch.setattr("scbignn.annotation._annotate.importance_of", stop)
    with pytest.raises(error):
        scbignn.tl.fit(furnished, "cell_type", config=fast)
    assert contents(furnished) == before


def test_arguments_win_over_the_configuration(adata, fast):
    model = scbignn.tl.fit(adata, "cell_type", config=fast, n_top_genes=11, n_neighbors=4)
    target_sum = model.config.target_sum
    assert model.config == dataclasses.replace(fast, n_top_genes=11, n_neighbors=4, target_sum=target_sum)
    assert len(model.panel) == 11
    assert model.reference.neighbors.indices.shape == (60, 4)


def test_unlabelled_cells_take_part_and_their_labels_do_not(adata, fast):
    hidden = (adata.obs["cell_type"] == "Unknown").to_numpy()
    whole = scbignn.tl.fit(adata, "cell_type", config=fast)
    other = adata.copy()
    other.obs["cell_type"] = other.obs["cell_type"].astype(object).where(~hidden, None)
    assert_same_model(whole, scbignn.tl.fit(other, "cell_type", config=fast))
    fewer = scbignn.tl.fit(adata[~hidden], "cell_type", config=fast)
    assert len(fewer.reference.y) == 30
    assert not np.array_equal(said(whole, adata)["type 0"], said(fewer, adata)["type 0"])


def test_colours_of_the_labels(adata, fast):
    assert scbignn.tl.fit(adata, "cell_type", config=fast).colors is None
    adata.uns["cell_type_colors"] = ["#000000", "#111111", "#222222", "#333333"]
    assert scbignn.tl.fit(adata, "cell_type", config=fast).colors == ["#111111", "#222222", "#333333"]


# --- input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", [sp.csc_matrix, sp.csr_array, sp.csr_matrix.toarray], ids=["CSC", "csr_array", "dense"]
)
def test_every_form_of_a_matrix_gives_the_same(adata, fast, form):
    other = adata.copy()
    other.X = form(adata.X)
    assert_same_model(*(scbignn.tl.fit(each, "cell_type", config=fast) for each in (adata, other)))


def test_data_in_a_file_have_the_same_hash(adata, fast, tmp_path, monkeypatch):
    monkeypatch.setattr("scbignn._expression.CHUNK_ROWS", 16)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    one, other = (scbignn.tl.fit(each, "cell_type", config=fast) for each in (adata, backed))
    backed.file.close()
    assert one.about["data"] == other.about["data"]


def test_a_layer_gives_the_same_as_x(adata, fast):
    other = adata.copy()
    other.layers["counts"], other.X = other.X, None
    model = scbignn.tl.fit(other, "cell_type", config=fast, layer="counts")
    assert model.about["slot"] == "layers['counts']"
    np.testing.assert_array_equal(model.reference.h, scbignn.tl.fit(adata, "cell_type", config=fast).reference.h)


def test_log1p_values_give_the_model_of_the_counts(adata, fast):
    logged = adata.copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged)
    counts, values = (scbignn.tl.fit(each, "cell_type", config=fast) for each in (adata, logged))
    assert values.about["expression"] == "log1p values (base e)"
    np.testing.assert_allclose(values.reference.h, counts.reference.h, rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(values.gene_share, counts.gene_share, rtol=1e-3)


def test_gene_symbols_name_the_genes(adata, fast):
    adata.var["symbol"] = [f"S{number}" for number in range(40)]
    plain = scbignn.tl.fit(adata, "cell_type", config=fast)
    named = scbignn.tl.fit(adata, "cell_type", config=fast, gene_symbols="symbol")
    assert named.genes.tolist() == adata.var["symbol"].tolist()
    np.testing.assert_array_equal(named.reference.h, plain.reference.h)


def test_genes_without_a_name_of_their_own_are_left_out(adata, fast, caplog):
    symbols = [f"S{number}" for number in range(40)]
    symbols[3], symbols[5], symbols[7], symbols[8] = None, np.nan, "", "S1"
    adata.var["symbol"] = symbols
    with caplog.at_level(logging.INFO, "scbignn"):
        model = scbignn.tl.fit(adata, "cell_type", config=fast, gene_symbols="symbol")
    kept = [number for number in range(40) if number not in {3, 5, 7, 8}]
    assert model.genes.tolist() == [f"S{number}" for number in kept]
    assert "4 genes without a name of their own in var['symbol'] are left out, such as 'gene_3'" in caplog.text
    np.testing.assert_array_equal(
        model.reference.h, scbignn.tl.fit(adata[:, kept], "cell_type", config=fast).reference.h
    )


# --- randomness, checkpoint, messages -------------------------------------------------------------------------------


def test_the_seed_decides(adata, fast):
    models = [scbignn.tl.fit(adata, "cell_type", config=fast, rng=rng) for rng in (3, 3, np.random.default_rng(3), 4)]
    assert_same_model(models[0], models[1])
    assert_same_model(models[0], models[2])
    assert not np.array_equal(models[0].reference.h, models[3].reference.h)


def test_global_random_states_are_neither_read_nor_changed(adata, fast):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    model = scbignn.tl.fit(adata, "cell_type", config=fast)
    scbignn.tl.predict(adata, model)
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_an_interrupted_fit_goes_on_to_the_same_model(adata, fast, tmp_path, monkeypatch):
    path = tmp_path / "run"
    fast = dataclasses.replace(fast, cross_fit_folds=0)
    whole = scbignn.tl.fit(adata, "cell_type", config=fast)
    keeper = scbignn._checkpoints.Keeper
    offer, left = keeper.offer, [4]

    def offer_and_stop(self, *state):
        self._interval = 0
        offer(self, *state)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keeper, "offer", offer_and_stop)
        with pytest.raises(KeyboardInterrupt):
            scbignn.tl.fit(adata, "cell_type", config=fast, checkpoint_dir=path)
    assert path.exists()
    with pytest.raises(ValueError, match=r"differs from this one in .*labels.*checkpoint_dir="):
        scbignn.tl.fit(adata, "truth", config=fast, checkpoint_dir=path)
    epochs = []
    with monkeypatch.context() as patch:
        patch.setattr(keeper, "offer", lambda *_: epochs.append(1))
        again = scbignn.tl.fit(adata, "cell_type", config=fast, checkpoint_dir=str(path))
    assert len(epochs) <= len(whole.history) - 4  # nothing is trained twice
    assert_same_model(whole, again)
    assert list(tmp_path.iterdir()) == []


def test_two_lines_at_the_start_and_one_at_the_end(adata, fast, caplog):
    with caplog.at_level(logging.INFO, "scbignn"):
        scbignn.tl.fit(adata, "cell_type", config=fast, backend="torch")
    memory, start, end = (record.getMessage() for record in caplog.records if record.name.startswith("scbignn"))
    assert memory.startswith("fit: about ")
    for part in ("fit: 30 of 60 cells", "3 labels", "adata.X holds counts", "cpu", "torch"):
        assert part in start
    assert end.startswith("fit: done in")
    assert "3 labels, 40 genes (30 in the panel), 60 reference cells, 30 of them labelled" in end


@pytest.mark.slow
def test_example_in_the_docstring():
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    example = parser.get_doctest(inspect.getdoc(scbignn.tl.fit), {}, "fit", None, None)
    assert len(example.examples) > 3
    assert runner.run(example).failed == 0


def test_an_anndata_of_one_label_or_none_teaches_nothing(adata, fast, contents):
    adata.obs["one"], adata.obs["none"] = "B", None
    before = contents(adata)
    for key, phrase in (("one", "single label, 'B'"), ("none", "no cell has a label")):
        with pytest.raises(ValueError, match=phrase):
            scbignn.tl.fit(adata, key, config=fast)
    assert contents(adata) == before
