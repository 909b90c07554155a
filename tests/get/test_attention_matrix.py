import numpy as np
import pytest
import scipy.sparse as sp
from pictures import run_of

from scbignn import get


def test_the_attention_between_the_first_genes():
    adata = run_of(3)
    table = get.attention_matrix(adata, n_genes=12, sort=False)
    assert table.index.tolist() == table.columns.tolist() == get.gene_importance(adata, n_genes=12)["gene"].tolist()
    assert (table.index.name, table.columns.name) == ("source", "target")
    full = adata.varp["scbignn_attention"].toarray()
    for source in table.index:
        for target in table.columns:
            expected = full[adata.var_names.get_loc(source), adata.var_names.get_loc(target)]
            assert table.loc[source, target] == pytest.approx(expected)


def test_sorting_moves_strong_pairs_together_and_changes_nothing_else():
    adata = run_of(3)
    # Two groups of genes, in turn, that attend among themselves.
    group = np.arange(adata.n_vars) % 2
    adata.varp["scbignn_attention"] = sp.csr_matrix(np.where(group[:, None] == group, 0.5, 0.01))
    plain = get.attention_matrix(adata, n_genes=20, sort=False)
    table = get.attention_matrix(adata, n_genes=20)
    assert table.equals(plain.loc[table.index, table.columns])
    groups = group[adata.var_names.get_indexer(table.index)]
    assert np.abs(np.diff(groups)).sum() == 1  # one border


@pytest.mark.parametrize("n_genes", [1, 2, None, 1000])
def test_any_number_of_genes(n_genes):
    adata = run_of(3)
    adata.varp["scbignn_attention"] = sp.csr_matrix(np.ones((adata.n_vars, adata.n_vars)))
    expected = adata.n_vars if n_genes in {None, 1000} else n_genes
    assert get.attention_matrix(adata, n_genes=n_genes).shape == (expected, expected)


def test_errors(annotated, furnished, contents):
    before = contents(annotated)
    get.attention_matrix(annotated)
    assert contents(annotated) == before
    with pytest.raises(KeyError, match=r"scbignn\.tl\.annotate"):
        get.attention_matrix(furnished)
    annotated.varp["scbignn_attention"] = sp.csr_matrix((annotated.n_vars, annotated.n_vars))
    with pytest.raises(ValueError, match=r"Config\(n_layers=1\)"):
        get.attention_matrix(annotated)
    del annotated.varp["scbignn_attention"]
    with pytest.raises(KeyError, match="no 'scbignn_attention'"):
        get.attention_matrix(annotated)
