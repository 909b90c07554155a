import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scbignn import get


@pytest.fixture
def scores():
    return pd.DataFrame({"0": [3.0, 1, 2, np.nan], "1": [1.0, 1, 5, 0]}, index=["A", "B", "C", "D"])


def test_best_first_and_genes_without_a_score_left_out(scores):
    assert get.top_genes(scores, n_top=3) == {"0": ["A", "C", "B"], "1": ["C", "A", "B"]}


def test_from_annotated_data(scores):
    adata = AnnData(np.ones((2, 2), dtype=np.float32))
    adata.uns["scbignn_cv"] = {"gene_importance": scores}
    assert get.top_genes(adata, n_top=2) == get.top_genes(scores, n_top=2)
    for key in ("other", "scbignn"):
        with pytest.raises(KeyError, match=rf"{key}.* holds no table"):
            get.top_genes(adata, n_top=2, key=key)
    adata.uns["scbignn_cv"] = {"gene_importance": [1]}
    with pytest.raises(KeyError, match="holds no table"):
        get.top_genes(adata)


def test_from_lists():
    lists = {"a": pd.Index(["G1", "G2", "G1", "G3"]), 2: iter(["G9", "G8"])}
    assert get.top_genes(lists, n_top=2) == {"a": ["G1", "G2"], "2": ["G9", "G8"]}
    assert get.top_genes({"a": ["G1", "G1", "G2"]}, n_top=2) == {"a": ["G1", "G2"]}


def test_errors(scores):
    with pytest.raises(ValueError, match="run '0' has 3 genes, and n_top=4.*n_top=3 or fewer"):
        get.top_genes(scores, n_top=4)
    with pytest.raises(ValueError, match="n_top=0"):
        get.top_genes(scores, n_top=0)
    with pytest.raises(TypeError, match="of type list"):
        get.top_genes([["A"]], n_top=1)
    with pytest.raises(TypeError, match="is the text 'CD3E'"):
        get.top_genes({"a": "CD3E"}, n_top=1)
