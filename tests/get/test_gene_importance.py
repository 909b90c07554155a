import numpy as np

from scbignn import get


def test_columns_and_order(annotated):
    table = get.gene_importance(annotated)
    assert table.columns.tolist() == ["gene", "score", "rank"]
    assert table["score"].dtype == np.float64
    assert table["rank"].tolist() == list(range(1, len(table) + 1))
    assert table["score"].is_monotonic_decreasing
    assert len(table) == 60
    assert set(table["gene"]) <= set(annotated.var_names)


def test_first_genes(annotated):
    table = get.gene_importance(annotated)
    assert get.gene_importance(annotated, n_genes=7).equals(table.head(7))
    assert get.gene_importance(annotated, n_genes=1000).equals(table)


def test_scores_are_column_sums_of_attention(annotated):
    received = np.asarray(annotated.varp["scbignn_attention"].astype(np.float64).sum(0)).ravel()
    table = get.gene_importance(annotated).set_index("gene")["score"]
    np.testing.assert_allclose(table, received[annotated.var_names.get_indexer(table.index)], rtol=1e-12)
    assert table.max() > table.min() > 0
