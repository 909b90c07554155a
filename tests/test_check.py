import logging

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scbignn
from scbignn import _check
from scbignn._adata import read_expression


def labelled(values, index=None) -> AnnData:
    """Cells of one gene with these labels in obs["label"]."""
    adata = AnnData(np.ones((len(values), 1), dtype=np.float32))
    adata.obs["label"] = pd.Series(values, index=adata.obs_names) if index is None else values
    return adata


# --- what is refused, and what the message says ---------------------------------------------------------------------


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


# --- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["type 10", "type 2", "type 1", "Unknown"], ["type 1", "type 2", "type 10"]),
        (["b", "a", None], ["a", "b"]),
        (["b", "a", np.nan], ["a", "b"]),
        (["b", "a", pd.NA], ["a", "b"]),
        ([2, 10, 1, "Unknown"], ["1", "2", "10"]),
        ([1.0, 2.0, 10.0, np.nan], ["1", "2", "10"]),
        ([1.5, 2.0, np.nan], ["1.5", "2"]),
        (pd.array([3, 1, None], dtype="Int64"), ["1", "3"]),
        (pd.array(["b", "a", None], dtype="string"), ["a", "b"]),
        (pd.array([True, False, None], dtype="boolean"), ["False", "True"]),
        ([True, False, None], ["False", "True"]),
        ([1, "b", 2.0, None], ["1", "2", "b"]),
        (pd.Categorical([10, 9, None]), ["9", "10"]),
        (pd.Categorical([1.0, 2.0, None]), ["1", "2"]),
        (pd.Categorical(["b", "a", "Unknown"], categories=["Unknown", "b", "a", "unused"]), ["a", "b"]),
        (["T/NK", "T|NK", "γδ T", "Unknown"], ["T/NK", "T|NK", "γδ T"]),
    ],
)
def test_labels_become_strings_in_natural_order(values, names):
    found = _check.read_labels(labelled(values), "label", "Unknown")
    assert found.names == names
    assert found.codes.dtype == np.int64
    expected = [
        -1 if pd.isna(value) or value == "Unknown" else names.index(_check._as_string(value)) for value in values
    ]
    assert found.codes.tolist() == expected
    assert expected[-1] == -1


@pytest.mark.parametrize(
    ("values", "unlabeled"),
    [
        (["a", "b", "?"], "?"),
        ([0, 1, -1], -1),
        (["a", "b", np.nan], np.nan),
        (["a", "b", None], None),
        ([1, 2, 3.5], 3.5),
    ],
)
def test_unlabeled_category(values, unlabeled):
    assert _check.read_labels(labelled(values), "label", unlabeled).codes.tolist() == [0, 1, -1]


def test_missing_and_unlabeled_are_both_unlabelled():
    assert _check.read_labels(labelled(["a", "b", None, "?"]), "label", "?").codes.tolist() == [0, 1, -1, -1]


def test_a_label_on_one_cell_is_kept_with_a_warning(caplog):
    found = _check.read_labels(labelled(["a", "a", "rare", "Unknown"]), "label", "Unknown")
    assert found.names == ["a", "rare"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "'rare'" in record.getMessage()
    assert "'a'" not in record.getMessage()


def test_conversion_of_labels_is_logged(caplog):
    with caplog.at_level(logging.INFO, "scbignn"):
        _check.read_labels(labelled([1, 1, 2, 2, None]), "label", "Unknown")
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "not strings" in record.getMessage()


def test_labels_of_strings_are_taken_silently(caplog):
    with caplog.at_level(logging.INFO, "scbignn"):
        _check.read_labels(labelled(["a", "a", "b", "b", None]), "label", "Unknown")
    assert caplog.records == []


def test_label_strings_keep_the_index():
    column = pd.Series([1.0, np.nan, 2.0], index=list("xyz"))
    pd.testing.assert_series_equal(
        _check.label_strings(column, "2"), pd.Series(["1", None, None], index=list("xyz"), dtype=object)
    )


# --- names of genes -------------------------------------------------------------------------------------------------


def named(**columns) -> AnnData:
    return AnnData(np.ones((2, 4), dtype=np.float32), var=pd.DataFrame(columns, index=list("abcd")))


def test_gene_names_are_the_index_or_a_column():
    adata = named(symbol=["A", None, "C", "C"])
    assert _check.gene_names(adata, None).equals(adata.var_names)
    assert _check.gene_names(adata, "symbol").tolist() == ["A", None, "C", "C"]
    assert _check.gene_names(named(symbol=pd.Categorical(list("xyzz"))), "symbol").tolist() == list("xyzz")


def test_a_column_of_gene_names_that_is_not_there():
    with pytest.raises(KeyError, match=r"adata.var has no column 'name'. It has: 'symbol'. Pass one as gene_symbols"):
        _check.gene_names(named(symbol=list("abcd")), "name")
    adata = named(symbol=list("abcd"))
    adata.var = pd.concat([adata.var, adata.var], axis=1)
    with pytest.raises(ValueError, match="2 columns named 'symbol'"):
        _check.gene_names(adata, "symbol")


def test_other_gene_names():
    adata = named(
        symbol=list("wxyz"),
        kind=["gene"] * 4,
        score=[1.0, 2, 3, 4],
        some=["p", "q", "r", None],
        about=["a b", "c d", "e f", "g h"],
    )
    adata.raw = adata
    found = {line: names.tolist() for line, names in _check.other_gene_names(adata, None).items()}
    assert found == {
        "gene_symbols='symbol'": list("wxyz"),
        "gene_symbols='some'": ["p", "q", "r", None],
        "adata = adata.raw.to_adata()": list("abcd"),
        "adata = adata.raw.to_adata()  # and then gene_symbols='symbol'": list("wxyz"),
        "adata = adata.raw.to_adata()  # and then gene_symbols='some'": ["p", "q", "r", None],
    }
    adata.raw = None
    found = {line: names.tolist() for line, names in _check.other_gene_names(adata, "symbol").items()}
    assert found == {"gene_symbols=None": list("abcd"), "gene_symbols='some'": ["p", "q", "r", None]}


# --- what a matrix holds --------------------------------------------------------------------------------------------

BASES = {"e": np.e, "2": 2.0, "10": 10.0}


def counts(depth: float = 4.0, *, n_cells: int = 60, n_genes: int = 100) -> np.ndarray:
    rng = np.random.default_rng(0)
    level = rng.lognormal(0, 1, n_genes)
    found = rng.poisson(level / level.mean() * depth * rng.lognormal(0, 0.4, n_cells)[:, None]).astype(np.float64)
    found[np.arange(n_cells), rng.integers(n_genes, size=n_cells)] += 1
    return found


def normalized(x: np.ndarray, total: float = 1e4) -> np.ndarray:
    return x / x.sum(1, keepdims=True) * total


def detected(x: np.ndarray, **uns) -> _check.Expression:
    return read_expression(AnnData(sp.csr_matrix(x, dtype=np.float32), uns=uns), None)[1]


def assert_proportional(found: sp.csr_matrix, expected: np.ndarray) -> None:
    found = found.toarray().astype(np.float64)
    np.testing.assert_allclose(normalized(found), normalized(expected), rtol=2e-5)


@pytest.mark.parametrize("depth", [0.05, 0.5, 4.0, 100.0, 20_000.0])
def test_counts(depth):
    x, expression = read_expression(AnnData(counts(depth)), None)
    assert expression == _check.Expression("X", "counts")
    np.testing.assert_array_equal(x.toarray(), counts(depth).astype(np.float32))


@pytest.mark.parametrize(
    "x", [(counts() > 0).astype(float), np.ones((10, 4)), counts(n_cells=10), counts(n_genes=1) + 1]
)
def test_counts_of_odd_data(x):
    assert detected(x).kind == "counts"


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("total", [1e3, 1e4, 1e6])
@pytest.mark.parametrize("depth", [0.3, 4.0, 100.0])
def test_log1p_of_all_genes(base, total, depth):
    log1p = np.log1p(normalized(counts(depth), total)) / np.log(BASES[base])
    x, expression = read_expression(AnnData(sp.csr_matrix(log1p, dtype=np.float32)), None)
    assert expression == _check.Expression("X", "log1p", base)
    assert str(expression) == f"log1p values (base {base})"
    assert_proportional(x, counts(depth))


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("total", [1e3, 1e4, 1e6])
@pytest.mark.parametrize("depth", [0.3, 4.0])
def test_log1p_of_some_genes(base, total, depth):
    some = counts(depth)[:, :50]
    cells = some.sum(1) > 0
    log1p = (np.log1p(normalized(counts(depth), total)) / np.log(BASES[base]))[cells, :50]
    x, expression = read_expression(AnnData(sp.csr_matrix(log1p, dtype=np.float32)), None)
    assert expression == _check.Expression("X", "log1p", base)
    assert_proportional(x, some[cells])


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("depth", [0.3, 4.0])
def test_log1p_of_counts(base, depth):
    log1p = np.log1p(counts(depth)) / np.log(BASES[base])
    assert detected(log1p) == _check.Expression("X", "log1p", base)


@pytest.mark.parametrize(
    ("recorded", "base"),
    [({"base": None}, "e"), ({}, "e"), ({"base": 2}, "2"), ({"base": 10}, "10"), ({"base": "e"}, "e")],
)
def test_recorded_log1p_is_believed(recorded, base):
    # Deep data on some genes: their values alone would not tell.
    some = counts(500.0)[:, :50]
    log1p = (np.log1p(normalized(counts(500.0))) / np.log(BASES[base]))[:, :50]
    adata = AnnData(sp.csr_matrix(log1p, dtype=np.float32), uns={"log1p": recorded})
    x, expression = read_expression(adata, None)
    assert expression == _check.Expression("X", "log1p", base)
    assert_proportional(x, some)


def test_a_base_of_ones_own():
    adata = AnnData(np.log1p(normalized(counts())) / np.log(3), uns={"log1p": {"base": 3}})
    x, expression = read_expression(adata, None)
    assert expression.base == "3.0"
    assert_proportional(x, counts())


def test_record_of_x_says_nothing_about_a_layer():
    adata = AnnData(np.log1p(normalized(counts())), uns={"log1p": {"base": 2}})
    adata.layers["natural"] = adata.X.copy()
    assert read_expression(adata, "natural")[1] == _check.Expression("layers['natural']", "log1p", "e")


@pytest.mark.parametrize("base", ["natural", [2, 3], 0, 1, -2, np.nan])
def test_a_record_that_cannot_be_read_says_nothing(base):
    assert detected(np.log1p(normalized(counts())), log1p={"base": base}) == _check.Expression("X", "log1p", "e")


def test_record_does_not_turn_counts_into_log1p():
    assert detected(counts(), log1p={"base": None}).kind == "counts"


@pytest.mark.parametrize("total", [1e3, 1e4, 1e6])
@pytest.mark.parametrize("genes", [100, 50])
def test_linear_values(total, genes):
    x, expression = read_expression(AnnData(normalized(counts(), total)[:, :genes]), None)
    assert expression == _check.Expression("X", "normalized")
    assert_proportional(x, counts()[:, :genes])


@pytest.mark.parametrize("factor", [0.5, 1 / 3])
def test_multiples_of_counts_are_linear(factor):
    assert detected(counts() * factor).kind == "normalized"


def test_counts_corrected_to_fractions_are_linear():
    corrected = counts(30.0) * np.random.default_rng(1).uniform(0.9, 1, (60, 100))
    assert detected(corrected).kind == "normalized"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_rounding_of_log1p(dtype):
    rounded = np.log1p(normalized(counts())).astype(dtype)
    assert detected(rounded) == _check.Expression("X", "log1p", "e")


@pytest.mark.parametrize(
    "x",
    [
        np.random.default_rng(0).random((60, 40)),
        np.abs(np.random.default_rng(0).normal(size=(60, 40))),
        np.sqrt(counts()),
        np.log1p(np.log1p(normalized(counts()))),
        np.clip((counts() - counts().mean(0)) / (counts().std(0) + 1e-9), 0.01, 10),
    ],
    ids=["uniform", "half-normal", "square root", "log1p twice", "scaled and clipped"],
)
def test_values_that_cannot_be_told_are_refused(x):
    with pytest.raises(ValueError, match=r'up to [\d.]+ that look log-transformed.*adata\.uns\["log1p"\]'):
        detected(x)


@pytest.mark.parametrize("n_clusters", [None, 2, 10, np.int64(3)])
def test_numbers_of_clusters_that_can_be(n_clusters):
    assert _check.check_n_clusters(n_clusters, 10) is None


@pytest.mark.parametrize(
    ("n_clusters", "n_obs", "error", "message"),
    [
        (1, 10, ValueError, "n_clusters=1 must be at least 2, and at most the number of cells, 10"),
        (11, 10, ValueError, "n_clusters=11"),
        (2.0, 10, TypeError, r"n_clusters=2\.0 must be an integer"),
        (True, 10, TypeError, "n_clusters=True must be an integer"),
        (None, 1, ValueError, "1 cell, which makes no clusters"),
    ],
)
def test_numbers_of_clusters_that_cannot_be(n_clusters, n_obs, error, message):
    with pytest.raises(error, match=message):
        _check.check_n_clusters(n_clusters, n_obs)
