import numpy as np
import pytest

from scbignn import get


def test_columns_and_types(annotated):
    table = get.annotation(annotated)
    assert table.index.equals(annotated.obs_names)
    assert table.dtypes.astype(str).to_dict() == {
        "label": "category",
        "best_guess": "category",
        "confidence": "float32",
        "entropy": "float32",
        "disagreement": "float32",
    }


def test_probabilities_are_named_by_label(annotated):
    table = get.annotation(annotated, probabilities=True)
    labels = ["type 0", "type 1", "type 2"]
    assert table.columns.tolist() == ["label", "best_guess", "confidence", "entropy", "disagreement", *labels]
    assert (table[labels].dtypes == np.float32).all()
    assert table[labels].idxmax(axis=1).tolist() == table["label"].tolist()
    np.testing.assert_array_equal(table[labels].max(axis=1), table["confidence"])


def test_changing_the_table_leaves_the_data_alone(annotated, contents):
    before = contents(annotated)
    table = get.annotation(annotated, probabilities=True)
    table.loc[:, "confidence"] = 0.0
    table.loc[:, "type 0"] = 0.0
    assert contents(annotated) == before


@pytest.mark.parametrize("name", ["annotation", "gene_importance", "history", "homophily"])
@pytest.mark.parametrize("key", ["scbignn", "other", "neighbors"])
def test_without_a_run(furnished, name, key):
    with pytest.raises(KeyError) as caught:
        getattr(get, name)(furnished, key=key)
    message = caught.value.args[0]
    assert f"adata.uns[{key!r}]" in message
    assert "scbignn.tl.annotate" in message


@pytest.mark.parametrize("name", ["annotation", "gene_importance", "history", "homophily"])
def test_a_view_of_annotated_data(annotated, name):
    view = annotated[:50]
    table = getattr(get, name)(view)
    assert view.is_view
    assert len(table) == (50 if name == "annotation" else len(getattr(get, name)(annotated)))
