import doctest
import inspect
import logging
import re

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData
from sklearn.metrics import adjusted_rand_score
from small import CLUSTERING_NETWORK

import scbignn
from scbignn import get
from scbignn.clustering import Config

QUICK = Config(n_anchors=20, n_anchor_sets=2, n_components=6, n_resamples=2, max_clusters=5)
CONFIGS = {"anchors": QUICK, "network": CLUSTERING_NETWORK}


@pytest.fixture(params=CONFIGS)
def config(request):
    return CONFIGS[request.param]


@pytest.fixture
def cells():
    """Ninety cells of three types that are easy to tell apart."""
    return scbignn.datasets.simulated(n_cells=90, n_genes=60, fold_change=20.0)


def results(adata, key="bgformer"):
    table = pd.concat([adata.obs[[key, f"{key}_confidence"]], adata.obsm[f"{key}_proba"]], axis=1)
    return table.set_axis(["cluster", "confidence", *adata.obsm[f"{key}_proba"].columns], axis=1)


def assert_same(one, other, key="bgformer", **tolerance):
    pd.testing.assert_frame_equal(results(one, key), results(other, key), **(tolerance or {"check_exact": True}))


# --- slots ----------------------------------------------------------------------------------------------------------


def test_the_slots_written_are_those_of_the_docstring(furnished, config, contents):
    before = contents(furnished)
    assert scbignn.tl.cluster(furnished, 3, config=config) is None
    after = contents(furnished)
    assert {slot: after[slot] for slot in before if slot != ("obs columns", "")} == {
        slot: value for slot, value in before.items() if slot != ("obs columns", "")
    }
    documented = set(re.findall(r"`adata\.(\w+)\['(\w+)'\]`", inspect.getdoc(scbignn.tl.cluster)))
    without = set() if config.network else {("obsm", "bgformer_attention")}
    assert set(after) - set(before) == documented - without
    assert len(documented) == 7


def test_types_and_shapes(cells, config):
    scbignn.tl.cluster(cells, 3, config=config)
    assert cells.obs["bgformer"].cat.categories.tolist() == ["0", "1", "2"]
    sizes = cells.obs["bgformer"].value_counts(sort=False).tolist()
    assert sizes == sorted(sizes, reverse=True)
    assert cells.obs["bgformer_confidence"].dtype == np.float32
    assert cells.obs["bgformer_confidence"].between(1 / 3, 1.0001).all()
    p = cells.obsm["bgformer_proba"]
    assert (p.dtypes == np.float32).all()
    assert p.index.equals(cells.obs_names)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-5)
    assert (p.idxmax(axis=1) == cells.obs["bgformer"].astype(str)).all()
    assert cells.obsm["X_bgformer"].shape == (90, 8 if config.network else 3)
    assert cells.obsm["X_bgformer"].dtype == np.float32
    graph = cells.obsm["bgformer_anchors"]
    assert (graph.format, graph.dtype) == ("csr", np.float32)
    np.testing.assert_allclose(graph.sum(1), 1, rtol=1e-5)
    run = cells.uns["bgformer"]
    assert run["version"] == scbignn.__version__
    assert run["expression"] == {"slot": "X", "kind": "counts", "base": ""}
    assert run["params"]["n_clusters"] == 3
    assert "n_clusters_evidence" not in run
    n = graph.shape[1]
    anchors = run["anchors"]
    assert (len(anchors["vectors"]), len(anchors["memberships"]), len(anchors["usage"])) == (n, n, n)
    assert anchors["usage"].sum() == pytest.approx(1)
    assert anchors["genes"].shape == (n, 5)
    assert set(anchors["genes"].ravel()) <= set(cells.var_names)
    assert len(run["history"]) == (2 if config.network else 0)
    if config.network:
        assert cells.obsm["bgformer_attention"].shape == (90, 4)
        assert "stability" not in run["clusters"]
    else:
        assert run["clusters"]["stability"].between(0, 1).all()


def test_types_are_found(cells):
    scbignn.tl.cluster(cells, 3, config=QUICK)
    assert adjusted_rand_score(cells.obs["truth"], cells.obs["bgformer"]) == 1
    np.testing.assert_allclose(cells.uns["bgformer"]["clusters"]["stability"], 1)


def test_nearest_genes_are_markers(cells):
    scbignn.tl.cluster(cells, 3, config=QUICK)
    anchors = cells.uns["bgformer"]["anchors"]
    for number, name in enumerate(cells.obs["bgformer"].cat.categories):
        kind = cells.obs["truth"][cells.obs["bgformer"] == name].iloc[0]
        own = anchors["genes"][anchors["memberships"].argmax(1) == number]
        assert np.mean(cells.var["marker_of"][own.ravel()] == kind) > 0.6  # by chance 0.1


def test_the_number_is_estimated(cells):
    scbignn.tl.cluster(cells, config=QUICK)
    run = cells.uns["bgformer"]
    assert run["params"]["n_clusters"] == "estimated"
    assert run["n_clusters_evidence"]["n_clusters"].tolist() == [2, 3, 4, 5]
    assert cells.obs["bgformer"].nunique() == 3


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore::UserWarning:anndata", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_files_hold_all_of_it(cells, config, tmp_path, form, contents):
    scbignn.tl.cluster(cells, None if not config.network else 3, config=config)
    path = tmp_path / f"cells.{form}"
    if form == "h5ad":
        cells.write_h5ad(path)
        again = anndata.read_h5ad(path)
    else:
        cells.write_zarr(path)
        again = anndata.read_zarr(path)
    assert_same(cells, again)
    np.testing.assert_array_equal(again.obsm["bgformer_anchors"].toarray(), cells.obsm["bgformer_anchors"].toarray())
    pd.testing.assert_frame_equal(get.clusters(again), get.clusters(cells))
    assert again.uns["bgformer"]["params"]["config"]["n_anchors"] == 20
    scbignn.tl.cluster(again, 3, config=config)  # an earlier run is overwritten


# --- what is known beforehand ---------------------------------------------------------------------------------------


def shown(cells, n=4):
    """The truth of some cells of each type, else "Unknown"; of the first of them it is wrong."""
    column = cells.obs["truth"].astype(str).astype(object)
    first = column.groupby(column, observed=True).cumcount() < n
    names = sorted(column.unique())
    column = column.where(first, "Unknown")
    column.iloc[0] = next(name for name in names if name != column.iloc[0])
    return column


def test_labels_make_clusters_that_hold_their_cells(cells):
    cells.obs["shown"] = shown(cells)
    scbignn.tl.cluster(cells, 4, labels_key="shown", config=QUICK)
    table = get.clusters(cells)
    assert sorted(table["label"]) == ["", *sorted(set(cells.obs["shown"]) - {"Unknown"})]
    cluster_of = table.set_index("label")["cluster"]
    labelled = cells.obs[cells.obs["shown"] != "Unknown"]
    assert (labelled["bgformer"].astype(str) == labelled["shown"].map(cluster_of)).all()
    assert cells.obsm["bgformer_proba"].idxmax(axis=1).equals(cells.obs["bgformer"].astype(str))
    # The cell with a wrong label is held against what its anchors say, and nothing else is drawn along.
    assert cells.obs["bgformer_confidence"].iloc[0] == 1
    of_types = cells[cells.obs["bgformer"] != cluster_of[""]][1:].obs
    assert (of_types["bgformer"].astype(str) == of_types["truth"].astype(str).map(cluster_of)).mean() > 0.95
    assert cells.uns["bgformer"]["params"]["labels_key"] == "shown"


def treated(cells):
    """Every other cell is of a batch in which a fifth of the genes are expressed far more."""
    cells.obs["batch"] = np.where(np.arange(90) % 2, "treated", "control")
    counts = cells.X.toarray()
    counts[1::2, ::5] += 20
    cells.X = sp.csr_matrix(counts)
    return cells


def test_cells_of_a_type_meet_across_batches(cells, tmp_path):
    cells = treated(cells)
    found = {}
    for key in (None, "batch"):
        scbignn.tl.cluster(cells, 3, config=QUICK, batch_key=key)
        found[key] = adjusted_rand_score(cells.obs["truth"], cells.obs["bgformer"])
    assert found[None] < 0.7
    assert found["batch"] == 1
    assert cells.uns["bgformer"]["params"]["batch_key"] == "batch"
    assert cells.obsm["bgformer_anchors"].shape[1] == len(cells.uns["bgformer"]["anchors"]["usage"])
    model = scbignn.tl.fit_clusters(cells, 3, config=QUICK, batch_key="batch")
    model.save(tmp_path / "model")
    del cells.obs["batch"]
    again = cells.copy()
    scbignn.tl.predict_clusters(again, scbignn.read_model(tmp_path / "model"))
    assert_same(again, cells)


def test_the_number_of_clusters_across_batches(cells):
    scbignn.tl.cluster(treated(cells), config=QUICK, batch_key="batch")
    assert cells.obs["bgformer"].nunique() == 3


@pytest.mark.parametrize("sizes", [(90,), (88, 2)])
def test_batches_that_change_nothing_are_told(cells, caplog, sizes):
    scbignn.tl.cluster(cells, 3, config=QUICK)
    before = results(cells)
    cells.obs["batch"] = np.repeat(["a", "b"][: len(sizes)], sizes)
    with caplog.at_level("WARNING", logger="scbignn"):
        scbignn.tl.cluster(cells, 3, config=QUICK, batch_key="batch")
    assert "nothing" in caplog.text
    pd.testing.assert_frame_equal(results(cells), before)


def test_the_number_is_at_least_that_of_labels(cells):
    cells.obs["shown"] = [f"label_{number}" if number < 5 else None for number in range(90)]
    scbignn.tl.cluster(cells, labels_key="shown", config=QUICK)
    assert cells.obs["bgformer"].nunique() >= 5
    assert cells.obs["bgformer"].iloc[:5].nunique() == 5


def test_anchors_are_at_least_twice_as_many_as_labels(cells):
    cells.obs["shown"] = [f"label_{number}" if number < 12 else None for number in range(90)]
    config = Config(n_anchor_sets=2, n_partitions=1, n_resamples=0)
    scbignn.tl.cluster(cells, labels_key="shown", config=config)
    found = cells.uns["bgformer"]["anchors"]["vectors"]
    scbignn.tl.cluster(cells, 12, labels_key="shown", config=config)
    assert len(found) == len(cells.uns["bgformer"]["anchors"]["vectors"]) == 2 * 24
    with pytest.raises(ValueError, match="12 labels are more than the 10 anchors there are as n_anchors says"):
        scbignn.tl.cluster(cells, labels_key="shown", n_anchors=10, config=config)


def test_pairs_hold(cells):
    names = cells.obs_names
    by_type = [names[cells.obs["truth"] == name] for name in cells.obs["truth"].unique()]
    together = [(by_type[0][0], by_type[1][0]), (by_type[1][0], by_type[2][3])]
    apart = [(by_type[0][1], by_type[0][2]), (by_type[2][4], by_type[2][5])]
    scbignn.tl.cluster(cells, 3, must_link=together, cannot_link=apart, config=QUICK)
    found = cells.obs["bgformer"].astype(str)
    assert all(found[one] == found[other] for one, other in together)
    assert all(found[one] != found[other] for one, other in apart)
    assert adjusted_rand_score(cells.obs["truth"], found) > 0.85
    assert "label" not in get.clusters(cells)


def test_a_model_of_partly_labelled_cells(cells, tmp_path):
    cells.obs["shown"] = shown(cells)
    scbignn.tl.cluster(cells, 3, labels_key="shown", config=QUICK)
    model = scbignn.tl.fit_clusters(cells, 3, labels_key="shown", config=QUICK)
    model.save(tmp_path / "model")
    scbignn.tl.predict_clusters(cells, scbignn.read_model(tmp_path / "model"), key_added="again")
    same = cells.obs["bgformer"].astype(str) == cells.obs["again"].astype(str)
    assert same.iloc[1:].all()
    assert not same.iloc[0]  # a model knows anchors, not what single cells were said to be


# --- what does not matter -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["dense", "csr_array", "csc", "int64", "float64", "log1p", "layer"])
def test_forms_of_the_matrix_do_not_matter(cells, form):
    other = cells.copy()
    dense = cells.X.toarray()
    arguments = {}
    if form == "layer":
        other.layers["counts"] = other.X
        other.X = np.zeros_like(dense)
        arguments = {"layer": "counts"}
    elif form == "log1p":
        other.X = np.log1p(dense)
    else:
        other.X = {
            "dense": dense,
            "csr_array": sp.csr_array(cells.X),
            "csc": sp.csc_matrix(cells.X),
            "int64": sp.csr_matrix(cells.X, dtype=np.int64),
            "float64": dense.astype(np.float64),
        }[form]
    scbignn.tl.cluster(cells, 3, config=QUICK)
    scbignn.tl.cluster(other, 3, config=QUICK, **arguments)
    assert_same(cells, other, rtol=1e-3, atol=1e-3)


def test_a_backed_file_is_read_in_parts(cells, tmp_path, monkeypatch):
    monkeypatch.setattr("scbignn.clustering._scores.CHUNK", 16)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    scbignn.tl.cluster(backed, 3, config=QUICK)
    scbignn.tl.cluster(cells, 3, config=QUICK)
    assert_same(cells, backed)
    backed.file.close()


def test_dask_is_read_in_parts(cells):
    da = pytest.importorskip("dask.array")
    other = cells.copy()
    other.X = da.from_array(cells.X.toarray(), chunks=(25, 60)).map_blocks(sp.csr_matrix)
    scbignn.tl.cluster(other, 3, config=QUICK)
    scbignn.tl.cluster(cells, 3, config=QUICK)
    assert_same(cells, other)


def test_the_order_of_cells_and_genes_does_not_matter(cells):
    rng = np.random.default_rng(0)
    other = cells[rng.permutation(90), rng.permutation(60)].copy()
    scbignn.tl.cluster(cells, 3, config=QUICK)
    scbignn.tl.cluster(other, 3, config=QUICK)
    together = pd.crosstab(cells.obs["bgformer"], other.obs["bgformer"][cells.obs_names])
    assert (np.sort(together.to_numpy(), axis=None)[-3:] == 30).all()


def test_depth_does_not_matter(cells):
    other = cells.copy()
    other.X = sp.csr_matrix(cells.X.multiply(np.where(np.arange(90) % 2, 3.0, 1.0)[:, None]), dtype=np.float32)
    scbignn.tl.cluster(cells, 3, config=QUICK)
    scbignn.tl.cluster(other, 3, config=QUICK)
    assert adjusted_rand_score(cells.obs["bgformer"], other.obs["bgformer"]) == 1


def test_the_same_seed_gives_the_same_bits(cells, config):
    one, again = (scbignn.tl.cluster(cells, 3, config=config, rng=seed, copy=True) for seed in (4, 4))
    assert_same(one, again)
    np.testing.assert_array_equal(one.obsm["X_bgformer"], again.obsm["X_bgformer"])
    generator = scbignn.tl.cluster(cells, 3, config=config, rng=np.random.default_rng(4), copy=True)
    assert_same(one, generator)


def test_global_random_states_stay(cells, config):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    scbignn.tl.cluster(cells, 3, config=config)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_a_copy_leaves_the_original(cells, contents):
    before = contents(cells)
    found = scbignn.tl.cluster(cells, 3, config=QUICK, copy=True, key_added="mine")
    assert contents(cells) == before
    assert {"mine", "mine_confidence"} <= set(found.obs)
    assert {"X_mine", "mine_proba", "mine_anchors"} <= set(found.obsm)
    assert "mine" in found.uns


@pytest.mark.filterwarnings("ignore:Trying to modify attribute `.obs` of view:anndata.ImplicitModificationWarning")
def test_a_view_becomes_an_anndata_of_its_own(cells):
    view = cells[:60]
    scbignn.tl.cluster(view, 3, config=QUICK)
    assert not view.is_view
    assert "bgformer" not in cells.obs


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_error_all_is_as_before(cells, contents, monkeypatch, error):
    scbignn.tl.cluster(cells, 3, config=CLUSTERING_NETWORK)
    before = contents(cells)

    def fail(*_, **__):
        raise error

    monkeypatch.setattr("scbignn._adata._clustering.pd.Categorical.from_codes", fail)
    with pytest.raises(error):
        scbignn.tl.cluster(cells, 2, config=QUICK)
    assert contents(cells) == before


def test_slots_that_a_run_does_not_fill_are_emptied(cells):
    scbignn.tl.cluster(cells, 3, config=CLUSTERING_NETWORK)
    assert "bgformer_attention" in cells.obsm
    scbignn.tl.cluster(cells, 3, config=QUICK)
    assert "bgformer_attention" not in cells.obsm


def test_arguments_reach_the_config(cells):
    scbignn.tl.cluster(cells, 3, config=QUICK, n_top_genes=20, n_anchors=12)
    assert cells.uns["bgformer"]["params"]["config"]["n_top_genes"] == 20
    assert cells.obsm["bgformer_anchors"].shape == (90, 24)


def test_what_is_logged(cells, caplog):
    with caplog.at_level(logging.INFO, "scbignn"):
        scbignn.tl.cluster(cells, 3, config=QUICK)
    memory, first, last = (record.getMessage() for record in caplog.records)
    assert memory.startswith("cluster: about ")
    assert first == "cluster: 90 cells into 3 clusters; adata.X holds counts; on cpu"
    assert last.startswith("cluster: done in ")
    assert "obs['bgformer'], obs['bgformer_confidence']" in last
    assert "attention" not in last


@pytest.mark.parametrize("name", ["cluster", "fit_clusters"])
def test_the_example_runs(name):
    function = getattr(scbignn.tl, name)
    tests = doctest.DocTestFinder().find(function, name, globs={})
    assert sum(len(test.examples) for test in tests) > 2
    runner = doctest.DocTestRunner()
    for test in tests:
        runner.run(test)
    assert runner.summarize().failed == 0


# --- what is refused ------------------------------------------------------------------------------------------------

ARGUMENTS = {
    "no clusters": ({"n_clusters": 0}, ValueError, ["n_clusters=0", "at least 2", "None"]),
    "one cluster": ({"n_clusters": 1}, ValueError, ["n_clusters=1", "at least 2"]),
    "a negative number": ({"n_clusters": -3}, ValueError, ["n_clusters=-3"]),
    "more than the cells": ({"n_clusters": 91}, ValueError, ["n_clusters=91", "90"]),
    "more than the anchors": ({"n_clusters": 30}, ValueError, ["more than the 20 anchors", "at most 20"]),
    "half a cluster": ({"n_clusters": 2.5}, TypeError, ["n_clusters=2.5", "integer"]),
    "text": ({"n_clusters": "8"}, TypeError, ["n_clusters='8'", "integer"]),
    "a bool": ({"n_clusters": True}, TypeError, ["n_clusters=True"]),
    "a layer that is not there": ({"layer": "counts"}, KeyError, ["adata.layers has no 'counts'"]),
    "a config of the other wing": (
        {"config": scbignn.annotation.Config()},
        TypeError,
        ["scbignn.annotation", "scbignn.clustering.Config"],
    ),
    "no anchors": ({"n_anchors": 0}, ValueError, ["n_anchors=0", "integer >= 1"]),
    "no genes": ({"n_top_genes": 0}, ValueError, ["n_top_genes=0"]),
    "labels that are not there": ({"labels_key": "nope"}, KeyError, ["no column 'nope'", "labels_key"]),
    "labels that would be overwritten": (
        {"labels_key": "truth", "key_added": "truth"},
        ValueError,
        ["would overwrite the labels"],
    ),
    "fewer clusters than labels": ({"labels_key": "truth", "n_clusters": 2}, ValueError, ["less than the 3 labels"]),
    "labels with a network": (
        {"labels_key": "truth", "config": CLUSTERING_NETWORK},
        ValueError,
        ["no use to a network", "Config()"],
    ),
    "labels with a majority": (
        {"labels_key": "truth", "config": Config(n_partitions=3)},
        ValueError,
        ["majority of n_partitions=3", "use n_partitions=1"],
    ),
    "pairs with a network": ({"must_link": [], "config": CLUSTERING_NETWORK}, ValueError, ["no use to a network"]),
    "batches with a network": (
        {"batch_key": "batch", "config": CLUSTERING_NETWORK},
        ValueError,
        ["no use to a network", "Config()"],
    ),
    "batches that are not there": ({"batch_key": "nope"}, KeyError, ["no column 'nope'", "batch_key"]),
    "no pairs": ({"must_link": "cell_1"}, TypeError, ["must_link is a str", "Pass pairs of names"]),
    "three of a pair": ({"cannot_link": [("a", "b", "c")]}, ValueError, ["cannot_link holds ('a', 'b', 'c')"]),
    "one of a pair": ({"cannot_link": ["ab"]}, ValueError, ["cannot_link holds ('ab',)"]),
    "a cell that is not there": ({"must_link": [("cell_0", "nobody")]}, KeyError, ["'nobody', which must_link names"]),
    "a cell with itself": ({"must_link": [("cell_0", "cell_0")]}, ValueError, ["pairs 'cell_0' with itself"]),
    "a contradiction": (
        {"must_link": [("cell_0", "cell_1")], "cannot_link": [("cell_1", "cell_0")]},
        ValueError,
        ["cannot_link parts", "Leave out one"],
    ),
    "no place": (
        {"n_clusters": 2, "cannot_link": [("cell_0", "cell_1"), ("cell_0", "cell_2"), ("cell_1", "cell_2")]},
        ValueError,
        ["no place in 2 clusters", "n_clusters="],
    ),
    "no seed": ({"rng": "a"}, TypeError, ["rng is 'a'"]),
    "no device": ({"device": "gpu"}, ValueError, ["device='gpu' cannot be used"]),
    "a key with a slash": ({"key_added": "a/b"}, ValueError, ["key_added='a/b'"]),
    "a key of the user's": ({"key_added": "truth"}, ValueError, ["would overwrite adata.obs['truth']"]),
    "a slot of the user's": ({"key_added": "pca"}, ValueError, ["would overwrite adata.obsm['X_pca']"]),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_that_are_refused(cells, contents, case):
    arguments, error, fragments = ARGUMENTS[case]
    cells.obsm["X_pca"] = np.zeros((90, 2))
    cells.obs["batch"] = np.repeat(["a", "b"], 45)
    before = contents(cells)
    with pytest.raises(error) as caught:
        scbignn.tl.cluster(cells, **{"n_clusters": 3, "config": QUICK} | arguments)
    assert [part for part in fragments if part not in str(caught.value.args[0])] == []
    assert contents(cells) == before


def spoil(adata, how):
    if how == "empty cell":
        adata.X[3] = 0
    elif how == "NaN":
        adata.X[3, 4] = np.nan
    elif how == "infinite":
        adata.X[3, 4] = np.inf
    elif how == "negative":
        adata.X[3, 4] = -1
    elif how == "scaled":
        adata.X = (adata.X - adata.X.mean(0)) / (adata.X.std(0) + 1e-6)
    elif how == "cells twice":
        adata.obs_names = ["a", *adata.obs_names[1:-1], "a"]
    elif how == "genes twice":
        adata.var_names = ["a", *adata.var_names[1:-1], "a"]
    elif how == "nothing varies":
        adata.X = np.ones_like(adata.X)
    elif how == "text":
        adata.X = None
    return adata


DATA = {
    "empty cell": ["1 cells have no counts", "filter_cells"],
    "NaN": ["NaN or infinite"],
    "infinite": ["NaN or infinite"],
    "negative": ["negative values"],
    "scaled": ["negative values", "scaled"],
    "cells twice": ["cell names occur more than once", "obs_names_make_unique"],
    "genes twice": ["gene names occur more than once", "var_names_make_unique"],
    "nothing varies": ["0 of 60 genes vary"],
    "text": ["adata.X is empty"],
}


@pytest.mark.parametrize("how", DATA)
def test_data_that_are_refused(cells, contents, how):
    cells.X = cells.X.toarray()
    adata = spoil(cells, how)
    before = contents(adata)
    with pytest.raises(ValueError) as caught:
        scbignn.tl.cluster(adata, 3, config=QUICK)
    assert [part for part in DATA[how] if part not in str(caught.value)] == []
    assert contents(adata) == before


@pytest.mark.parametrize(
    ("adata", "error", "message"),
    [
        (np.ones((3, 3)), TypeError, "not an AnnData"),
        (AnnData(np.ones((0, 3))), ValueError, "no cells"),
        (AnnData(np.ones((3, 0))), ValueError, "no genes"),
        (AnnData(np.ones((1, 3))), ValueError, "1 cell, which makes no clusters"),
    ],
)
def test_what_is_no_data(adata, error, message):
    with pytest.raises(error, match=message):
        scbignn.tl.cluster(adata)


def test_genes_without_counts_change_nothing(cells):
    other = cells.copy()
    more = sp.hstack([cells.X, sp.csr_matrix((90, 5), dtype=np.float32)], format="csr")
    other = AnnData(more, obs=cells.obs, var=pd.DataFrame(index=[*cells.var_names, *"abcde"]))
    scbignn.tl.cluster(cells, 3, config=QUICK)
    scbignn.tl.cluster(other, 3, config=QUICK)
    assert_same(cells, other)


def test_cells_that_occur_twice(cells):
    twice = anndata.concat([cells, cells], index_unique="-")
    scbignn.tl.cluster(twice, 3, config=QUICK)
    assert (twice.obs["bgformer"][:90].to_numpy() == twice.obs["bgformer"][90:].to_numpy()).all()


def test_a_run_of_the_other_wing_is_not_overwritten(cells):
    cells.uns["bgformer"] = {"gene_importance": 1}
    with pytest.raises(ValueError, match=r"would overwrite adata\.uns\['bgformer'\]"):
        scbignn.tl.cluster(cells, 3, config=QUICK)
