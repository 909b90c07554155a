import dataclasses
import doctest
import inspect
import logging
import os
import re
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
import torch
from anndata import AnnData
from small import FAST

import scbignn
from scbignn import get
from scbignn.annotation import Config, _guard
from scbignn.graph import choose_engine, connectivities, nearest_neighbors

COLUMNS = ["scbignn", "scbignn_confidence", "scbignn_entropy", "scbignn_disagreement"]


def has_dgl() -> bool:
    return choose_engine("auto", torch.device("cpu")) == "dgl"


def results(adata, key="scbignn"):
    """All numbers of a run in one table."""
    table = get.annotation(adata, key=key, probabilities=True)
    return pd.concat([table, pd.DataFrame(adata.obsm[f"X_{key}"], index=table.index)], axis=1)


def assert_same_run(one, other, key="scbignn", other_key="scbignn"):
    pd.testing.assert_frame_equal(results(one, key), results(other, other_key), check_exact=True)
    pd.testing.assert_frame_equal(get.history(one, key=key), get.history(other, key=other_key), check_exact=True)
    pd.testing.assert_frame_equal(
        get.gene_importance(one, key=key), get.gene_importance(other, key=other_key), check_exact=True
    )


# --- slots ----------------------------------------------------------------------------------------------------------


def test_the_slots_written_are_those_of_the_docstring(furnished, fast, contents):
    furnished.uns["cell_type_colors"] = ["#000000", "#111111", "#222222", "#333333"]
    before = contents(furnished)
    assert scbignn.tl.annotate(furnished, "cell_type", config=fast) is None
    after = contents(furnished)
    assert {slot: after[slot] for slot in before} == before
    documented = re.findall(r"`adata\.(\w+)\['(\w+)'\]`", inspect.getdoc(scbignn.tl.annotate))
    novelty = {("obs", "scbignn_novelty")}
    assert set(after) - set(before) == set(documented) - (set() if fast.cross_fit_folds else novelty)
    assert len(documented) == 13


def test_types_and_shapes(annotated):
    n, m, c = annotated.n_obs, annotated.n_vars, 3
    assert [str(annotated.obs[name].dtype) for name in COLUMNS] == ["category", "float32", "float32", "float32"]
    assert annotated.obsm["X_scbignn"].dtype == np.float32
    assert annotated.obsm["X_scbignn"].shape == (n, 16)
    for name in ("scbignn_proba", "scbignn_proba_q"):
        table = annotated.obsm[name]
        assert table.shape == (n, c)
        assert (table.dtypes == np.float32).all()
        assert table.columns.tolist() == ["type 0", "type 1", "type 2"]
        assert table.index.equals(annotated.obs_names)
    for matrix, size in (
        (annotated.obsp["scbignn_distances"], n),
        (annotated.obsp["scbignn_connectivities"], n),
        (annotated.varp["scbignn_attention"], m),
    ):
        assert sp.issparse(matrix)
        assert (matrix.format, matrix.dtype, matrix.shape) == ("csr", np.float32, (size, size))
    run = annotated.uns["scbignn"]
    assert {"params", "labels", "history", "gene_importance", "homophily", "expression", "mode", "version"} <= set(run)
    assert (run["mode"], run["version"]) == ("transductive", scbignn.__version__)
    assert run["expression"] == {"slot": "X", "kind": "counts", "base": ""}
    assert list(run["labels"]) == ["type 0", "type 1", "type 2"]


@pytest.mark.parametrize("learned", [True, False])
def test_ranges_of_probabilities(annotated, adata, fast, learned):
    if not learned:
        scbignn.tl.annotate(adata, "cell_type", config=fast)
    run = annotated if learned else adata
    p, q = (run.obsm[name].to_numpy(dtype=np.float64) for name in ("scbignn_proba", "scbignn_proba_q"))
    for probabilities in (p, q):
        np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
        assert probabilities.min() >= 0
    assert run.obs["scbignn"].tolist() == [f"type {code}" for code in p.argmax(1)]
    np.testing.assert_allclose(run.obs["scbignn_confidence"], p.max(1), atol=1e-6)
    assert run.obs["scbignn_confidence"].between(1 / 3, 1).all()

    def entropy(x):
        return -np.sum(x * np.log2(np.maximum(x, 1e-300)), axis=1)

    np.testing.assert_allclose(run.obs["scbignn_entropy"], entropy(p) / np.log2(3), atol=1e-5)
    divergence = entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2
    np.testing.assert_allclose(run.obs["scbignn_disagreement"], divergence, atol=1e-5)
    assert run.obs["scbignn_entropy"].between(0, 1).all()
    assert run.obs["scbignn_disagreement"].between(0, 1).all()


def test_labels_are_found_again(annotated):
    hidden = (annotated.obs["cell_type"] == "Unknown").to_numpy()
    right = annotated.obs["scbignn"].astype(str) == annotated.obs["truth"].astype(str)
    assert hidden.sum() == 90
    assert right[hidden].mean() > 0.8  # by chance: 1 / 3
    assert right[~hidden].mean() > 0.8
    assert not annotated.obs["scbignn"].isna().any()


def test_learned_graph_joins_cells_of_one_type(annotated):
    truth = annotated.obs["truth"].cat.codes.to_numpy()
    assert scbignn.graph.homophily(annotated.obsp["scbignn_distances"], truth) > 0.7  # by chance: 1 / 3


def test_categories_are_all_known_labels_in_natural_order(fast):
    adata = scbignn.datasets.simulated(n_cells=72, n_genes=60, n_types=12, rng=1)
    scbignn.tl.annotate(adata, "cell_type", config=dataclasses.replace(fast, n_rounds=0))
    labels = [f"type {number}" for number in range(12)]
    assert adata.obs["scbignn"].cat.categories.tolist() == labels
    assert not adata.obs["scbignn"].cat.ordered
    assert adata.obsm["scbignn_proba"].columns.tolist() == labels
    assert adata.obs["scbignn"].nunique() < 12  # so the categories do not come from the predictions


def test_distances_hold_k_others_in_each_row(annotated):
    distances = annotated.obsp["scbignn_distances"]
    assert np.diff(distances.indptr).tolist() == [4] * annotated.n_obs
    rows = np.repeat(np.arange(annotated.n_obs), 4)
    assert not (distances.indices == rows).any()
    h = annotated.obsm["X_scbignn"].astype(np.float64)
    expected = np.linalg.norm(h[rows] - h[distances.indices], axis=1)
    np.testing.assert_allclose(distances.data, expected, rtol=1e-3, atol=1e-4)


def test_connectivities_are_symmetric_weights_of_the_same_edges(annotated):
    weights, distances = annotated.obsp["scbignn_connectivities"], annotated.obsp["scbignn_distances"]
    assert (weights != weights.T).nnz == 0
    assert weights.diagonal().max() == 0
    assert 0 < weights.data.min() <= weights.data.max() <= 1
    assert (((weights > 0) - ((distances + distances.T) > 0)) > 0).nnz == 0
    assert weights.nnz > distances.nnz
    expected = connectivities(nearest_neighbors(annotated.obsm["X_scbignn"], 4, device=torch.device("cpu")))
    np.testing.assert_allclose(weights.toarray(), expected.toarray(), atol=1e-4)


def test_attention_is_zero_outside_the_selected_genes(annotated):
    attention = annotated.varp["scbignn_attention"]
    selected = annotated.var_names.isin(get.gene_importance(annotated)["gene"])
    assert selected.sum() == 60
    assert attention[~selected].nnz == 0
    assert attention[:, ~selected].nnz == 0
    assert 0 < attention.data.min() <= attention.data.max() <= 1


def test_colours_are_copied_by_label(annotated, adata, fast):
    assert annotated.obs["cell_type"].cat.categories[0] == "Unknown"
    assert annotated.uns["scbignn_colors"] == ["#111111", "#222222", "#333333"]
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    assert "scbignn_colors" not in adata.uns


@pytest.mark.parametrize("palette", [["#111111"], []])
def test_a_palette_that_does_not_fit_is_left_out(adata, fast, palette):
    adata.uns["cell_type_colors"] = palette
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    assert "scbignn_colors" not in adata.uns


def test_colours_of_an_earlier_run_do_not_stay(adata, fast):
    adata.uns["cell_type_colors"] = ["#000000", "#111111", "#222222", "#333333"]
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    adata.obs["other"] = adata.obs["cell_type"].astype(str).replace({"type 0": "zebra"})
    scbignn.tl.annotate(adata, "other", config=fast)
    assert "scbignn_colors" not in adata.uns


def test_no_derived_slot_overwrites_the_labels(adata, fast):
    adata.obs["x_entropy"] = adata.obs["cell_type"]
    with pytest.raises(ValueError, match="key_added"):
        scbignn.tl.annotate(adata, "x_entropy", config=fast, key_added="x")


def test_parameters_are_recorded(adata, fast):
    scbignn.tl.annotate(adata, "cell_type", config=fast, n_top_genes=25, n_neighbors=7, rng=3, backend="torch")
    params = adata.uns["scbignn"]["params"]
    config = dataclasses.replace(fast, n_top_genes=25, n_neighbors=7, target_sum=params["config"]["target_sum"])
    assert params["config"] == config.to_dict()
    assert params["config"]["target_sum"] in ([fast.target_sum] if fast.target_sum else [1e3, 1e4])
    assert (params["labels_key"], params["unlabeled_category"], params["backend"]) == ("cell_type", "Unknown", "torch")
    assert params["n_neighbors"] == 8  # scanpy counts the cell itself
    assert np.diff(adata.obsp["scbignn_distances"].indptr).tolist() == [7] * 60
    assert len(get.gene_importance(adata)) == 25


def test_arguments_win_over_the_configuration_and_leave_it_alone(adata, fast):
    before = fast.to_dict()
    scbignn.tl.annotate(adata, "cell_type", config=fast, n_top_genes=12)
    assert fast.to_dict() == before
    assert len(get.gene_importance(adata)) == 12
    assert adata.uns["scbignn"]["params"]["config"]["n_neighbors"] == fast.n_neighbors


def test_default_configuration(adata, fast, monkeypatch):
    seen = []

    def stop(x, y, n_labels, config, **_):
        seen.append(config)
        raise InterruptedError

    monkeypatch.setattr("scbignn.tl._learn.annotate_cells", stop)
    with pytest.raises(InterruptedError):
        scbignn.tl.annotate(adata, "cell_type", n_neighbors=3)
    assert seen == [Config(n_neighbors=3)]


# --- beside scanpy --------------------------------------------------------------------------------------------------


def test_umap_runs_on_the_learned_graph(annotated):
    sc.tl.umap(annotated, neighbors_key="scbignn", maxiter=20)
    assert annotated.obsm["X_umap"].shape == (180, 2)
    assert np.isfinite(annotated.obsm["X_umap"]).all()


def test_leiden_runs_on_the_learned_graph(annotated):
    pytest.importorskip("igraph")
    sc.tl.leiden(annotated, neighbors_key="scbignn", flavor="igraph", n_iterations=2)
    table = pd.crosstab(annotated.obs["leiden"], annotated.obs["truth"])
    assert table.max(axis=1).sum() / annotated.n_obs > 0.7


def test_scanpy_finds_the_neighbors(annotated):
    neighbors = sc.Neighbors(annotated, neighbors_key="scbignn")
    assert neighbors.n_neighbors == 5
    assert (neighbors.connectivities != annotated.obsp["scbignn_connectivities"]).nnz == 0
    assert (neighbors.distances != annotated.obsp["scbignn_distances"]).nnz == 0


# --- input ----------------------------------------------------------------------------------------------------------


def test_a_layer_gives_the_same_as_x(adata, fast):
    other = adata.copy()
    other.layers["counts"] = other.X
    other.X = None
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    scbignn.tl.annotate(other, "cell_type", config=fast, layer="counts")
    assert_same_run(adata, other)
    assert other.X is None
    assert other.uns["scbignn"]["expression"]["slot"] == "layers['counts']"


@pytest.mark.filterwarnings("ignore:Trying to modify attribute `.obs` of view:anndata.ImplicitModificationWarning")
def test_a_view_gives_the_same_as_its_copy_and_leaves_its_parent_alone(adata, fast, contents):
    before = contents(adata)
    some = np.arange(adata.n_obs) % 3 != 0
    view, actual = adata[some, :35], adata[some, :35].copy()
    scbignn.tl.annotate(view, "cell_type", config=fast)
    scbignn.tl.annotate(actual, "cell_type", config=fast)
    assert_same_run(view, actual)
    assert contents(adata) == before


@pytest.mark.parametrize("base", [None, 2, 10])
@pytest.mark.parametrize("recorded", [True, False])
def test_log1p_values_give_the_result_of_the_counts(adata, fast, base, recorded):
    logged = adata.copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged, base=base)
    if not recorded:
        del logged.uns["log1p"]
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    scbignn.tl.annotate(logged, "cell_type", config=fast)
    assert logged.uns["scbignn"]["expression"] == {"slot": "X", "kind": "log1p", "base": str(base or "e")}
    assert get.gene_importance(logged)["gene"].nunique() == 30
    np.testing.assert_allclose(logged.obsm["X_scbignn"], adata.obsm["X_scbignn"], rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(logged.obsm["scbignn_proba_q"], adata.obsm["scbignn_proba_q"], atol=1e-2)


def test_linear_values_give_the_result_of_the_counts(adata, fast):
    linear = adata.copy()
    sc.pp.normalize_total(linear, target_sum=1e4)
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    scbignn.tl.annotate(linear, "cell_type", config=fast)
    assert linear.uns["scbignn"]["expression"]["kind"] == "normalized"
    np.testing.assert_allclose(linear.obsm["X_scbignn"], adata.obsm["X_scbignn"], rtol=1e-2, atol=1e-2)


def test_hidden_labels_are_never_read(adata, fast):
    other = adata.copy()
    hidden = (other.obs["cell_type"] == "Unknown").to_numpy()
    other.obs["cell_type"] = other.obs["cell_type"].astype(object).where(~hidden, None)
    other.obs["truth"] = "nonsense"
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    scbignn.tl.annotate(other, "cell_type", config=fast)
    assert_same_run(adata, other)


@pytest.mark.parametrize(("n_cells", "n_neighbors"), [(10, 5), (10, 9), (6, 2)])
def test_few_cells(fast, n_cells, n_neighbors):
    adata = scbignn.datasets.simulated(n_cells=n_cells, n_genes=40, n_types=2)
    scbignn.tl.annotate(adata, "cell_type", config=fast, n_neighbors=n_neighbors)
    assert not adata.obs["scbignn"].isna().any()
    assert np.diff(adata.obsp["scbignn_distances"].indptr).tolist() == [n_neighbors] * n_cells


def test_two_genes(adata, fast):
    few = adata[:, np.argsort(-adata.X.mean(0).A1)[:2]].copy()
    few = few[few.X.sum(1).A1 > 0].copy()
    scbignn.tl.annotate(few, "cell_type", config=fast)
    assert len(get.gene_importance(few)) == 2


def test_one_gene(adata, fast):
    one = adata[:, [np.argmax(adata.X.mean(0))]].copy()
    one = one[one.X.sum(1).A1 > 0].copy()
    scbignn.tl.annotate(one, "cell_type", config=fast)
    assert len(get.gene_importance(one)) == 1


def test_cells_that_are_all_alike(adata, fast):
    adata.X = np.ones(adata.shape, dtype=np.float32)
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    assert np.isfinite(adata.obsm["scbignn_proba"]).all(axis=None)


@pytest.mark.parametrize("number", [np.int64(6), np.int32(6)])
def test_numpy_integers(adata, fast, number):
    scbignn.tl.annotate(adata, "cell_type", config=fast, n_neighbors=number)
    assert np.diff(adata.obsp["scbignn_distances"].indptr).tolist() == [6] * 60


def test_a_label_on_one_cell_is_kept(adata, fast, caplog):
    labels = adata.obs["cell_type"].astype(str)
    labels.iloc[[0, 1, 2]] = ["rare", "type 1", "type 2"]
    adata.obs["cell_type"] = labels
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    assert adata.obs["scbignn"].cat.categories.tolist() == ["rare", "type 0", "type 1", "type 2"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_one_cell_of_each_label(adata, fast):
    first = ~adata.obs["truth"].duplicated()
    adata.obs["one"] = np.where(first, adata.obs["truth"].astype(str), "Unknown")
    scbignn.tl.annotate(adata, "one", config=fast)
    assert len(adata.obs["scbignn"].cat.categories) == first.sum() == 3
    assert np.isfinite(results(adata)["confidence"]).all()


def test_more_cells_than_scanpy_takes_as_few(fast):
    adata = scbignn.datasets.simulated(n_cells=8_300, n_genes=12, n_types=2, labeled=0.02)
    config = dataclasses.replace(fast, n_rounds=0, m_step_updates=2, pretrain_epochs=1, n_top_genes=8)
    scbignn.tl.annotate(adata, "cell_type", config=config)
    assert np.diff(adata.obsp["scbignn_distances"].indptr).tolist() == [5] * 8_300
    assert (adata.obsp["scbignn_connectivities"] != adata.obsp["scbignn_connectivities"].T).nnz == 0
    assert not adata.obs["scbignn"].isna().any()


# --- errors and interrupts ------------------------------------------------------------------------------------------


class Interrupts:
    """Calls what it stands for, and stops at the given call."""

    def __init__(self, function, at, error=KeyboardInterrupt):
        self.function, self.left, self.error = function, at, error

    def __call__(self, *arguments, **keywords):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return self.function(*arguments, **keywords)


PLACES = [
    ("torch.nn.functional", "cross_entropy", 1),
    ("torch.nn.functional", "cross_entropy", 12),
    ("scbignn.annotation._annotate", "importance_of", 1),
    ("scbignn._adata._annotation", "connectivities", 1),
    ("scbignn.tl._annotate", "write_slots", 1),
]
PLACES_OF_ONE = [
    ("paper", "scbignn.annotation._em", "cell_neighbors", 1),
    ("paper", "scbignn.annotation._em", "cell_neighbors", 2),
    ("paper", "scbignn.annotation._annotate", "raw_neighbors", 1),
    ("default", "scbignn.annotation._evidence", "fit_anchor", 2),
    ("default", "scbignn.annotation._evidence", "cell_neighbors", 1),
]


def interrupted(adata, config, contents, monkeypatch, module, name, at):
    before = contents(adata)
    module = sys.modules[module]
    monkeypatch.setattr(module, name, Interrupts(getattr(module, name), at))
    with pytest.raises(KeyboardInterrupt):
        scbignn.tl.annotate(adata, "cell_type", config=config)
    assert contents(adata) == before


@pytest.mark.parametrize(("module", "name", "at"), PLACES)
def test_an_interrupt_before_writing_changes_nothing(furnished, fast, contents, monkeypatch, module, name, at):
    interrupted(furnished, fast, contents, monkeypatch, module, name, at)


@pytest.mark.parametrize(("fast", "module", "name", "at"), PLACES_OF_ONE, indirect=["fast"])
def test_an_interrupt_of_one_method_changes_nothing(furnished, fast, contents, monkeypatch, module, name, at):
    interrupted(furnished, fast, contents, monkeypatch, module, name, at)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("attribute", ["obsp", "varp"])
@pytest.mark.parametrize("again", [False, True])
def test_an_interrupt_while_writing_changes_nothing(furnished, fast, contents, monkeypatch, error, attribute, again):
    if again:
        scbignn.tl.annotate(furnished, "cell_type", config=fast)
    before = contents(furnished)

    obs_before, whole = furnished.obs.to_csv(), getattr(AnnData, attribute)

    def interrupted(adata):
        if adata.obs.to_csv() != obs_before:  # some slots are written already
            raise error
        return whole.__get__(adata)

    with monkeypatch.context() as patch:
        patch.setattr(AnnData, attribute, property(interrupted))
        with pytest.raises(error):
            scbignn.tl.annotate(furnished, "cell_type", config=fast, rng=1)
    assert contents(furnished) == before


# --- randomness -----------------------------------------------------------------------------------------------------


def test_the_seed_decides(adata, fast):
    runs = [adata.copy() for _ in range(5)]
    for run, rng in zip(runs, [3, 3, np.random.default_rng(3), np.random.default_rng(3), 4], strict=True):
        scbignn.tl.annotate(run, "cell_type", config=fast, rng=rng)
    for other in runs[1:4]:
        assert_same_run(runs[0], other)
    assert not np.array_equal(runs[0].obsm["scbignn_proba"], runs[4].obsm["scbignn_proba"])


def test_a_generator_moves_on(adata, fast):
    rng = np.random.default_rng(3)
    for key in ("one", "two"):
        scbignn.tl.annotate(adata, "cell_type", config=fast, rng=rng, key_added=key)
    assert adata.uns["one"]["params"]["seed"] != adata.uns["two"]["params"]["seed"]


def test_global_random_states_are_neither_read_nor_changed(adata, fast):
    other = adata.copy()
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    torch.rand(3)
    np.random.random(3)  # noqa: NPY002 (moves the very state that must not matter)
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    scbignn.tl.annotate(other, "cell_type", config=fast)
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    assert_same_run(adata, other)


def test_threads_of_torch_are_left_alone():
    # In a process of its own: numba sets the number of threads once, at its first parallel call.
    code = """
import numpy as np, torch
from scbignn.graph import connectivities, nearest_neighbors
torch.set_num_threads(3)
connectivities(nearest_neighbors(np.eye(20), 3, device=torch.device("cpu")))
print(torch.get_num_threads())
"""
    environment = os.environ | {"NUMBA_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "3\n"


# --- arguments ------------------------------------------------------------------------------------------------------


def test_copy_leaves_the_input_alone(furnished, fast, contents):
    before = contents(furnished)
    found = scbignn.tl.annotate(furnished, "cell_type", config=fast, copy=True)
    assert contents(furnished) == before
    scbignn.tl.annotate(furnished, "cell_type", config=fast)
    assert contents(found) == contents(furnished)


def test_key_added_names_every_slot(furnished, fast, contents):
    before = contents(furnished)
    scbignn.tl.annotate(furnished, "cell_type", config=fast, key_added="mine")
    new = set(contents(furnished)) - set(before)
    assert len(new) == (12 if fast.cross_fit_folds else 11)
    assert all("mine" in name for _, name in new)
    assert furnished.uns["mine"]["connectivities_key"] == "mine_connectivities"
    assert furnished.uns["mine"]["distances_key"] == "mine_distances"
    assert furnished.uns["mine"]["params"]["use_rep"] == "X_mine"


def test_two_keys_stand_side_by_side(adata, fast):
    alone = adata.copy()
    scbignn.tl.annotate(adata, "cell_type", config=fast, key_added="one", rng=1)
    scbignn.tl.annotate(adata, "cell_type", config=fast, key_added="two", rng=2)
    scbignn.tl.annotate(alone, "cell_type", config=fast, rng=1)
    assert_same_run(adata, alone, "one")
    assert not np.array_equal(adata.obsm["one_proba"], adata.obsm["two_proba"])


def test_a_second_run_replaces_the_first(adata, fast, contents):
    once = adata.copy()
    scbignn.tl.annotate(adata, "cell_type", config=fast, rng=1)
    for run in (adata, once):
        scbignn.tl.annotate(run, "cell_type", config=fast, rng=2)
    assert contents(adata) == contents(once)


@pytest.mark.dgl
@pytest.mark.skipif(not has_dgl(), reason="DGL does not import here")
def test_both_engines_give_the_same(adata, fast):
    for backend in ("torch", "dgl"):
        scbignn.tl.annotate(adata, "cell_type", config=fast, backend=backend, key_added=backend)
        assert adata.uns[backend]["params"]["backend"] == backend
    assert adata.obs["torch"].tolist() == adata.obs["dgl"].tolist()
    np.testing.assert_allclose(adata.obsm["torch_proba"], adata.obsm["dgl_proba"], atol=1e-4)


def test_the_engine_comes_from_settings_unless_given(adata, fast):
    with scbignn.settings.override(backend="torch"):
        scbignn.tl.annotate(adata, "cell_type", config=fast)
    assert adata.uns["scbignn"]["params"]["backend"] == "torch"
    with scbignn.settings.override(backend="nonsense"):
        with pytest.raises(ValueError, match="nonsense"):
            scbignn.tl.annotate(adata, "cell_type", config=fast)
        scbignn.tl.annotate(adata, "cell_type", config=fast, backend="torch")


def test_without_validation_cells(adata, fast):
    scbignn.tl.annotate(adata, "cell_type", config=dataclasses.replace(fast, validation_fraction=0))
    assert get.history(adata)[["val_loss", "val_accuracy"]].isna().all(axis=None)
    assert not adata.obs["scbignn"].isna().any()


# --- checkpoint -----------------------------------------------------------------------------------------------------


CHANGES = [{}, {"warm_start": False}, {"dropout": 0.3}, {"validation_fraction": 0.0}]


@pytest.mark.parametrize(
    ("changes", "at"),
    [*(({}, at) for at in (1, 3, 4, 9, 12, 14)), *((changes, at) for changes in CHANGES[1:] for at in (9, 13))],
    ids=str,
)
def test_an_interrupted_run_goes_on_to_the_same_result(adata, fast, tmp_path, monkeypatch, changes, at):
    config = dataclasses.replace(fast, n_rounds=2, cross_fit_folds=0, **changes)
    path = tmp_path / "new folder" / "run"
    whole = adata.copy()
    scbignn.tl.annotate(whole, "cell_type", config=config)

    # Written after every epoch, not every minute; interrupted right after one.
    keeper = scbignn._checkpoints.Keeper
    offer, left = keeper.offer, [at]

    def offer_and_stop(self, *state):
        self._interval = 0
        offer(self, *state)
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keeper, "offer", offer_and_stop)
        with pytest.raises(KeyboardInterrupt):
            scbignn.tl.annotate(adata, "cell_type", config=config, checkpoint_dir=path)
    assert path.exists()
    assert "scbignn" not in adata.obs

    epochs = []
    monkeypatch.setattr(keeper, "offer", lambda *_: epochs.append(1))
    scbignn.tl.annotate(adata, "cell_type", config=config, checkpoint_dir=str(path))
    assert len(epochs) == len(get.history(whole)) - at  # nothing is trained twice
    assert_same_run(adata, whole)
    assert not path.exists()


def test_a_checkpoint_of_another_run_is_refused_and_kept(adata, fast, contents, tmp_path, monkeypatch):
    path = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("scbignn.annotation._annotate.importance_of", Interrupts(None, 1))
        with pytest.raises(KeyboardInterrupt):
            scbignn.tl.annotate(adata, "cell_type", config=fast, checkpoint_dir=path)
    kept, before = {file: file.read_bytes() for file in path.iterdir()}, contents(adata)
    for change, what in (
        ({"rng": 1}, "seed"),
        ({"n_neighbors": 3}, "config"),
        ({"unlabeled_category": "type 0", "labels_key": "truth"}, "labels"),
    ):
        with pytest.raises(ValueError, match=rf"differs from this one in .*{what}.*checkpoint_dir="):
            scbignn.tl.annotate(adata, **({"labels_key": "cell_type", "config": fast, "checkpoint_dir": path} | change))
    assert ({file: file.read_bytes() for file in path.iterdir()}, contents(adata)) == (kept, before)


def test_a_checkpoint_of_fewer_genes_is_refused(adata, fast, tmp_path, monkeypatch):
    more = anndata.concat([adata, anndata.AnnData(np.zeros((60, 1)), obs=adata.obs[[]])], axis=1, merge="first")
    more.X = sp.csr_matrix(more.X)
    with monkeypatch.context() as patch:
        patch.setattr("scbignn.annotation._annotate.importance_of", Interrupts(None, 1))
        with pytest.raises(KeyboardInterrupt):
            scbignn.tl.annotate(adata, "cell_type", config=fast, checkpoint_dir=tmp_path)
    assert (more.X.indptr == adata.X.indptr).all()
    with pytest.raises(ValueError, match=r"differs from this one in .*expression"):
        scbignn.tl.annotate(more, "cell_type", config=fast, checkpoint_dir=tmp_path)


def test_a_file_that_is_no_checkpoint_is_refused_and_kept(adata, fast, tmp_path):
    path = tmp_path / "scbignn-em.safetensors"
    path.write_text("mine")
    with pytest.raises(ValueError, match="is not a checkpoint"):
        scbignn.tl.annotate(adata, "cell_type", config=fast, checkpoint_dir=tmp_path)
    assert path.read_text() == "mine"


def test_what_else_is_in_the_folder_stays(adata, fast, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    scbignn.tl.annotate(adata, "cell_type", config=fast, checkpoint_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


# --- from a reference -----------------------------------------------------------------------------------------------


@pytest.fixture
def reference():
    """Other cells of the same types, with other genes at the end."""
    reference = scbignn.datasets.simulated(n_cells=75, n_genes=40, n_types=3, rng=0)
    reference.var_names = [*reference.var_names[:32], *(f"other_{number}" for number in range(8))]
    reference.uns["cell_type_colors"] = ["#000000", "#111111", "#222222", "#333333"]
    return reference


@pytest.mark.parametrize("mode", ["transductive", "inductive"])
def test_from_a_reference_is_fit_on_the_genes_of_both_and_predict(furnished, reference, fast, contents, mode):
    before, of_reference, other = contents(furnished), contents(reference), furnished.copy()
    arguments = {"mode": mode}
    found = scbignn.tl.annotate(furnished, "cell_type", reference=reference, config=fast, rng=5, **arguments)
    assert found is None
    rng = np.random.default_rng(5)
    model = scbignn.tl.fit(reference[:, :32], "cell_type", config=fast, rng=rng)
    scbignn.tl.predict(other, model, rng=rng, **arguments)
    overlap = furnished.uns["scbignn"]["gene_overlap"]
    assert (overlap["share"], overlap["n_genes"], overlap["n_missing"]) == (0.8, 40, 8)  # of all genes of the reference
    other.uns["scbignn"]["gene_overlap"] = overlap
    assert contents(furnished) == contents(other)
    assert {slot: contents(furnished)[slot] for slot in before} == before
    assert contents(reference) == of_reference
    assert furnished.uns["scbignn"]["mode"] == mode
    assert furnished.uns["scbignn"]["model"]["n_vars"] == 32
    assert list(furnished.uns["scbignn_colors"]) == ["#111111", "#222222", "#333333"]


@pytest.mark.parametrize("mode", ["transductive", "inductive"])
def test_from_a_reference_the_query_needs_no_labels_and_copies(adata, reference, fast, contents, mode):
    bare = AnnData(adata.X.copy(), obs=adata.obs[[]].copy(), var=adata.var[[]].copy())
    before = contents(bare)
    found = scbignn.tl.annotate(bare, "cell_type", reference=reference, mode=mode, config=fast, copy=True)
    assert contents(bare) == before
    scbignn.tl.annotate(adata, "cell_type", reference=reference, mode=mode, config=fast)
    pd.testing.assert_frame_equal(results(found), results(adata), check_exact=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_from_a_reference_an_error_changes_nothing(furnished, reference, fast, contents, monkeypatch, error):
    before = contents(furnished), contents(reference)
    for place in ("tl._learn.annotate_cells", "tl._predict.prediction_slots"):
        with monkeypatch.context() as patch:
            patch.setattr(f"scbignn.{place}", Interrupts(None, 1, error))
            with pytest.raises(error):
                scbignn.tl.annotate(furnished, "cell_type", reference=reference, config=fast)
        assert (contents(furnished), contents(reference)) == before


@pytest.mark.parametrize("names", ["query", "reference", "both"])
def test_from_a_reference_gene_symbols_are_taken_where_there_are_any(adata, reference, fast, names):
    plain = adata.copy()
    for each, whose in ((adata, "query"), (reference, "reference")):
        if names in {whose, "both"}:
            each.var["symbol"] = each.var_names
            each.var_names = [f"{whose}_{number}" for number in range(40)]
    scbignn.tl.annotate(adata, "cell_type", reference=reference, config=fast, gene_symbols="symbol")
    if names != "query":
        reference.var_names = reference.var["symbol"].to_numpy()
    scbignn.tl.annotate(plain, "cell_type", reference=reference, config=fast)
    pd.testing.assert_frame_equal(results(adata), results(plain), check_exact=True)


def test_from_a_reference_with_too_few_of_its_genes(adata, reference, fast, contents):
    query = adata[:, 20:].copy()
    before = contents(query)
    with pytest.raises(ValueError, match=r"only 12 of the 40 genes of the model \(30\.0%\)"):
        scbignn.tl.annotate(query, "cell_type", reference=reference, config=fast)
    assert contents(query) == before
    scbignn.tl.annotate(query, "cell_type", reference=reference, config=fast, min_gene_overlap=0.3)
    overlap = query.uns["scbignn"]["gene_overlap"]
    assert (overlap["n_genes"], overlap["n_missing"], overlap["share"]) == (40, 28, 0.3)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("whose", ["adata", "reference"])
def test_from_a_reference_cells_without_shared_genes_are_told_before_training(adata, fast, monkeypatch, dense, whose):
    query, reference = adata[:, :30].copy(), adata.copy()
    x = (query if whose == "adata" else reference).X.toarray()
    x[5, : (24 if whose == "adata" else 30)] = 0
    x[5, 29] = 1 if whose == "adata" else 0
    (query if whose == "adata" else reference).X = x if dense else sp.csr_matrix(x)
    if whose == "adata":
        reference = reference[:, :24].copy()
    monkeypatch.setattr("scbignn.tl._annotate.fit_genes", lambda *_, **__: pytest.fail("it was trained"))
    with pytest.raises(
        ValueError, match=f"1 cells of {whose} have no counts in the genes that .* share \\('cell_5'"
    ) as told:
        scbignn.tl.annotate(query, "truth", reference=reference, config=fast, min_gene_overlap=0.1)
    assert f"{whose} = {whose}[~{whose}.obs_names.isin([...])].copy()" in str(told.value)


@pytest.mark.parametrize("layer", [None, "tpm"])
def test_from_a_reference_values_are_told_before_genes_are_left_out(adata, fast, layer):
    """Logarithms of values that are no multiples of counts, which equal totals of all genes alone tell."""
    for data in (reference := adata.copy(), query := adata[:, 5:].copy()):
        rate = data.X.toarray() / np.random.default_rng(0).uniform(0.5, 3, data.n_vars)
        values = sp.csr_matrix(np.log1p(1e4 * rate / rate.sum(1, keepdims=True)), dtype=np.float32)
        data.layers["tpm"] = values
        if layer is None:
            data.X = values
    scbignn.tl.annotate(query, "truth", reference=reference, layer=layer, mode="inductive", config=fast)
    assert query.uns["scbignn"]["model"]["expression"] == "log1p values (base e)"
    reference.var["symbol"] = [f"name_{number}" if number < 20 else None for number in range(reference.n_vars)]
    model = scbignn.tl.fit(reference, "truth", layer=layer, gene_symbols="symbol", config=fast)
    assert model.about["expression"] == "log1p values (base e)"


@pytest.mark.parametrize("how", ["layer", "value"])
def test_from_a_reference_what_is_wrong_with_the_query_is_told_before_training(
    adata, reference, fast, monkeypatch, how
):
    monkeypatch.setattr("scbignn.tl._annotate.fit_genes", lambda *_, **__: pytest.fail("it was trained"))
    query = adata.copy()
    if how == "layer":
        reference.layers["counts"] = reference.X.copy()
        with pytest.raises(KeyError, match=r"adata.layers has no 'counts'"):
            scbignn.tl.annotate(query, "cell_type", reference=reference, config=fast, layer="counts")
    else:
        query.X = query.X.astype(np.float32)
        query.X.data[3] = np.nan
        with pytest.raises(ValueError, match=r"adata.X holds 1 NaN"):
            scbignn.tl.annotate(query, "cell_type", reference=reference, config=fast)


def test_from_a_reference_on_disk_is_refused_and_a_query_on_disk_is_not(adata, reference, fast, tmp_path):
    adata.write_h5ad(tmp_path / "adata.h5ad")
    backed = anndata.read_h5ad(tmp_path / "adata.h5ad", backed="r")
    with pytest.raises(ValueError, match=r"reference is backed .*reference = reference\.to_memory\(\)"):
        scbignn.tl.annotate(adata, "cell_type", reference=backed, config=fast)
    for each in (adata, backed):
        scbignn.tl.annotate(each, "cell_type", reference=reference, mode="inductive", config=fast)
    pd.testing.assert_frame_equal(results(backed), results(adata), check_exact=True)
    backed.file.close()


def test_from_a_reference_an_interrupted_run_goes_on(adata, reference, fast, tmp_path, monkeypatch):
    path, whole = tmp_path / "run", adata.copy()
    scbignn.tl.annotate(whole, "cell_type", reference=reference, config=fast)
    with monkeypatch.context() as patch:
        patch.setattr("scbignn.annotation._annotate.importance_of", Interrupts(None, 1))
        with pytest.raises(KeyboardInterrupt):
            scbignn.tl.annotate(adata, "cell_type", reference=reference, config=fast, checkpoint_dir=path)
    assert path.exists()
    scbignn.tl.annotate(adata, "cell_type", reference=reference, config=fast, checkpoint_dir=path)
    assert_same_run(adata, whole)
    assert not path.exists()


@pytest.mark.parametrize("place", ["predict", "write_slots"])
def test_from_a_reference_training_is_kept_until_the_query_is_labelled(
    adata, reference, fast, tmp_path, monkeypatch, place
):
    given = {"labels_key": "cell_type", "reference": reference, "config": fast, "mode": "inductive"}
    path, whole = tmp_path / "run", adata.copy()
    scbignn.tl.annotate(whole, **given)
    with monkeypatch.context() as patch:
        patch.setattr(f"scbignn.tl._annotate.{place}", Interrupts(None, 1))
        with pytest.raises(KeyboardInterrupt):
            scbignn.tl.annotate(adata, **given, checkpoint_dir=path)
    epochs = []
    monkeypatch.setattr(scbignn._checkpoints.Keeper, "offer", lambda *_: epochs.append(1))
    scbignn.tl.annotate(adata, **given, checkpoint_dir=path)
    assert epochs == []  # nothing is trained twice
    pd.testing.assert_frame_equal(results(adata), results(whole), check_exact=True)
    assert not path.exists()


def test_from_a_reference_the_log_tells_both_steps(adata, reference, fast, caplog):
    with caplog.at_level(logging.INFO, "scbignn"):
        scbignn.tl.annotate(adata, "cell_type", reference=reference, mode="inductive", config=fast)
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("scbignn.tl")]
    assert [line.split(":")[0] for line in lines] == ["fit", "fit", "predict", "predict"]
    assert "predict: inductive, 60 cells, 100.0 % of the model's genes" in lines[2]


# --- messages -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("misled", [False, True])
def test_the_run_says_where_neighbours_mislead(adata, monkeypatch, caplog, misled):
    monkeypatch.setattr(_guard, "neighbors_mislead", lambda *_: misled)
    query, other = (adata[:20].copy() for _ in range(2))
    with caplog.at_level(logging.INFO, "scbignn"):
        model = scbignn.tl.fit(adata, "cell_type", config=FAST)
        scbignn.tl.annotate(adata, "cell_type", config=FAST)
    said = [record.getMessage() for record in caplog.records if "neighbours mislead" in record.getMessage()]
    assert len(said) == 2 * misled
    asked = dataclasses.replace(FAST, labels_from="genes" if misled else "p")
    assert adata.uns["scbignn"]["params"]["config"]["labels_from"] == model.config.labels_from == asked.labels_from
    caplog.clear()
    scbignn.tl.predict(query, model)
    scbignn.tl.predict(other, scbignn.tl.fit(adata, "cell_type", config=asked))
    assert_same_run(query, other)
    assert not caplog.records or all("mislead" not in record.getMessage() for record in caplog.records)


def test_two_lines_at_the_start_and_one_at_the_end(adata, fast, caplog, capfd):
    loggers = [logging.getLogger(name) for name in (None, "scbignn", "scbignn.tl._annotate")]
    handlers = [list(logger.handlers) for logger in loggers]
    with caplog.at_level(logging.INFO, "scbignn"):
        scbignn.tl.annotate(adata, "cell_type", config=fast, backend="torch")
    assert [list(logger.handlers) for logger in loggers] == handlers
    memory, start, end = (record for record in caplog.records if record.name.startswith("scbignn"))
    assert memory.getMessage().startswith("annotate: about ")
    assert (start.levelname, end.levelname) == ("INFO", "INFO")
    for part in ("30 of 60 cells", "3 labels", "adata.X holds counts", "cpu", "torch"):
        assert part in start.getMessage()
    for name in COLUMNS:
        assert f"obs['{name}']" in end.getMessage()
    for slot in ("obsm['X_scbignn']", "obsp['scbignn_distances']", "varp['scbignn_attention']", "uns['scbignn']"):
        assert slot in end.getMessage()
    assert capfd.readouterr() == ("", "")


def test_progress_is_shown_where_wanted(adata, fast, capfd):
    with scbignn.settings.override(progress=True):
        scbignn.tl.annotate(adata, "cell_type", config=fast)
    out, err = capfd.readouterr()
    assert out == ""
    names = [line.split(":")[0].strip() for line in err.replace("\r", "\n").splitlines() if "100%" in line]
    steps = [f"{step}-step {round_}" for round_, step in ((1, "M"), (1, "E"), (2, "M"))]
    before = ["linear methods"] if fast.has_components else []
    assert list(dict.fromkeys(names)) == [*before, "pre-training", *steps, "importance"]


def test_in_a_pipeline_nothing_is_shown(adata, capfd):
    with scbignn.settings.override(progress="auto"):
        scbignn.tl.annotate(adata, "cell_type", config=FAST)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_example_in_the_docstring():
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner()
    example = parser.get_doctest(inspect.getdoc(scbignn.tl.annotate), {}, "annotate", None, None)
    assert len(example.examples) > 2
    assert runner.run(example).failed == 0


def on_disk(adata, folder):
    adata.write_h5ad(folder / "cells.h5ad")
    return anndata.read_h5ad(folder / "cells.h5ad", backed="r")


def dense_on_disk(adata, folder):
    dense = adata.copy()
    dense.X = adata.X.toarray()
    return on_disk(dense, folder)


def with_dask(adata, _folder):
    da = pytest.importorskip("dask.array")
    other = adata.copy()
    other.X = da.from_array(adata.X.toarray(), chunks=(25, adata.n_vars)).map_blocks(sp.csr_matrix)
    return other


def lazily(adata, folder):
    pytest.importorskip("xarray")
    if not hasattr(anndata.experimental, "read_lazy"):
        pytest.skip("this anndata has no read_lazy")
    adata.write_h5ad(folder / "cells.h5ad")
    return anndata.experimental.read_lazy(folder / "cells.h5ad")


@pytest.mark.parametrize("form", [on_disk, dense_on_disk, with_dask, lazily])
def test_data_that_stay_where_they_are_give_the_same(adata, fast, tmp_path, monkeypatch, form):
    monkeypatch.setattr("scbignn._expression.CHUNK_ROWS", 16)
    other = form(adata, tmp_path)
    matrix = type(other.X)
    for each in (adata, other):
        scbignn.tl.annotate(each, "cell_type", config=fast)
        scbignn.tl.audit_labels(each, "cell_type", config=dataclasses.replace(fast, cross_fit_folds=2))
    assert type(other.X) is matrix
    for column in ("scbignn", "scbignn_audit_suggested"):
        found, expected = (each.obs[column].astype(object).fillna("none") for each in (other, adata))
        assert np.mean(found == expected) > 0.98
    found, expected = (each.obsm["scbignn_proba"].to_numpy() for each in (other, adata))
    np.testing.assert_allclose(found, expected, atol=5e-3)
    assert (other.obsp["scbignn_distances"] != adata.obsp["scbignn_distances"]).nnz <= 0.02 * 60 * 5
    if other.isbacked:
        other.file.close()


def test_a_reference_that_stays_on_disk(adata, fast, tmp_path):
    backed = on_disk(adata, tmp_path)
    one, other = (scbignn.tl.fit(each, "cell_type", config=fast) for each in (adata, backed))
    query = scbignn.datasets.simulated(n_cells=30, n_genes=40, n_types=3, rng=1)
    found = []
    for model in (one, other):
        scbignn.tl.predict(query, model, mode="inductive")
        found.append(query.obsm["scbignn_proba"].to_numpy())
    np.testing.assert_allclose(*found, atol=5e-3)
    backed.file.close()
    adata.var["symbol"] = [None, *adata.var_names[1:]]
    with pytest.raises(ValueError, match=r"1 genes without a name .*adata\.to_memory\(\)"):
        scbignn.tl.fit(on_disk(adata, tmp_path), "cell_type", gene_symbols="symbol", config=fast)


def test_values_that_cannot_be_used_are_found_in_a_file(adata, fast, tmp_path, monkeypatch):
    monkeypatch.setattr("scbignn._expression.CHUNK_ROWS", 16)
    monkeypatch.setattr("scbignn._check._expression.SAMPLE", 5)
    adata.X.data[adata.X.indptr[20]] = np.nan
    backed = on_disk(adata, tmp_path)
    with pytest.raises(ValueError, match="adata.X holds 1 NaN"):
        scbignn.tl.annotate(backed, "cell_type", config=fast)
    assert not [name for name in backed.obs if name.startswith("scbignn")]
    backed.file.close()
