import logging
import re

import anndata
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
import torch
from anndata import AnnData

import scbignn
from scbignn import get, pl
from scbignn.annotation import Config
from scbignn.graph import connectivities, nearest_neighbors

MODES = ["transductive", "inductive"]
GRAPH = {("obsp", "scbignn_distances"), ("obsp", "scbignn_connectivities")}
each_mode = pytest.mark.parametrize("mode", MODES)


@pytest.fixture(scope="session")
def reference():
    """Other cells of the same types as those of `adata`, all labelled."""
    return scbignn.datasets.simulated(n_cells=75, n_genes=40, n_types=3, rng=0)


@pytest.fixture(scope="session")
def model(reference, fast):
    reference = reference.copy()
    reference.uns["truth_colors"] = ["#111111", "#222222", "#333333"]
    return scbignn.tl.fit(reference, "truth", config=fast, backend="torch")


@pytest.fixture
def predict(model):
    """`tl.predict` by the model, on the torch engine."""
    return lambda adata, **arguments: scbignn.tl.predict(adata, model, **({"backend": "torch"} | arguments))


def numbers(adata, key="scbignn"):
    """What is said of each cell."""
    parts = [get.annotation(adata, key=key, probabilities=True).select_dtypes("number")]
    parts += [adata.obsm[f"{key}_proba_q"], pd.DataFrame(adata.obsm[f"X_{key}"], index=adata.obs_names)]
    return np.hstack([part.to_numpy(dtype=np.float64) for part in parts])


# --- slots ----------------------------------------------------------------------------------------------------------


@each_mode
def test_the_slots_written_are_those_of_the_docstring(furnished, predict, model, contents, mode):
    before = contents(furnished)
    assert predict(furnished, mode=mode) is None
    after = contents(furnished)
    assert {slot: after[slot] for slot in before} == before
    documented = set(re.findall(r"`adata\.(\w+)\['(\w+)'\]`", scbignn.tl.annotate.__doc__))
    novelty = set() if model.trust else {("obs", "scbignn_novelty")}
    expected = {slot for slot in documented if slot[0] != "varp"} - novelty
    assert set(after) - set(before) == (expected if mode == "transductive" else expected - GRAPH)


@each_mode
def test_types_and_shapes(adata, predict, model, mode):
    predict(adata, mode=mode, rng=7)
    columns = ["scbignn", "scbignn_confidence", "scbignn_entropy", "scbignn_disagreement"]
    assert [str(adata.obs[name].dtype) for name in columns] == ["category", "float32", "float32", "float32"]
    assert adata.obs["scbignn"].cat.categories.tolist() == model.labels
    assert not adata.obs["scbignn"].isna().any()
    assert (adata.obsm["X_scbignn"].dtype, adata.obsm["X_scbignn"].shape) == (np.float32, (60, 8))
    for name in ("scbignn_proba", "scbignn_proba_q"):
        table = adata.obsm[name]
        assert (table.shape, table.columns.tolist()) == ((60, 3), model.labels)
        assert (table.dtypes == np.float32).all()
        assert table.index.equals(adata.obs_names)
        np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-5)
    for name in columns[1:]:
        assert adata.obs[name].between(0, 1 + 1e-6).all()
    run = adata.uns["scbignn"]
    assert (run["mode"], run["version"]) == (mode, scbignn.__version__)
    assert list(run["labels"]) == model.labels
    assert run["expression"] == {"slot": "X", "kind": "counts", "base": ""}
    assert run["model"] == model.about
    assert run["params"]["config"] == model.config.to_dict()
    assert run["params"]["backend"] == "torch"
    assert run["params"]["seed"] == int(np.random.default_rng(7).integers(2**31))
    overlap = run["gene_overlap"]
    assert (overlap["share"], overlap["n_genes"], overlap["n_missing"], len(overlap["missing"])) == (1.0, 40, 0, 0)


def test_the_graph_is_among_the_cells_of_the_query(adata, predict, model):
    predict(adata)
    distances, weights = (adata.obsp[f"scbignn_{name}"] for name in ("distances", "connectivities"))
    for matrix in (distances, weights):
        assert (matrix.format, matrix.dtype, matrix.shape) == ("csr", np.float32, (60, 60))
    assert np.diff(distances.indptr).tolist() == [5] * 60
    assert (weights != weights.T).nnz == 0
    assert adata.uns["scbignn"]["connectivities_key"] == "scbignn_connectivities"
    if model.config.graph_from == "h":
        near = nearest_neighbors(adata.obsm["X_scbignn"], 5, device=torch.device("cpu"))
        np.testing.assert_allclose(weights.toarray(), connectivities(near).toarray(), atol=1e-4)


def test_umap_runs_on_the_graph(adata, predict):
    predict(adata, key_added="mine")
    sc.tl.umap(adata, neighbors_key="mine", maxiter=5)
    assert np.isfinite(adata.obsm["X_umap"]).all()


@each_mode
def test_get_and_pl_read_a_prediction(adata, predict, model, mode):
    predict(adata, mode=mode)
    assert len(get.annotation(adata, probabilities=True)) == 60
    assert get.history(adata)["loss"].tolist() == [row["loss"] for row in model.history]
    importance = get.gene_importance(adata)
    assert set(importance["gene"]) == set(model.genes[model.panel])
    np.testing.assert_allclose(importance["score"], np.sort(model.importance.received)[::-1])
    assert get.homophily(adata).loc["all", "learned"] == model.homophily.learned
    for plot in (pl.history, pl.gene_importance, pl.homophily):
        axes = plot(adata)
        assert axes.has_data()
        plt.close(axes.figure)


@each_mode
def test_colours_are_those_of_the_reference_by_label(adata, predict, model, mode):
    adata.uns["scbignn_colors"] = ["red"]
    with pytest.raises(ValueError, match=r"overwrite adata\.uns\['scbignn_colors'\]"):
        predict(adata, mode=mode)
    del adata.uns["scbignn_colors"]
    predict(adata, mode=mode)
    assert list(adata.uns["scbignn_colors"]) == ["#111111", "#222222", "#333333"]


def test_a_prediction_shares_nothing_with_the_model(adata, predict, model):
    predict(adata, mode="inductive")
    adata.uns["scbignn_colors"][0] = "red"
    adata.uns["scbignn"]["model"]["versions"]["torch"] = "0"
    adata.uns["scbignn"]["gene_importance"]["score"] = -1
    adata.uns["scbignn"]["params"]["config"]["width"] = -1
    assert model.colors[0] == "#111111"
    assert model.about["versions"]["torch"] == torch.__version__
    assert model.importance.received.min() >= 0
    assert model.config.width == 8


def test_slots_of_an_earlier_run_do_not_stay(adata, predict, fast):
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    predict(adata)
    assert "scbignn_attention" not in adata.varp
    assert "scbignn_distances" in adata.obsp
    predict(adata, mode="inductive")
    assert not set(adata.obsp)
    assert "connectivities_key" not in adata.uns["scbignn"]
    scbignn.tl.annotate(adata, "cell_type", config=fast)
    assert "gene_overlap" not in adata.uns["scbignn"]


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer be the default:UserWarning")
@pytest.mark.parametrize("form", ["h5ad", "zarr"])
@pytest.mark.parametrize("n_genes", [30, 40])
@each_mode
def test_round_trip_through_a_file(adata, predict, contents, tmp_path, form, n_genes, mode):
    adata = adata[:, :n_genes].copy()
    predict(adata, mode=mode)
    getattr(adata, f"write_{form}")(tmp_path / f"predicted.{form}")
    again = getattr(anndata, f"read_{form}")(tmp_path / f"predicted.{form}")
    for name in ("annotation", "history", "gene_importance", "homophily"):
        found, expected = (getattr(get, name)(each) for each in (again, adata))
        pd.testing.assert_frame_equal(found, expected, check_exact=True, check_categorical=True)
    np.testing.assert_array_equal(numbers(again), numbers(adata))
    for name, matrix in adata.obsp.items():
        np.testing.assert_array_equal(again.obsp[name].toarray(), matrix.toarray())
    run, expected = again.uns["scbignn"], adata.uns["scbignn"]
    assert {name: run[name] for name in ("params", "mode", "expression", "model", "version")} == {
        name: expected[name] for name in ("params", "mode", "expression", "model", "version")
    }
    assert list(run["gene_overlap"]["missing"]) == list(expected["gene_overlap"]["missing"])
    assert run["gene_overlap"]["n_missing"] == 40 - n_genes
    predict(again, mode=mode)  # and it can be predicted again
    np.testing.assert_allclose(numbers(again), numbers(adata), atol=1e-6)


# --- what the answer rests on ---------------------------------------------------------------------------------------


def test_labels_are_found():
    config = Config(n_top_genes=30, width=16, gene_width=8, n_components=10, n_neighbors=5, m_step_updates=40)
    easy, query = (scbignn.datasets.simulated(n, 40, fold_change=20.0, rng=0) for n in (75, 60))
    model = scbignn.tl.fit(easy, "truth", config=config)
    for mode in MODES:
        scbignn.tl.predict(query, model, mode=mode)
        assert np.mean(query.obs["scbignn"].astype(str) == query.obs["truth"].astype(str)) > 0.9  # by chance: 1 / 3


@each_mode
def test_labels_of_the_query_are_not_needed(adata, predict, mode):
    bare = AnnData(adata.X.copy(), obs=adata.obs[[]].copy(), var=adata.var[[]].copy())
    for each in (adata, bare):
        predict(each, mode=mode)
    np.testing.assert_array_equal(numbers(adata), numbers(bare))


def test_an_inductive_answer_does_not_depend_on_the_rest_of_the_query(adata, predict):
    whole, few = adata.copy(), adata[[50, 3, 17]].copy()
    predict(whole, mode="inductive")
    predict(few, mode="inductive")
    np.testing.assert_allclose(numbers(few), numbers(whole)[[50, 3, 17]], atol=1e-4)
    deep = adata.copy()
    x = deep.X.toarray()
    x[20:] *= 50
    deep.X = sp.csr_matrix(x)
    predict(deep, mode="inductive")
    np.testing.assert_allclose(numbers(deep)[:20], numbers(whole)[:20], atol=1e-4)


@pytest.mark.parametrize("chunk_size", [1, 7, np.int64(59), 60, 10_000])
@each_mode
def test_the_size_of_chunks_does_not_matter(adata, predict, mode, chunk_size):
    other = adata.copy()
    predict(adata, mode=mode)
    predict(other, mode=mode, chunk_size=chunk_size)
    np.testing.assert_allclose(numbers(adata), numbers(other), atol=1e-4 if mode == "inductive" else 0)


def test_a_transductive_answer_depends_on_the_other_cells(adata, predict):
    few = adata[:20].copy()
    predict(adata)
    predict(few)
    assert np.abs(numbers(few) - numbers(adata)[:20]).max() > 1e-4


@each_mode
def test_a_query_of_one_cell(adata, predict, mode):
    one = adata[[7]].copy()
    predict(one, mode=mode)
    assert one.obs["scbignn"].notna().all()
    assert np.isfinite(numbers(one)).all()
    assert not set(one.obsp)
    assert "connectivities_key" not in one.uns["scbignn"]
    assert len(get.annotation(one, probabilities=True)) == 1


@pytest.mark.parametrize("n_cells", [2, 4])
def test_a_query_of_fewer_cells_than_neighbours(adata, predict, n_cells):
    few = adata[:n_cells].copy()
    predict(few)
    assert np.diff(few.obsp["scbignn_distances"].indptr).tolist() == [n_cells - 1] * n_cells
    assert np.isfinite(few.obsp["scbignn_connectivities"].data).all()


def test_the_seed_decides(adata, predict):
    runs = {}
    for name, rng in (("a", 3), ("b", 3), ("c", np.random.default_rng(3)), ("d", 4)):
        for mode in MODES:
            runs[name, mode] = predict(adata, mode=mode, rng=rng, copy=True)
    for other in "bc":
        np.testing.assert_array_equal(numbers(runs["a", "transductive"]), numbers(runs[other, "transductive"]))
    assert not np.array_equal(numbers(runs["a", "transductive"]), numbers(runs["d", "transductive"]))
    np.testing.assert_array_equal(numbers(runs["a", "inductive"]), numbers(runs["d", "inductive"]))


# --- input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", [sp.csc_matrix, sp.csr_array, sp.csr_matrix.toarray], ids=["CSC", "csr_array", "dense"]
)
@each_mode
def test_every_form_of_a_matrix_gives_the_same(adata, predict, contents, mode, form):
    other = adata.copy()
    other.X = form(adata.X)
    before = contents(other)["X", ""]
    for each in (adata, other):
        predict(each, mode=mode, chunk_size=25)
    np.testing.assert_array_equal(numbers(adata), numbers(other))
    assert contents(other)["X", ""] == before


@pytest.mark.parametrize("base", [None, 2])
@each_mode
def test_log1p_values_give_the_answer_of_the_counts(adata, predict, mode, base):
    logged = adata.copy()
    sc.pp.normalize_total(logged, target_sum=1e4)
    sc.pp.log1p(logged, base=base)
    for each in (adata, logged):
        predict(each, mode=mode)
    assert logged.uns["scbignn"]["expression"]["kind"] == "log1p"
    assert logged.uns["scbignn"]["expression"]["base"] == str(base or "e")
    np.testing.assert_allclose(logged.obsm["X_scbignn"], adata.obsm["X_scbignn"], rtol=1e-2, atol=1e-2)
    np.testing.assert_allclose(logged.obsm["scbignn_proba_q"], adata.obsm["scbignn_proba_q"], atol=1e-2)


@each_mode
def test_a_layer_gives_the_same_as_x(adata, predict, mode):
    other = adata.copy()
    other.layers["counts"], other.X = other.X, None
    predict(adata, mode=mode)
    predict(other, mode=mode, layer="counts")
    np.testing.assert_array_equal(numbers(adata), numbers(other))
    assert other.X is None
    assert other.uns["scbignn"]["expression"]["slot"] == "layers['counts']"


@pytest.mark.filterwarnings("ignore:Trying to modify attribute `.obs` of view:anndata.ImplicitModificationWarning")
@each_mode
def test_a_view_gives_the_same_as_its_copy_and_leaves_its_parent_alone(adata, predict, contents, mode):
    before = contents(adata)
    some = np.arange(60) % 3 != 0
    view, actual = adata[some, :35], adata[some, :35].copy()
    for each in (view, actual):
        predict(each, mode=mode)
    assert contents(view) == contents(actual)
    assert contents(adata) == before


@each_mode
def test_copy_leaves_the_query_alone(furnished, predict, contents, mode):
    before = contents(furnished)
    found = predict(furnished, mode=mode, copy=True)
    assert contents(furnished) == before
    predict(furnished, mode=mode)
    assert contents(found) == contents(furnished)


@each_mode
def test_key_added_names_every_slot(furnished, predict, model, contents, mode):
    before = contents(furnished)
    predict(furnished, mode=mode, key_added="mine")
    new = set(contents(furnished)) - set(before)
    assert len(new) == (11 if mode == "transductive" else 9) + (model.trust is not None)
    assert all("mine" in name for _, name in new)


class Counted:
    """A matrix that notes how many rows are asked for at a time."""

    def __init__(self, matrix, asked):
        self.matrix, self.asked, self.shape, self.dtype = matrix, asked, matrix.shape, matrix.dtype

    def __getitem__(self, rows):
        self.asked.append(len(np.arange(self.shape[0])[rows]))
        return self.matrix[rows]


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csc_matrix, sp.csr_matrix.toarray], ids=["CSR", "CSC", "dense"])
@each_mode
def test_a_backed_query_gives_the_same_and_its_file_stays(adata, predict, tmp_path, monkeypatch, mode, form):
    adata.X = form(adata.X)
    path = tmp_path / "query.h5ad"
    adata.write_h5ad(path)
    before = path.read_bytes()
    backed, asked = anndata.read_h5ad(path, backed="r"), []
    pick_matrix = scbignn._adata._read.pick_matrix

    def counted(*arguments, **keywords):
        matrix, slot = pick_matrix(*arguments, **keywords)
        return Counted(matrix, asked), slot

    predict(adata, mode=mode, chunk_size=8)
    monkeypatch.setattr("scbignn._adata._read.pick_matrix", counted)
    monkeypatch.setattr("scbignn._check._expression.SAMPLE", 5)
    predict(backed, mode=mode, chunk_size=8)
    assert backed.isbacked
    assert asked == [5, *[8] * 7, 4]  # a sample, and then every row once
    np.testing.assert_array_equal(numbers(backed), numbers(adata))
    backed.file.close()
    assert path.read_bytes() == before


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csr_matrix.toarray], ids=["CSR", "dense"])
@each_mode
def test_a_dask_query_gives_the_same(adata, predict, mode, form):
    da = pytest.importorskip("dask.array")
    lazy = adata.copy()
    dense = da.from_array(adata.X.toarray(), chunks=(11, 40))
    lazy.X = dense.map_blocks(form, dtype=np.float32) if form is sp.csr_matrix else dense
    for each in (adata, lazy):
        predict(each, mode=mode, chunk_size=8)
    assert isinstance(lazy.X, da.Array)
    np.testing.assert_array_equal(numbers(adata), numbers(lazy))


# --- genes ----------------------------------------------------------------------------------------------------------


@each_mode
def test_the_order_of_genes_does_not_matter_and_genes_of_no_use_do_not_count(adata, predict, mode):
    rng = np.random.default_rng(0)
    others = AnnData(sp.csr_matrix(rng.poisson(3, (60, 9)), dtype=np.float32), obs=adata.obs)
    others.var_names = [f"other_{number}" for number in range(9)]
    mixed = anndata.concat([others, adata], axis=1)[:, rng.permutation(49)].copy()
    for each in (adata, mixed):
        predict(each, mode=mode)
    np.testing.assert_array_equal(numbers(adata), numbers(mixed))
    assert mixed.uns["scbignn"]["gene_overlap"]["share"] == 1.0


@each_mode
def test_genes_that_are_missing(adata, predict, model, mode):
    missing = [2, 5, 11, 30]
    kept = np.setdiff1d(np.arange(40), missing)
    fewer = adata[:, kept[::-1]].copy()
    predict(fewer, mode=mode)
    overlap = fewer.uns["scbignn"]["gene_overlap"]
    assert (overlap["share"], overlap["n_genes"], overlap["n_missing"]) == (0.9, 40, 4)
    assert list(overlap["missing"]) == [f"gene_{number}" for number in missing]
    assert np.isfinite(numbers(fewer)).all()
    zeros = adata.copy()
    zeros.X = sp.csr_matrix(zeros.X.toarray() * ~np.isin(np.arange(40), missing))
    predict(zeros, mode=mode)
    assert np.abs(numbers(zeros) - numbers(fewer)).max() > 1e-4  # not measured is not without counts


def test_too_few_genes_are_refused(adata, predict, contents):
    few = adata[:, :15].copy()
    few = few[few.X.sum(1).A1 > 0].copy()
    before = contents(few)
    with pytest.raises(ValueError, match=r"only 15 of the 40 genes of the model \(37\.5%\)"):
        predict(few)
    assert contents(few) == before
    predict(few, min_gene_overlap=0.375)
    assert few.obs["scbignn"].notna().all()


def test_versions_of_ensembl_ids_are_passed_over(adata, reference, fast):
    reference = reference.copy()
    reference.var_names = [f"ENSG{number:011d}.{number % 4 + 1}" for number in range(40)]
    model = scbignn.tl.fit(reference, "truth", config=fast)
    exact, other = adata.copy(), adata.copy()
    exact.var_names = reference.var_names
    other.var_names = [f"ENSG{number:011d}.9" for number in range(40)]
    for each in (exact, other):
        scbignn.tl.predict(each, model, mode="inductive")
    np.testing.assert_array_equal(numbers(exact), numbers(other))


def test_gene_symbols(adata, predict, contents):
    plain = adata.copy()
    predict(plain, mode="inductive")
    adata.var["symbol"] = adata.var_names
    adata.var_names = [f"ENSG{number:011d}" for number in range(40)]
    before = contents(adata)
    with pytest.raises(ValueError, match=r"gene_symbols='symbol'"):
        predict(adata, mode="inductive")
    assert contents(adata) == before
    predict(adata, mode="inductive", gene_symbols="symbol")
    np.testing.assert_array_equal(numbers(adata), numbers(plain))


def test_cells_without_counts_in_the_genes_of_the_model_are_named(adata, predict, contents):
    x = sp.lil_matrix((60, 41), dtype=np.float32)
    x[:, :40] = adata.X
    x[[4, 51], :] = 0
    x[:, 40] = 3
    query = AnnData(x.tocsr(), obs=adata.obs)
    query.var_names = [*adata.var_names, "another"]
    before = contents(query)
    for mode in MODES:
        with pytest.raises(ValueError, match=r"1 cells have no counts in the genes of the model \('cell_4'\)"):
            predict(query, mode=mode, chunk_size=20)
        with pytest.raises(ValueError, match=r"2 cells .*'cell_4', 'cell_51'.*adata = adata\["):
            predict(query, mode=mode)
    assert contents(query) == before


# --- errors and interrupts, messages --------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["tl._predict.ExpressionRows.__getitem__", "annotation._predict.Predictor._alone",
                                   "tl._predict.prediction_slots", "tl._predict.write_slots"])  # fmt: skip
@each_mode
def test_an_interrupt_before_writing_changes_nothing(furnished, predict, contents, monkeypatch, mode, place):
    def stop(*_, **__):
        raise KeyboardInterrupt

    before = contents(furnished)
    monkeypatch.setattr(f"scbignn.{place}", stop)
    with pytest.raises(KeyboardInterrupt):
        predict(furnished, mode=mode)
    assert contents(furnished) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("again", [False, True])
@each_mode
def test_an_interrupt_while_writing_changes_nothing(furnished, predict, contents, monkeypatch, mode, error, again):
    if again:
        predict(furnished, rng=1)
    furnished.X.data[::3] += 1  # so that the answer is another
    before = contents(furnished)
    obs_before, whole = furnished.obs.to_csv(), AnnData.varp

    def interrupted(adata):
        if adata.obs.to_csv() != obs_before:  # some slots are written already
            raise error
        return whole.__get__(adata)

    with monkeypatch.context() as patch:
        patch.setattr(AnnData, "varp", property(interrupted))
        with pytest.raises(error):
            predict(furnished, mode=mode)
    assert contents(furnished) == before


def test_an_error_in_a_late_chunk_changes_nothing(furnished, predict, contents):
    x = furnished.X.toarray()
    x[55, 3] = np.nan
    furnished.X = sp.csr_matrix(x)
    before = contents(furnished)
    for mode in MODES:
        with pytest.raises(ValueError, match="NaN or infinite values, the first nan in cell 'cell_55', gene 'gene_3'"):
            predict(furnished, mode=mode, chunk_size=10)
    assert contents(furnished) == before


@each_mode
def test_two_lines_at_the_start_and_one_at_the_end(adata, predict, caplog, capfd, mode):
    adata = adata[:, :30].copy()
    with caplog.at_level(logging.INFO, "scbignn"):
        predict(adata, mode=mode)
    memory, start, end = (record.getMessage() for record in caplog.records if record.name.startswith("scbignn"))
    assert memory.startswith("predict: about ")
    for part in (f"predict: {mode}, 60 cells", "75.0 % of the model's genes", "adata.X holds counts", "cpu", "torch"):
        assert part in start
    for slot in ("obs['scbignn']", "obsm['X_scbignn']", "uns['scbignn']"):
        assert slot in end
    assert ("obsp['scbignn_distances']" in end) == (mode == "transductive")
    assert "varp" not in end
    assert capfd.readouterr() == ("", "")
