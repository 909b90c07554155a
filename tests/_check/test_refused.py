"""What is refused whatever the method, and what the message says."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scbignn


def with_x(change):
    def apply(adata):
        x = adata.X.toarray()
        change(x)
        adata.X = sp.csr_matrix(x)

    return apply


def put(value, cell=7, gene=3):
    return with_x(lambda x: x.__setitem__((cell, gene), value))


def empty_cells(adata):
    with_x(lambda x: x.__setitem__([4, 9], 0))(adata)


def set_labels(function):
    def apply(adata):
        adata.obs["cell_type"] = [function(number) for number in range(adata.n_obs)]

    return apply


def repeat_cell_name(adata):
    adata.obs_names = ["twin", "twin", *adata.obs_names[2:]]


def repeat_gene_name(adata):
    adata.var_names = ["twin", "twin", *adata.var_names[2:]]


def scale(adata):
    x = adata.X.toarray()
    adata.X = (x - x.mean(0)) / (x.std(0) + 1)


def scale_with_raw(adata):
    adata.raw = adata
    scale(adata)


def uniform(adata):
    adata.X = np.random.default_rng(0).random(adata.shape)


def nothing(adata):
    pass


REFUSED = {
    "label column": (nothing, {"labels_key": "celltype"}, KeyError, ["'celltype'", "'cell_type'", "labels_key"]),
    "one label": (
        set_labels(lambda i: "B" if i % 2 else "Unknown"),
        {},
        ValueError,
        ["single label, 'B'", "two types"],
    ),
    "no labels": (set_labels(lambda _: "Unknown"), {}, ValueError, ["no cell has a label", "'cell_type'", "'Unknown'"]),
    "labels all missing": (set_labels(lambda _: None), {}, ValueError, ["no cell has a label", "Label some cells"]),
    "labels complete": (set_labels(lambda i: "AB"[i % 2]), {}, ValueError, ["every cell has a label", "hide some"]),
    "other unlabeled_category": (nothing, {"unlabeled_category": "?"}, ValueError, ["every cell has a label", "'?'"]),
    "cell names": (repeat_cell_name, {}, ValueError, ["cell names", "'twin'", "adata.obs_names_make_unique()"]),
    "gene names": (repeat_gene_name, {}, ValueError, ["gene names", "'twin'", "adata.var_names_make_unique()"]),
    "NaN": (put(np.nan), {}, ValueError, ["adata.X", "1 NaN or infinite", "'cell_7'", "'gene_3'", "layer="]),
    "infinity": (put(np.inf), {}, ValueError, ["inf in cell 'cell_7', gene 'gene_3'"]),
    "negative": (put(-2.5), {}, ValueError, ["1 negative", "-2.5 in cell 'cell_7', gene 'gene_3'", "layer="]),
    "scaled": (scale, {}, ValueError, ["negative values", "scaled"]),
    "scaled, with raw": (scale_with_raw, {}, ValueError, ["negative values", "adata.raw.to_adata()"]),
    "empty cells": (empty_cells, {}, ValueError, ["2 cells", "'cell_4', 'cell_9'", "sc.pp.filter_cells"]),
    "ambiguous values": (uniform, {}, ValueError, ["non-integer values up to", 'adata.uns["log1p"]', "layer="]),
    "missing layer": (nothing, {"layer": "raw"}, KeyError, ["'raw'", "'counts'", "layer=None"]),
    "negative in a layer": (
        lambda adata: adata.layers.__setitem__("bad", -adata.X),
        {"layer": "bad"},
        ValueError,
        ["adata.layers['bad']", "negative"],
    ),
    "no X": (lambda adata: setattr(adata, "X", None), {}, ValueError, ["adata.X is empty", "layer"]),
    "key is the label column": (nothing, {"key_added": "cell_type"}, ValueError, ["'cell_type'", "overwrite"]),
    "key with a slash": (nothing, {"key_added": "T/NK"}, ValueError, ["'T/NK'", '"/"']),
    "empty key": (nothing, {"key_added": ""}, ValueError, ["key_added=''", "non-empty"]),
    "key is no string": (nothing, {"key_added": 1}, ValueError, ["key_added=1", "string"]),
    "many neighbours": (nothing, {"n_neighbors": 60}, ValueError, ["60", "n_neighbors", "59"]),
    "no neighbours": (nothing, {"n_neighbors": 0}, ValueError, ["n_neighbors=0", "integer >= 1"]),
    "no genes": (nothing, {"n_top_genes": 0}, ValueError, ["n_top_genes=0", "integer >= 1"]),
    "genes as a float": (nothing, {"n_top_genes": 20.0}, ValueError, ["n_top_genes=20.0", "integer"]),
    "device": (nothing, {"device": "gpu"}, ValueError, ["device='gpu'", '"cpu"']),
    "backend": (nothing, {"backend": "jax"}, ValueError, ["backend='jax'", '"torch"']),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_a_message_that_helps_and_nothing_changed(furnished, fast, contents, case):
    change, arguments, error, fragments = REFUSED[case]
    furnished.layers["counts"] = furnished.X.copy()
    furnished.raw = None
    change(furnished)
    before = contents(furnished)
    with pytest.raises(error) as caught:
        scbignn.tl.annotate(furnished, **({"labels_key": "cell_type", "config": fast} | arguments))
    assert contents(furnished) == before
    message = caught.value.args[0]
    assert [fragment for fragment in fragments if fragment not in message] == []


def test_bad_arguments_are_refused_before_training(adata, fast, monkeypatch):
    monkeypatch.setattr("scbignn.annotation._em.train", lambda *_, **__: pytest.fail("training began"))
    with pytest.raises(ValueError, match="n_neighbors"):
        scbignn.tl.annotate(adata, "cell_type", config=fast, n_neighbors=adata.n_obs)


@pytest.mark.parametrize("other", [None, "file.h5ad", np.ones((3, 2)), pd.DataFrame({"a": [1]})])
def test_only_anndata(other):
    with pytest.raises(TypeError, match=rf"{type(other).__name__}, not an AnnData.*anndata\.AnnData"):
        scbignn.tl.annotate(other, "cell_type")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_rounds": -1}, "n_rounds=-1"),
        ({"width": 10, "n_heads": 4}, "n_heads=4 must be a divisor of width=10"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"read_out": "max"}, "read_out='max' must be 'value' or 'learned' or 'mean'"),
        ({"target_sum": 0}, "target_sum=0"),
        ({"batch_size": 2.5}, "batch_size=2.5"),
    ],
)
def test_bad_configuration(changes, message):
    with pytest.raises(ValueError, match=message):
        scbignn.annotation.Config(**changes)


def test_empty_genes_are_no_error_and_never_chosen(adata, fast):
    with_x(lambda x: x.__setitem__((slice(None), [0, 5]), 0))(adata)
    scbignn.tl.annotate(adata, "cell_type", config=fast, n_top_genes=1000)
    genes = scbignn.get.gene_importance(adata)["gene"]
    assert len(genes) == 38
    assert not {"gene_0", "gene_5"} & set(genes)


def test_a_cell_without_any_chosen_gene_is_labelled_too(adata, fast):
    def silence(x):
        x[11] = 0
        x[:, 39] = 0
        x[11, 39] = 1  # a gene of next to no variance

    with_x(silence)(adata)
    scbignn.tl.annotate(adata, "cell_type", config=fast, n_top_genes=20)
    assert "gene_39" not in set(scbignn.get.gene_importance(adata)["gene"])
    assert not adata.obs["scbignn"].isna().any()
    assert np.isfinite(adata.obsm["scbignn_proba"]).all(axis=None)
