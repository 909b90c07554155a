import logging

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData

import scbignn
from scbignn import get, pl, tl
from scbignn._checkpoints import Keeper
from scbignn.regulation import Config

FAST = Config(
    n_folds=2, n_inner_folds=2, n_components=6, penalties=(10.0, np.inf), n_trees=5, n_epochs=2, width=8, min_leaf=10
)
RIDGE = Config(n_folds=2, n_inner_folds=2, n_components=6, penalties=(10.0, np.inf), members=("ridge",))


@pytest.fixture(scope="module")
def data():
    return scbignn.datasets.simulated_network(n_cells=80, n_tfs=10, n_genes=50)


@pytest.fixture(scope="module")
def scored(data):
    return tl.infer_grn(data[0], data[1], config=FAST, copy=True)


def test_slots_are_as_documented(data, scored):
    adata, network = data
    scores = scored.varp["sctransnet"]
    assert isinstance(scores, sp.csr_matrix)
    assert scores.shape == (50, 50)
    assert scores.dtype == np.float32
    assert scores.nnz == 2 * len(network)
    assert scores.data.min() > 0
    assert scores.data.max() <= 1
    assert not scores[10:].nnz
    assert (scores.diagonal() == 0).all()
    known = scored.varp["sctransnet_known"]
    assert known.nnz == len(network)
    run = scored.uns["sctransnet"]
    assert {
        "params",
        "metrics",
        "verdict",
        "curves",
        "roc",
        "history",
        "network",
        "symmetric",
        "expression",
        "version",
    } == set(run)
    figures = ("auroc", "auprc", "auprc_ratio", "early_precision", "tf_auroc", "tf_auprc")
    assert all(
        np.isfinite(run["metrics"][prefix + name]) for prefix in ("", "baseline_", "network_") for name in figures
    )
    assert run["network"]["n_edges"] == len(network)
    assert "sctransnet_sd" not in scored.varp
    assert "sctransnet" not in adata.uns


def test_what_else_there_is_stays(data, contents):
    adata, network = data[0].copy(), data[1]
    before, network_before = contents(adata), network.copy()
    tl.infer_grn(adata, network, config=RIDGE, key_added="mine")
    for name in ("mine", "mine_known"):
        del adata.varp[name]
    del adata.uns["mine"]
    assert contents(adata) == before
    pd.testing.assert_frame_equal(network, network_before)


def test_seeds_decide_and_formats_do_not(data, scored):
    adata, network = data
    again = tl.infer_grn(adata, network, config=FAST, copy=True)
    np.testing.assert_array_equal(again.varp["sctransnet"].toarray(), scored.varp["sctransnet"].toarray())
    dense = AnnData(adata.X.toarray(), obs=adata.obs, var=adata.var)
    shuffled = network.sample(frac=1, random_state=0)
    found = tl.infer_grn(dense, shuffled, config=FAST, copy=True)
    np.testing.assert_array_equal(found.varp["sctransnet"].toarray(), scored.varp["sctransnet"].toarray())
    other = tl.infer_grn(adata, network, config=FAST, rng=1, copy=True)
    assert (other.varp["sctransnet"] != scored.varp["sctransnet"]).nnz


def test_log_values_are_taken_as_they_are(data, caplog):
    adata, network = data[0].copy(), data[1]
    counts = adata.X.toarray()
    adata.X = sp.csr_matrix(np.log1p(1e4 * counts / counts.sum(1, keepdims=True)), dtype=np.float32)
    adata.layers["odd"] = adata.X.copy()
    adata.layers["odd"].data **= 0.77  # no logarithm that could be undone
    with caplog.at_level(logging.INFO, "scbignn"):
        found = tl.infer_grn(adata, network, config=RIDGE, copy=True)
        odd = tl.infer_grn(adata, network, config=RIDGE, layer="odd", copy=True)
    of_counts = tl.infer_grn(data[0], network, config=RIDGE, copy=True)
    np.testing.assert_allclose(found.varp["sctransnet"].toarray(), of_counts.varp["sctransnet"].toarray(), atol=1e-3)
    assert odd.uns["sctransnet"]["expression"] == {"slot": "layers['odd']", "kind": "log1p", "base": "unknown"}
    assert "layers['odd'] holds log1p values (base unknown)" in caplog.text


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
def test_files_keep_it(scored, tmp_path):
    scored.write_h5ad(tmp_path / "a.h5ad")
    pytest.importorskip("zarr")
    scored.write_zarr(tmp_path / "a.zarr")
    for back in (anndata.read_h5ad(tmp_path / "a.h5ad"), anndata.read_zarr(tmp_path / "a.zarr")):
        pd.testing.assert_frame_equal(get.grn(back), get.grn(scored))
        pd.testing.assert_frame_equal(get.grn_metrics(back), get.grn_metrics(scored))
        assert back.uns["sctransnet"]["verdict"] == scored.uns["sctransnet"]["verdict"]


def test_the_log_says_what_was_done_and_found(data, caplog):
    with caplog.at_level(logging.INFO, "scbignn"):
        found = tl.infer_grn(data[0], data[1], config=RIDGE, copy=True)
    assert f"{len(data[1])} known edges of 10 TFs to 50 genes; split by edge" in caplog.text
    assert found.uns["sctransnet"]["verdict"] in caplog.text
    assert "wrote varp['sctransnet'], varp['sctransnet_known'], uns['sctransnet']" in caplog.text


def test_repeats_are_written_and_removed_again(data):
    adata, network = data[0].copy(), data[1]
    config = Config(n_folds=2, n_inner_folds=2, penalties=(10.0,), members=("ridge",), n_repeats=2)
    tl.infer_grn(adata, network, config=config)
    table = get.grn(adata)
    assert {"sd", "frequency"} <= set(table.columns)
    assert table["frequency"].between(0, 1).all()
    tl.infer_grn(adata, network, config=RIDGE)
    assert "sctransnet_sd" not in adata.varp
    assert "sd" not in get.grn(adata).columns


def test_given_vectors_stand_for_genes(data, caplog):
    adata, network = data
    rng = np.random.default_rng(0)
    vectors = pd.DataFrame(rng.normal(size=(45, 8)), index=adata.var_names[5:])
    with caplog.at_level(logging.INFO, "scbignn"):
        found = tl.infer_grn(adata, network, encoder=vectors, config=RIDGE, copy=True)
    assert "5 of 50 genes have no vector" in caplog.text
    assert found.uns["sctransnet"]["params"]["encoder"] == "table"
    plain = tl.infer_grn(adata, network, encoder="expression", config=RIDGE, copy=True)
    assert (found.varp["sctransnet"] != plain.varp["sctransnet"]).nnz


@pytest.fixture
def scbert(data, tmp_path):
    """A small model of random weights that knows most of the genes."""
    import torch
    from small import generator

    from scbignn.regulation._scbert import expected_shapes

    g = generator()
    shapes = expected_shapes(60, 8, 1, 1, 5)
    torch.save({name: torch.randn(shape, generator=g) for name, shape in shapes.items()}, tmp_path / "m.pth")
    genes = [name.upper() for name in data[0].var_names[3:]] + [f"other {number}" for number in range(13)]
    return scbignn.regulation.read_scbert(tmp_path / "m.pth", genes, check_genes=False)


def test_scbert_stands_for_genes(data, scbert, caplog):
    adata, network = data
    with caplog.at_level(logging.INFO, "scbignn"):
        found = tl.infer_grn(adata, network, encoder=scbert, config=RIDGE, copy=True)
    assert "3 of 50 genes have no vector" in caplog.text
    assert found.uns["sctransnet"]["params"]["encoder"] == "scbert"
    again = tl.infer_grn(adata, network, encoder=scbert, config=RIDGE, copy=True)
    np.testing.assert_array_equal(again.varp["sctransnet"].toarray(), found.varp["sctransnet"].toarray())
    plain = tl.infer_grn(adata, network, config=RIDGE, copy=True)
    assert (found.varp["sctransnet"] != plain.varp["sctransnet"]).nnz


def test_scbert_reads_logarithms_of_any_base(data, scbert, caplog):
    adata, network = data[0].copy(), data[1]
    of_counts = tl.infer_grn(adata, network, encoder=scbert, config=RIDGE, copy=True)
    counts = adata.X.toarray()
    adata.X = sp.csr_matrix(np.log1p(1e4 * counts / counts.sum(1, keepdims=True)) / np.log(2), dtype=np.float32)
    adata.uns["log1p"] = {"base": 2}
    found = tl.infer_grn(adata, network, encoder=scbert, config=RIDGE, copy=True)
    np.testing.assert_allclose(found.varp["sctransnet"].toarray(), of_counts.varp["sctransnet"].toarray(), atol=0.02)


def test_scbert_without_genes_of_the_data_is_refused(data, scbert):
    adata = data[0].copy()
    adata.var_names = [f"x{number}" for number in range(50)]
    network = pd.DataFrame({"source": "x0", "target": adata.var_names[10:30]})
    with pytest.raises(ValueError, match="encoder knows 0 of the 50 genes of adata: its genes are 'TF_3'"):
        tl.infer_grn(adata, network, encoder=scbert, config=RIDGE)


def test_a_transformer_learns_from_the_cells_and_goes_on_from_a_checkpoint(data, tmp_path, caplog, monkeypatch):
    adata, network = data
    kept = ("n_folds", "n_inner_folds", "n_components", "penalties", "members")
    small = {"encoder_width": 8, "encoder_layers": 1, "encoder_heads": 2, "encoder_epochs": 2, "n_encoded_cells": 30}
    config = Config(**{name: getattr(RIDGE, name) for name in kept}, **small)
    arguments = {"encoder": "transformer", "config": config, "copy": True}
    with caplog.at_level(logging.INFO, "scbignn"):
        found = tl.infer_grn(adata, network, **arguments)
    assert "encoder: trained on 30 cells; squared error of hidden expression" in caplog.text
    assert found.uns["sctransnet"]["params"]["encoder"] == "transformer"
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("scbignn.tl._infer_grn.infer_links", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tl.infer_grn(adata, network, checkpoint_dir=folder, **arguments)
    assert [file.name for file in folder.iterdir()] == ["scbignn-encoder-0.safetensors"]
    unseen = AnnData(np.zeros((adata.n_obs, 1)), obs=adata.obs[[]])
    more = anndata.concat([adata, unseen], axis=1, merge="first")
    with pytest.raises(ValueError, match="differs from this one in expression"):
        tl.infer_grn(more, network, checkpoint_dir=folder, **arguments)
    again = tl.infer_grn(adata, network, checkpoint_dir=folder, **arguments)
    assert not folder.exists()
    np.testing.assert_array_equal(again.varp["sctransnet"].toarray(), found.varp["sctransnet"].toarray())


def test_what_another_run_keeps_in_the_folder_stays(data, tmp_path):
    adata, network = data
    kept = Keeper(tmp_path / "scbignn-em.safetensors", {"seed": 0}, torch.Generator())
    kept.finish_stage({"a": torch.ones(2)}, [])
    tl.infer_grn(adata, network, config=RIDGE, checkpoint_dir=tmp_path, copy=True)
    assert [file.name for file in tmp_path.iterdir()] == ["scbignn-em.safetensors"]


def test_every_way_of_pooling_runs(data):
    adata, network = data
    small = {"encoder_width": 8, "encoder_layers": 1, "encoder_heads": 2, "encoder_epochs": 1, "n_encoded_cells": 10}
    small |= {
        "members": ("gnn",),
        "n_folds": 2,
        "n_inner_folds": 2,
        "n_epochs": 3,
        "penalties": (10.0,),
        "layer": "gat",
    }
    scores = []
    for pooling in ("attention", "mean", "learned"):
        config = Config(pooling=pooling, n_representative=4, **small)
        found = tl.infer_grn(adata, network, encoder="transformer", config=config, n_edges=10**6, copy=True)
        scores.append(found.varp["sctransnet"].toarray())
        assert found.uns["sctransnet"]["params"]["config"]["pooling"] == pooling
    assert len({values.tobytes() for values in scores}) == 3


@pytest.fixture
def grouped(data):
    adata = data[0].copy()
    adata.obs["kind"] = pd.Categorical(np.r_[["b/c"] * 40, ["a"] * 25, ["few"] * 10, [None] * 5], ["few", "b/c", "a"])
    return adata, data[1]


def test_groups_get_networks_of_their_own(grouped, caplog, tmp_path):
    adata, network = grouped
    with caplog.at_level(logging.INFO, "scbignn"):
        found = tl.infer_grn(adata, network, groupby="kind", config=RIDGE, copy=True)
    assert "groups of fewer than 20 cells are left out ('few')" in caplog.text
    assert "b/c (40 cells): hidden edges" in caplog.text
    groups = found.uns["sctransnet"]["groups"]
    assert groups["group"].to_dict() == {"sctransnet_0": "b/c", "sctransnet_1": "a"}
    assert groups["n_cells"].tolist() == [40, 25]
    table = get.grn(found)
    assert list(dict.fromkeys(table["group"])) == ["b/c", "a"]
    assert table.columns[:3].tolist() == ["group", "source", "target"]
    # Each is what the same cells give by themselves.
    for key, name in groups["group"].items():
        alone = tl.infer_grn(adata[adata.obs["kind"] == name].copy(), network, config=RIDGE, copy=True)
        assert (found.varp[key] != alone.varp["sctransnet"]).nnz == 0
        assert get.grn_metrics(found, key=key).equals(get.grn_metrics(alone))
        own = table[table["group"] == name].drop(columns="group").reset_index(drop=True)
        pd.testing.assert_frame_equal(own, get.grn(alone))
    with pytest.raises(KeyError, match=r"holds networks of groups. Pass the key of one: 'sctransnet_0' \(b/c\)"):
        get.grn_metrics(found)
    found.write_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(get.grn(anndata.read_h5ad(tmp_path / "a.h5ad")), table)


def test_what_an_earlier_run_left_of_groups_goes(grouped, contents):
    adata, network = grouped
    tl.infer_grn(adata, network, config=RIDGE)
    plain = contents(adata)
    tl.infer_grn(adata, network, groupby="kind", config=RIDGE)
    assert "sctransnet" not in adata.varp
    tl.infer_grn(adata, network, config=RIDGE)
    assert contents(adata) == plain


def test_groups_do_not_take_the_place_of_another_run(grouped, contents):
    adata, network = grouped
    tl.infer_grn(adata, network, config=RIDGE, key_added="net_1")
    before = contents(adata)
    with pytest.raises(ValueError, match=r"key_added='net' would overwrite the run in adata\.uns\['net_1'\]"):
        tl.infer_grn(adata, network, groupby="kind", config=RIDGE, key_added="net")
    assert contents(adata) == before
    tl.infer_grn(adata, network, groupby="kind", config=RIDGE, key_added="other")
    once = contents(adata)
    tl.infer_grn(adata, network, groupby="kind", config=RIDGE, key_added="other")  # its own groups
    assert contents(adata) == once


def test_plots_and_tables_of_one_network_want_the_key_of_a_group(grouped):
    adata, network = grouped
    tl.infer_grn(adata, network, groupby="kind", config=RIDGE)
    tf = get.grn(adata, key="sctransnet_0")["source"].iloc[0]
    for name, arguments in (("grn_out_degree", ()), ("grn_network", ()), ("grn_regulon", (tf,))):
        with pytest.raises(KeyError, match="Pass the key of one: 'sctransnet_0'"):
            getattr(pl, name)(adata, *arguments)
    with pytest.raises(KeyError, match="Pass the key of one: 'sctransnet_0'"):
        get.grn_regulon(adata, tf)
    assert len(get.grn_regulon(adata, tf, key="sctransnet_0")) > 1


def test_groups_that_cannot_be_used_are_refused(grouped, contents):
    adata, network = grouped
    adata.obs["cell"] = np.arange(80)
    adata.varp["sctransnet_1"] = np.eye(50)
    before = contents(adata)
    with pytest.raises(KeyError, match="no column 'type'"):
        tl.infer_grn(adata, network, groupby="type", config=RIDGE)
    with pytest.raises(ValueError, match=r"'cell'\] has no group of at least 20 cells"):
        tl.infer_grn(adata, network, groupby="cell", config=RIDGE)
    with pytest.raises(ValueError, match=r"would overwrite adata.varp\['sctransnet_1'\]"):
        tl.infer_grn(adata, network, groupby="kind", config=RIDGE)
    assert contents(adata) == before


def test_tfs_without_edges_are_scored_where_tfs_are_held_out(data):
    adata, network = data
    tfs = [*network["source"].unique(), "gene_3"]
    place = adata.var_names.get_loc("gene_3")
    kept = {"tfs": tfs, "config": RIDGE, "n_edges": 10**6, "copy": True}
    assert tl.infer_grn(adata, network, split="tf", **kept).varp["sctransnet"][place].nnz == 49
    found = tl.infer_grn(adata, network, split="edge", **kept)
    assert found.varp["sctransnet"][place].nnz == 0
    assert list(found.uns["sctransnet"]["network"]["without_edges"]) == ["gene_3"]


def test_the_published_part_runs(data):
    found = tl.infer_grn(data[0], data[1], config=Config.paper(n_epochs=2, n_folds=2, n_inner_folds=2), copy=True)
    assert set(found.uns["sctransnet"]["history"]["member"]) == {"network", "ridge", "gnn"}


def test_one_tf_is_enough_to_hide_edges(data):
    adata, network = data
    many = pd.DataFrame({"source": "TF_0", "target": adata.var_names[10:30]})
    assert tl.infer_grn(adata, many, config=FAST, copy=True).varp["sctransnet"].nnz == 40
    with pytest.raises(ValueError, match='hides TFs, and network has 1 .* Use split="edge" or "target"'):
        tl.infer_grn(adata, many, split="tf", config=FAST)


@pytest.mark.parametrize("n_left", [0, 3])
def test_where_all_pairs_are_known_nothing_can_be_told(data, n_left):
    adata, _ = data
    genes = adata.var_names[:20]
    full = pd.DataFrame([(tf, gene) for tf in genes[:4] for gene in genes if tf != gene], columns=["source", "target"])
    with pytest.raises(ValueError, match=f"of adata but {n_left} are edges of network, and at least 4 others"):
        tl.infer_grn(adata[:, genes].copy(), full.iloc[n_left:], config=FAST)


@pytest.mark.parametrize("split", ["edge", "target", "tf"])
def test_where_few_pairs_are_not_known_figures_of_some_parts_are_missing(data, split):
    adata, _ = data
    genes = adata.var_names[:20]
    full = pd.DataFrame([(tf, gene) for tf in genes[:4] for gene in genes if tf != gene], columns=["source", "target"])
    found = tl.infer_grn(adata[:, genes].copy(), full.iloc[4:], split=split, config=FAST, copy=True)
    assert found.varp["sctransnet"].nnz > 0
    assert np.isfinite(found.varp["sctransnet"].data).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"split": "gene"}, ValueError, "split='gene' is unknown. Use split='edge', 'target', 'tf' or 'both'"),
        ({"config": {}}, TypeError, "config is a dict"),
        ({"layer": "no"}, KeyError, "no 'no'"),
        ({"encoder": "scBERT"}, ValueError, "encoder='scBERT' is unknown"),
        ({"encoder": np.ones((50, 2))}, TypeError, "a DataFrame with a row for each gene"),
        ({"encoder": pd.DataFrame({"a": [1.0, 2.0]}, index=["x", "y"])}, ValueError, "rows for 0 of the 50 genes"),
        ({"encoder": pd.DataFrame({"a": [1.0, 2.0]}, index=["TF_0"] * 2)}, ValueError, "several rows for 'TF_0'"),
        ({"encoder": pd.DataFrame({"a": [1, np.nan]}, index=["TF_0", "TF_1"])}, ValueError, "NaN or infinite"),
        ({"encoder": pd.DataFrame({"a": ["b", "c"]}, index=["TF_0", "TF_1"])}, TypeError, "columns of numbers"),
        ({"n_edges": 0}, ValueError, "at least 1"),
        ({"n_edges": 1.5}, TypeError, "whole number"),
        ({"key_added": "a/b"}, ValueError, "key_added"),
        ({"key_added": "taken"}, ValueError, r"would overwrite adata.uns\['taken'\]"),
        ({"network": pd.DataFrame({"source": ["TF_0"], "target": ["TF_1"]})}, ValueError, "1 edge .* at least 4"),
        ({"rng": "a"}, TypeError, "rng is 'a'"),
        ({"device": "nowhere"}, ValueError, "device="),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_written(data, contents, change, error, message):
    adata = data[0].copy()
    adata.uns["taken"] = 1
    before = contents(adata)
    arguments = {"network": data[1], "config": FAST} | change
    with pytest.raises(error, match=message):
        tl.infer_grn(adata, **arguments)
    assert contents(adata) == before


def test_negative_values_are_refused(data):
    adata = data[0].copy()
    adata.X = sp.csr_matrix(adata.X.toarray() - 1)
    with pytest.raises(ValueError, match="negative values"):
        tl.infer_grn(adata, data[1], config=FAST)


def test_few_cells_say_little(data, caplog):
    adata, network = data
    with caplog.at_level("WARNING", "scbignn"):
        tl.infer_grn(adata[:19], network, config=RIDGE, copy=True)
    assert "19 cells say next to nothing of how genes go together" in caplog.text
    caplog.clear()
    tl.infer_grn(adata[:20], network, config=RIDGE, copy=True)
    assert caplog.text == ""
