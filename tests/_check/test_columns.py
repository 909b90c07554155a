import logging

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbignn import _check
from scbignn._labels import label_text


def labelled(values, index=None) -> AnnData:
    """Cells of one gene with these labels in obs["label"]."""
    adata = AnnData(np.ones((len(values), 1), dtype=np.float32))
    adata.obs["label"] = pd.Series(values, index=adata.obs_names) if index is None else values
    return adata


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
    expected = [-1 if pd.isna(value) or value == "Unknown" else names.index(label_text(value)) for value in values]
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


@pytest.mark.parametrize("name", ["nan", "unknown", "NA", "", " Unassigned"])
def test_a_label_that_says_there_is_none_is_told(caplog, name):
    values = ["a", "b", name, "a", "b", name, "Unknown"]
    assert name in _check.read_labels(labelled(values), "label", "Unknown").names
    (record,) = caplog.records
    assert f"holds {name!r}, which is taken for a cell type" in record.getMessage()
    assert f"pass unlabeled_category={name!r}" in record.getMessage()
    caplog.clear()
    _check.read_labels(labelled(values), "label", name)
    assert not [record for record in caplog.records if repr(name) in record.getMessage()]


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
    names = _check.gene_names(adata, "symbol")
    assert names.isna().tolist() == [False, True, False, False]
    assert names[[0, 2, 3]].tolist() == ["A", "C", "C"]
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

    def others(gene_symbols):
        names = _check.other_gene_names(adata, gene_symbols)
        return {line: [None if pd.isna(name) else name for name in column] for line, column in names.items()}

    assert others(None) == {
        "gene_symbols='symbol'": list("wxyz"),
        "gene_symbols='some'": ["p", "q", "r", None],
        "adata = adata.raw.to_adata()": list("abcd"),
        "adata = adata.raw.to_adata()  # and then gene_symbols='symbol'": list("wxyz"),
        "adata = adata.raw.to_adata()  # and then gene_symbols='some'": ["p", "q", "r", None],
    }
    adata.raw = None
    assert others("symbol") == {"gene_symbols=None": list("abcd"), "gene_symbols='some'": ["p", "q", "r", None]}
