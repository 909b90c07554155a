import numpy as np
import pytest

from scbignn import get


def test_a_table_that_other_packages_read(annotated):
    table = get.gene_attention(annotated)
    assert table.columns.tolist() == ["label", "source", "target", "weight", "n_cells", "z", "p_adjusted"]
    assert table["label"].cat.categories.tolist() == list(annotated.uns["scbignn"]["labels"])
    panel = set(get.gene_importance(annotated)["gene"])
    assert set(table["source"]) | set(table["target"]) <= panel
    assert (table["source"] != table["target"]).all()
    assert not table.duplicated(["label", "source", "target"]).any()
    assert table["weight"].between(0, 1, inclusive="neither").all()
    assert np.isfinite(table["z"]).mean() > 0.95  # NaN where no other label expresses both


def test_pairs_of_one_label(annotated):
    table = get.gene_attention(annotated)
    found = get.gene_attention(annotated, label="type 2")
    assert found.equals(table[table["label"] == "type 2"].reset_index(drop=True))
    assert found["weight"].is_monotonic_decreasing
    assert 0 < len(found) <= 500


def test_types_differ_in_attention_somewhere(annotated):
    assert (get.gene_attention(annotated)["p_adjusted"] < 0.01).any()


def test_unknown_label_and_runs_without_pairs_are_refused(annotated):
    with pytest.raises(KeyError, match="label='B cell' is none of the labels"):
        get.gene_attention(annotated, label="B cell")
    adata = annotated.copy()
    del adata.uns["scbignn"]["gene_attention"]
    with pytest.raises(KeyError, match=r"tl.predict writes none"):
        get.gene_attention(adata)
