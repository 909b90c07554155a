import numpy as np
import pytest

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


@pytest.mark.parametrize("label", [None, "type 1"])
def test_attribution_is_another_order_of_the_same_genes(annotated, label):
    attention, attribution = (get.gene_importance(annotated, by=by, label=label) for by in ("attention", "attribution"))
    assert attribution["score"].is_monotonic_decreasing
    assert set(attribution["gene"]) == set(attention["gene"])
    assert attribution["gene"].tolist() != attention["gene"].tolist()


def test_scores_of_a_label_are_those_of_its_cells(annotated):
    run = annotated.uns["scbignn"]
    for by, name in (("attention", "score"), ("attribution", "attribution")):
        for code, label in enumerate(run["labels"]):
            table = get.gene_importance(annotated, by=by, label=label).set_index("gene")["score"]
            expected = run["gene_importance_per_label"][name][:, code]
            np.testing.assert_array_equal(table[run["gene_importance"].index], expected)


def test_attribution_over_all_cells_is_the_mean_over_labels(annotated):
    run = annotated.uns["scbignn"]
    share = annotated.obs["scbignn"].value_counts(normalize=True)[list(run["labels"])]
    expected = run["gene_importance_per_label"]["attribution"] @ share.to_numpy()
    np.testing.assert_allclose(run["gene_importance"]["attribution"], expected, rtol=1e-5, atol=1e-7)


def test_unknown_measure_and_label_are_refused(annotated):
    with pytest.raises(ValueError, match="by='weight' is unknown"):
        get.gene_importance(annotated, by="weight")
    with pytest.raises(KeyError, match=r"label='B cell' is none of the labels. They are 'type 0', 'type 1'"):
        get.gene_importance(annotated, label="B cell")


def test_runs_of_earlier_versions_know_attention_only(annotated):
    adata = annotated.copy()
    run = adata.uns["scbignn"]
    del run["gene_importance"]["attribution"], run["gene_importance_per_label"]
    assert get.gene_importance(adata).equals(get.gene_importance(annotated))
    for arguments in ({"by": "attribution"}, {"label": "type 1"}):
        with pytest.raises(KeyError, match="earlier version"):
            get.gene_importance(adata, **arguments)
