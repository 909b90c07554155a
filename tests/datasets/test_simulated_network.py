import numpy as np
import pytest

from scbignn.datasets import simulated_network


def test_shapes_names_and_counts():
    adata, network = simulated_network(n_cells=50, n_tfs=6, n_genes=40)
    assert adata.shape == (50, 40)
    assert (adata.X.data == np.round(adata.X.data)).all()
    assert adata.var["is_tf"].sum() == 6
    assert network.columns.tolist() == ["source", "target", "weight"]
    assert set(network["source"]) <= set(adata.var_names[:6])
    assert (network["source"] != network["target"]).all()
    assert not network.duplicated().any()
    assert len(network) / (6 * 39) == pytest.approx(0.15, abs=0.06)


def test_targets_follow_their_tfs():
    adata, network = simulated_network(n_cells=1500, n_tfs=6, n_genes=60, strength=0.9)
    x = np.log1p(adata.X.toarray())
    r = np.corrcoef(x.T)
    place = adata.var_names.get_indexer
    edges = r[place(network["source"]), place(network["target"])]
    assert edges.mean() > 0.2
    none, free = simulated_network(n_cells=1500, n_tfs=6, n_genes=60, strength=0.0)
    r = np.corrcoef(np.log1p(none.X.toarray()).T)
    targets = free[~free["target"].isin(none.var_names[:6])]
    assert abs(r[place(targets["source"]), place(targets["target"])].mean()) < 0.1


def test_seeds_decide():
    first, again, other = (simulated_network(30, 5, 20, rng=seed) for seed in (0, 0, 1))
    assert (first[0].X != again[0].X).nnz == 0
    assert first[1].equals(again[1])
    assert (first[0].X != other[0].X).nnz
