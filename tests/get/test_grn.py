import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from scbignn import get


@pytest.fixture
def scored():
    adata = AnnData(np.ones((2, 4), dtype=np.float32), var=pd.DataFrame(index=list("abcd")))
    adata.varp["sctransnet"] = sp.csr_matrix(([0.2, 0.9, 0.5], ([0, 0, 1], [1, 2, 3])), shape=(4, 4))
    adata.varp["sctransnet_known"] = sp.csr_matrix(([1.0, 1.0], ([0, 3], [2, 0])), shape=(4, 4))
    adata.uns["sctransnet"] = {"verdict": "", "metrics": {}}
    return adata


def test_links_come_highest_first(scored):
    table = get.grn(scored)
    assert table.columns.tolist() == ["source", "target", "weight", "known", "rank"]
    assert table[["source", "target"]].to_numpy().tolist() == [["a", "c"], ["b", "d"], ["a", "b"]]
    assert table["weight"].tolist() == [0.9, 0.5, 0.2]
    assert table["known"].tolist() == [True, False, False]
    assert table["rank"].tolist() == [1, 2, 3]


def test_sparse_arrays_are_read_too(scored):
    expected = get.grn(scored)
    for name in ("sctransnet", "sctransnet_known"):
        scored.varp[name] = sp.csr_array(scored.varp[name])
    scored.varp["sctransnet_sd"] = sp.csr_array(scored.varp["sctransnet"] / 2)
    assert get.grn(scored)[expected.columns].equals(expected)
    assert get.grn(scored)["sd"].tolist() == [0.45, 0.25, 0.1]


def test_no_links_left(scored):
    table = get.grn(scored[:, ["a"]])
    assert table.columns.tolist() == ["source", "target", "weight", "known", "rank"]
    assert len(table) == 0


def test_known_or_not(scored):
    assert get.grn(scored, known=True)["rank"].tolist() == [1]
    assert get.grn(scored, known=False)["rank"].tolist() == [2, 3]


@pytest.mark.parametrize("name", ["grn", "grn_curves", "grn_metrics"])
def test_no_run_no_result(scored, name):
    with pytest.raises(KeyError, match=r"no regulatory network. Run scbignn.tl.infer_grn"):
        getattr(get, name)(scored, key="other")
