"""The benchmarks' own code: folds, scores, rivals. Their figures are not tested."""

import json
import subprocess
import sys
import time
from argparse import Namespace
from dataclasses import replace

import _gat
import _methods
import _problem
import _scores
import _tables
import audit
import calibration
import clustering
import interactions
import numpy as np
import pandas as pd
import pytest
import regulation
import rejection
import scipy.sparse as sp
import stability
import torch
import transfer
import unseen_batches
from anndata import AnnData
from rivals import APART, NAMES, _apart, regdiffusion, rival, scvi_latent
from sklearn.metrics import adjusted_rand_score, balanced_accuracy_score, f1_score
from threadpoolctl import threadpool_info, threadpool_limits


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    kind = np.arange(150) % 3
    counts = rng.poisson(0.5 + 2.0 * (np.arange(90) % 3 == kind[:, None]))
    test = np.arange(100, 150)
    y = kind.copy()
    y[test] = -1
    return _problem.Problem(sp.csr_matrix(counts, dtype=np.float32), y, 3, 0, test), kind[test]


HERE = [name for name in NAMES if name not in APART]


@pytest.mark.parametrize("name", HERE)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_rivals_answer_for_every_test_cell(problem, name):
    given, truth = problem
    module = rival(name)
    found = module.predict(given)
    assert module.MODE in {"inductive", "transductive"}
    assert found.shape == (50, 3)
    assert np.isfinite(found).all()
    right = np.mean(found.argmax(1) == truth)
    assert right < 0.6 if name in {"majority", "random_label"} else right > 0.8


@pytest.mark.parametrize("name", [name for name in HERE if rival(name).MODE == "inductive"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_inductive_rivals_do_not_look_at_other_test_cells(problem, name):
    given, _ = problem
    other = given.counts.tolil()
    other[given.test[1:]] = 1
    changed = _problem.Problem(other.tocsr(), given.y, 3, 0, given.test)
    np.testing.assert_allclose(rival(name).predict(changed)[0], rival(name).predict(given)[0], atol=1e-6)


@pytest.mark.parametrize("name", APART)
def test_rivals_apart_say_how_to_set_them_up(problem, name, monkeypatch, tmp_path):
    monkeypatch.setattr(_apart, "ENVIRONMENT", tmp_path / "none")
    assert rival(name).MODE in {"inductive", "transductive"}
    with pytest.raises(FileNotFoundError, match=rf"{name} needs its own environment(.|\n)*python .*set_up_rivals\.py"):
        rival(name).predict(problem[0])


@pytest.mark.parametrize("batch", [None, np.arange(150) % 2])
def test_a_problem_arrives_as_it_was_sent(problem, batch, tmp_path):
    given = replace(problem[0], batch=batch)
    _apart.write(tmp_path / "question.npz", given, threads=3)
    there = _apart.read(tmp_path / "question.npz")
    assert (there.counts != given.counts).nnz == 0
    assert (there.n_labels, there.seed, there.threads) == (3, 0, 3)
    for name in ("y", "test", "batch"):
        np.testing.assert_array_equal(getattr(there, name), getattr(given, name))


def test_expression_arrives_as_it_was_sent(tmp_path):
    x = np.random.default_rng(0).random((5, 3))
    regdiffusion.write(tmp_path / "question.npz", x=x, seed=4, threads=2)
    there = regdiffusion.read(tmp_path / "question.npz")
    np.testing.assert_allclose(there.x, x, rtol=1e-6)
    assert (there.seed, there.threads) == (4, 2)


def test_counts_arrive_as_they_were_sent(problem, tmp_path):
    scvi_latent.write(tmp_path / "question.npz", counts=problem[0].counts, seed=4, threads=2)
    there = scvi_latent.read(tmp_path / "question.npz")
    assert (there.counts != problem[0].counts).nnz == 0
    assert (there.seed, there.threads) == (4, 2)


STUB = """
from pathlib import Path
import sys
import numpy as np
module, name, question, answer = sys.argv[2:]
with np.load(question) as given:
    assert (module, name) == ("rivals._apart", "stub") and Path.cwd() == Path(question).parent
    np.save(answer, np.bincount(given["y"] + 1)[:, None] + np.zeros(len(given["test"])))
"""


def interpreter(folder, program):
    """Something that is called as a Python would be, and runs `program` whatever it is asked to run."""
    file = folder / "python"
    (folder / "program.py").write_text(program)
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{folder / "program.py"}" "$@"\n')
    file.chmod(0o755)
    return file


@pytest.mark.skipif(sys.platform == "win32", reason="the stub is a shell script")
def test_what_another_python_answers_comes_back(problem, tmp_path):
    found = _apart.ask("stub", problem[0], interpreter(tmp_path, STUB))
    np.testing.assert_array_equal(found, np.bincount(problem[0].y + 1)[:, None] + np.zeros(50))


@pytest.mark.skipif(sys.platform == "win32", reason="the stub is a shell script")
def test_what_goes_wrong_in_another_python_is_said(problem, tmp_path):
    with pytest.raises(RuntimeError, match="no such luck"):
        _apart.ask("stub", problem[0], interpreter(tmp_path, "raise SystemExit('no such luck')"))


@pytest.mark.slow
@pytest.mark.skipif(not _apart.python_of(_apart.ENVIRONMENT).exists(), reason="needs benchmarks/set_up_rivals.py")
@pytest.mark.parametrize("name", APART)
def test_rivals_apart_answer_where_labels_have_one_cell_or_none(problem, name):
    given, truth = problem
    y = given.y.copy()
    y[np.flatnonzero(y == 2)[1:]] = -1
    found = rival(name).predict(replace(given, y=y, n_labels=4, batch=np.arange(150) % 2))
    assert found.shape == (50, 4)
    assert np.isfinite(found).all()
    assert not (found.argmax(1) == 3).any()
    assert np.mean(found.argmax(1)[truth < 2] == truth[truth < 2]) > 0.7


def test_labels_without_a_column_get_the_smallest_value_or_the_given_one(problem):
    given = _apart.Given(problem[0].counts, problem[0].y, 4, 0, problem[0].test, None, 1)
    values = np.array([[0.5, 0.2], [0.1, 0.9]])
    found = _apart.of_all_labels(values, ["label 2", "label 0"], given)
    np.testing.assert_array_equal(found, [[0.2, 0.1, 0.5, 0.1], [0.9, 0.1, 0.1, 0.1]])
    found = _apart.of_all_labels(values, ["label 2", "label 0"], given, elsewhere=0.0)
    np.testing.assert_array_equal(found[:, [1, 3]], 0.0)
    assert set(_apart.names(given)[given.test]) == {"Unknown"}
    assert _apart.names(given)[:3].tolist() == ["label 0", "label 1", "label 2"]


def test_peak_memory_and_seconds_are_those_of_a_subprocess_too(problem):
    given, truth = problem

    def heavy(asked):
        subprocess.run([sys.executable, "-c", "import time; x = b'1' * (2**30); time.sleep(0.2)"], check=True)
        values = np.eye(3)[truth]
        return [_methods.Answer("heavy", "inductive", values, values)]

    (row,) = _methods.run(given, truth, heavy, threads=1)
    assert row["accuracy"] == 1.0
    assert row["seconds"] > 0.2
    assert row["peak_gb"] > 1.0


def batches():
    """Three batches of 8 cells; "rare" is in the query alone, "old" in the reference alone."""
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(["query", "reference", "other"] * 8),
            "cell_type": pd.Categorical(["b", "b", "else", "a", "a", "else", "rare", "old", "else", "a", "a", "b"] * 2),
        },
        index=[f"cell {cell}" for cell in range(24)],
    )
    return AnnData(sp.csr_matrix(np.arange(24.0 * 5).reshape(24, 5)), obs)


def test_transfer_shows_the_reference_and_asks_for_the_query():
    adata = batches()
    problem, truth, n_left_out = transfer.transfer(adata, "reference", "query", seed=7)
    kept = adata[adata.obs["batch"] != "other"]
    np.testing.assert_array_equal(problem.counts.toarray(), kept.X.toarray())
    assert (problem.seed, problem.n_labels) == (7, 3)  # a, b, old
    labels = np.array(["a", "b", "old", "?"])
    is_query = (kept.obs["batch"] == "query").to_numpy()
    kinds = kept.obs["cell_type"].to_numpy()
    np.testing.assert_array_equal(labels[problem.y], np.where(is_query, "?", kinds))
    np.testing.assert_array_equal(problem.batch, is_query)
    np.testing.assert_array_equal(problem.test, np.flatnonzero(is_query & (kinds != "rare")))
    np.testing.assert_array_equal(labels[truth], kinds[problem.test])
    assert n_left_out == 2
    backwards, _, n_left_out = transfer.transfer(adata, "query", "reference", seed=0)
    np.testing.assert_array_equal(backwards.batch, 1 - problem.batch)
    assert n_left_out == 2


def test_transfer_pairs_name_two_batches_of_a_set():
    assert {source for source, _, _ in transfer.PAIRS.values()} == {
        "kang_pbmc_muscat",
        "baron_mouse",
        "sc_mixology_3cl",
    }
    assert all(reference != query for _, reference, query in transfer.PAIRS.values())
    assert set(transfer.RIVALS) <= set(HERE)


def test_fold_files_are_stratified_fifths():
    for name in _problem.SETS:
        fold = _problem.folds(name)
        assert set(fold) == set(range(5))
        assert np.ptp(np.bincount(fold)) <= 2


def test_fold_file_fits_the_embedded_set(tmp_path):
    counts, y, names = _problem.load("pbmc68k_reduced", tmp_path)
    fold = _problem.folds("pbmc68k_reduced")
    assert counts.shape[0] == len(y) == len(fold)
    assert len(names) == y.max() + 1
    share = [np.bincount(y[fold == number], minlength=len(names)) for number in range(5)]
    assert np.ptp(share, axis=0).max() <= 1


def test_few_labelled_leaves_a_cell_of_every_label_to_ask_for():
    y = np.repeat([0, 1, 2], [30, 4, 2])
    cells = _problem.few_labelled(y, 5, seed=0)
    np.testing.assert_array_equal(np.bincount(y[cells]), [5, 3, 1])
    assert len(np.unique(cells)) == len(cells)
    assert (cells != _problem.few_labelled(y, 5, seed=1)).any()


def test_scores_equal_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    truth, found = rng.integers(4, size=200), rng.integers(4, size=200)
    figures = _scores.scores(truth, found, None, 4)
    assert figures["macro_f1"] == pytest.approx(f1_score(truth, found, average="macro"))
    assert figures["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, found))
    assert figures["support"] == np.bincount(truth).tolist()
    assert figures["ece"] is None


@pytest.mark.slow
@pytest.mark.skipif(not _apart.python_of(_apart.ENVIRONMENT).exists(), reason="needs benchmarks/set_up_rivals.py")
def test_regdiffusion_scores_links_of_all_genes():
    rng = np.random.default_rng(0)
    x = np.log1p(rng.poisson(2.0 * rng.gamma(1.0, size=(200, 10))[:, np.arange(100) % 10])).astype(float)
    x[:, 3] = 0  # it would refuse a gene that no cell has
    found = regdiffusion.links(x, 0)
    assert found.shape == (100, 100)
    assert np.isfinite(found).all()
    assert not found[3].any()
    assert found[0, 10::10].mean() > found[0, 1::10].mean()  # genes that go up and down together


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probability = np.tile([0.8, 0.2], (1000, 1))
    truth = np.r_[np.zeros(500, int), np.ones(500, int)]
    np.random.default_rng(0).shuffle(truth)
    assert _scores.calibration_error(truth, probability, n_bins=1) == pytest.approx(0.3)
    assert _scores.calibration_error(np.zeros(1000, int), probability) == pytest.approx(0.2)


def test_calibration_is_scored_before_and_after_on_hidden_cells(problem):
    given, truth = problem
    everyone = given.y.copy()
    everyone[given.test] = truth
    (row,) = calibration.within(given.counts, everyone, given.y < 0, 0, 1)
    assert row["n_cells"] == 50
    assert 0 < row["ece_after"] < row["ece_before"] < 1
    cells = AnnData(given.counts.copy())
    cells.obs["batch"] = np.where(given.y < 0, "b", "a")
    cells.obs["cell_type"] = everyone.astype(str)
    rows = calibration.across(cells, "a", "b", 0, 1)
    rows += calibration.of_a_fold(given.counts, everyone, given.y >= 0, 0, 1)
    assert [(row["mode"], row["n_cells"]) for row in rows] == 2 * [("inductive", 50), ("transductive", 50)]
    assert all(row["ece_after"] < row["ece_before"] for row in rows)
    assert all(0 <= row["rejected"] < 0.3 for row in rows)


def test_known_cells_called_unknown_are_counted_by_type():
    truth = np.repeat([0, 1, 2], [40, 60, 5])
    rejected = np.r_[np.arange(40) < 10, np.arange(60) < 3, np.ones(5, dtype=bool)]
    p = np.eye(3)[truth]
    row = calibration.figures("within", "inductive", truth, p, p, rejected, 0)
    assert row["rejected"] == pytest.approx(18 / 105)
    assert row["rejected_of_a_type"] == 0.25  # five cells tell little


def test_calibration_tables_average_runs_of_a_set_and_then_sets():
    kinds = [("a", "within", 0.1), ("a", "within", 0.3), ("b", "within", 0.5), ("c", "across", 0.9)]
    rows = [
        {"name": name, "kind": kind, "mode": "transductive", "ece_before": before, "ece_after": before / 2}
        | {"rejected": before / 4, "rejected_of_a_type": before / 5}
        for name, kind, before in kinds
    ]
    text = calibration.table(rows)
    assert "| a | transductive | 2 | 0.2000 | 0.1000 | 0.0500 | 0.0400 |" in text
    assert "| **mean, within** | transductive | 3 | 0.3500 | 0.1750 | 0.0875 | 0.0700 |" in text
    assert "| **mean, across** | transductive | 1 | 0.9000 | 0.4500 | 0.2250 | 0.1800 |" in text


def test_the_interval_excludes_zero_where_the_test_says_so():
    theirs = np.zeros(5)
    for ours in (np.array([0.01, 0.02, 0.0, 0.02, 0.01]), np.array([0.1, 0.12, 0.1, 0.11, 0.1])):
        low, high = _scores.interval(ours, theirs)
        assert (low + high) / 2 == pytest.approx(ours.mean())
        assert (low > 0) == (_scores.paired(ours, theirs)[1] < 0.05)
    assert np.isnan(_scores.interval(theirs[:1], theirs[:1])).all()


def test_paired_test_is_stricter_where_training_cells_overlap():
    ours = np.array([0.9, 0.92, 0.91, 0.94, 0.9])
    gain, independent = _scores.paired(ours, ours - [0.01, 0.02, 0.0, 0.02, 0.01], test_share=0.0)
    _, dependent = _scores.paired(ours, ours - [0.01, 0.02, 0.0, 0.02, 0.01])
    assert gain == pytest.approx(0.012)
    assert independent < dependent
    assert np.isnan(_scores.paired(ours, ours)[1])


def test_table_orders_methods_and_keeps_the_modes_apart():
    rows = [
        {"set": "a", "seed": 0, "fold": fold, "method": method, "mode": mode, "accuracy": accuracy + fold / 100}
        | {"macro_f1": 0.5, "balanced_accuracy": 0.5, "ece": None, "seconds": 1.0, "peak_gb": 0.1}
        for fold in range(2)
        for method, mode, accuracy in (
            ("scBiGNN: p", "transductive", 0.9),
            ("other", "transductive", 0.8),
            ("best", "inductive", 0.7),
        )
    ]
    text = _tables.table(json.loads(json.dumps(rows)), against=("scBiGNN: p",), share=0.25)
    inductive, transductive = text.split("**Transductive**")
    assert "best" in inductive
    assert "best" not in transductive
    assert transductive.index("scBiGNN: p") < transductive.index("other")
    assert "+0.1000" in transductive
    assert "+0.1000" in _tables.table(rows[::-1], against=("scBiGNN: p",))  # runs are paired by name, not by place
    assert "+0.1000" not in _tables.table(rows[1:], against=("scBiGNN: p",))
    assert "**Transductive**" not in _tables.table([row for row in rows if row["mode"] == "inductive"])


def test_seeds_of_a_fold_count_as_one_run():
    rows = [{"set": "a", "method": "m", "seed": s, "fold": f, "accuracy": 10.0 * f + s} for f in (0, 1) for s in (0, 2)]
    assert _tables.per_run(rows, "m", "accuracy") == {("a", 0): 1.0, ("a", 1): 11.0}
    assert _tables.mean(rows, "m", "accuracy") == (6.0, 5.0)
    few = [row for row in rows if row["fold"] == 0]
    assert _tables.per_run(few, "m", "accuracy") == {("a", 0): 0.0, ("a", 2): 2.0}


def test_interacting_types_differ_in_no_single_gene():
    counts, y, hidden = interactions.interacting(2, seed=0)
    means = np.array([counts[y == label].mean(0) for label in range(3)])
    assert np.abs(means - counts.mean(0)).max() < 0.6  # genes that are on have a mean of 8
    assert 0.4 < hidden.mean() < 0.6
    on = counts[:, :2] > 3
    odd = on[:, 0] != on[:, 1]
    assert odd[y == 0].mean() > 0.9
    assert odd[y != 0].mean() < 0.1


def test_a_type_left_out_has_no_code_and_no_label():
    truth = np.repeat([0, 1, 2], 40)
    found = rejection.without(sp.csr_matrix((120, 5)), truth, 1)
    assert found.n_labels == 2
    assert (found.y[truth == 1] == -1).all()
    for label, code in ((0, 0), (2, 1)):
        assert np.unique(found.y[truth == label]).tolist() == [-1, code]
        assert np.sum(found.y[truth == label] == -1) == 10


def test_planted_labels_are_wrong_and_of_the_asked_share():
    truth = np.arange(400) % 4
    y = audit.planted(truth, 4, 0.05, seed=0)
    assert np.sum(y != truth) == 20
    assert set(y) == {0, 1, 2, 3}
    assert (y != audit.planted(truth, 4, 0.05, seed=1)).any()


def test_tables_of_rejection_and_audit():
    rows = [
        {"set": name, "method": "ours", "auroc": 0.9, "known_rejected": 0.05, "novel_rejected": 0.5} for name in "ab"
    ]
    rows += [{"set": name, "method": "rival", "auroc": 0.7} for name in "ab"]
    assert "| ours | 0.900 | 0.900 | 0.900 | 0.050 | 0.500 |" in rejection.table(rows)
    assert "| rival | 0.700 | 0.700 | 0.700 |  |  |" in rejection.table(rows)
    found = {"average_precision": 0.9, "expected_wrong": 0.05, "suggested_right": 1.0}
    assert "| ours | 0.900 | 0.900 | 0.050 | 1.000 |" in audit.table([{"set": "a", "method": "ours", **found}])


@pytest.fixture(scope="module")
def labelled_cells():
    rng = np.random.default_rng(0)
    kind = np.arange(150) % 3
    counts = rng.poisson(0.5 + 4.0 * (np.arange(90) % 3 == kind[:, None])).astype(np.float32)
    return AnnData(sp.csr_matrix(counts), obs=pd.DataFrame({"cell_type": kind}, index=[str(n) for n in range(150)]))


@pytest.mark.parametrize("method", ["scbignn", "kmeans", "kmeans_scaled"])
def test_clusterers_find_three_types(labelled_cells, method, monkeypatch):
    before = labelled_cells.X.copy()
    monkeypatch.setattr(clustering, "N_PCS", 10)
    (row,) = clustering.scored(labelled_cells, 0, 1, methods=[method])
    assert row["ari"] > 0.95
    assert row["acc"] > 0.98
    assert row["n_clusters"] == row["n_labels"] == 3
    assert (before != labelled_cells.X).nnz == 0


@pytest.mark.slow
@pytest.mark.skipif(not _apart.python_of(_apart.ENVIRONMENT).exists(), reason="needs benchmarks/set_up_rivals.py")
def test_latent_variables_of_scvi_tell_three_types_apart(labelled_cells):
    found = clustering.partition(scvi_latent.latent(labelled_cells.X, 0), "kmeans", 3, 0)
    assert adjusted_rand_score(labelled_cells.obs["cell_type"], found) > 0.8


def test_rivals_on_scvi_share_its_latent_space_and_are_charged_with_it(labelled_cells, monkeypatch):
    asked = []

    def latent(counts, seed):
        asked.append((counts.shape, seed))
        time.sleep(0.2)
        return np.eye(3)[labelled_cells.obs["cell_type"]]

    monkeypatch.setattr(scvi_latent, "latent", latent)
    monkeypatch.setattr(clustering, "partition", lambda points, kind, n_clusters, seed: points.argmax(1))
    asking = Namespace(estimate=False, held_out=False, few_labels=None)
    asking.methods = ["leiden_scvi", "kmeans", "leiden_equal_scvi"]
    _, task = clustering.tasks(asking)
    rows = task(labelled_cells, 3, 1)
    assert asked == [(labelled_cells.shape, 3)]
    assert [row["method"] for row in rows] == ["leiden_scvi", "leiden_equal_scvi"]
    assert all(row["seconds"] > 0.2 and row["ari"] == 1 for row in rows)


def test_clusters_are_matched_one_to_one():
    found, truth = np.array([2, 2, 0, 0, 1, 3]), np.array([0, 0, 1, 1, 1, 0])
    named = clustering.matched(found, truth)
    assert named.tolist() == [0, 0, 1, 1, -1, -1]


def test_held_out_cells_of_clear_types_agree(labelled_cells, monkeypatch):
    def by_kmeans(graph, n_clusters, seed):  # Leiden needs igraph, which the tests do without
        return clustering.partition(graph.X, "kmeans", n_clusters, seed)

    monkeypatch.setattr(clustering, "leiden_equal", by_kmeans)
    (row,) = clustering.held_out(labelled_cells, 0, 1)
    assert row.keys() == {"method", *clustering.AGREEMENTS}
    assert min(value for name, value in row.items() if name != "method") > 0.95


def test_means_stand_below_what_held_out_cells_agree_on():
    rows = [
        {"set": name, "method": "held_out", "agreement": value} for name, value in (("a", 0.9), ("a", 0.7), ("b", 1))
    ]
    lines = clustering.tables(rows).splitlines()
    assert lines[0] == "| set | held-out cells |"
    assert lines[2:] == ["| a | .8000 |", "| b | 1.0000 |", "| mean | .8667 |"]


def test_agreement_is_that_of_matched_clusters():
    found, other = np.array([0, 0, 0, 1, 1, 2]), np.array([2, 2, 1, 0, 0, 1])
    assert clustering.agreement(found, other).tolist() == [True, True, False, True, True, True]
    on = np.array([False, False, True, True, True, False])  # by these cells alone the first cluster is the middle one
    assert clustering.agreement(found, other, on)[:5].tolist() == [False, False, True, True, True]


def test_labels_of_some_cells_name_clusters(labelled_cells):
    none, some = clustering.few_labels(labelled_cells, 0, 1, n_shown=2)
    assert min(none["ari"], some["ari"], some["accuracy"]) > 0.95
    table = clustering.tables([{"set": "a", "seed": 0, **row} for row in (none, some)])
    assert table.splitlines()[2].startswith("| a | ")


def test_generated_cells_and_growth():
    (row,) = clustering.growth(600, 1)
    assert row["n_cells"] == 600
    assert row["ari"] > 0.9
    (attention,) = clustering.growth(600, 1, method="attention")
    assert "ari" not in attention
    first, second = clustering.tables([attention, row]).splitlines()[2:]
    assert first.startswith("| scbignn | 600 |")
    assert second.startswith("| one pass of attention among all cells | 600 |")
    adata = clustering.generated(300)
    assert adata.shape == (300, 2000)
    assert (adata.X.sum(1) == 200).all()


def test_tables_of_clusterings():
    figures = {"nmi": 0.5, "acc": 0.5, "n_clusters": 3, "n_labels": 3, "seconds": 1.0, "peak_gb": 1.0}
    rows = [
        {"set": name, "seed": seed, "method": method, "ari": ari, **figures}
        for name in ("a", "b")
        for seed in (0, 1)
        for method, ari in (("scbignn", 0.8 + seed / 10), ("kmeans", 0.5), ("leiden", 0.4))
    ]
    ours, kmeans, leiden = clustering.score_table(rows).splitlines()[2:]
    assert ours.startswith("| **scbignn, default** | .8500 / .5000 | .8500 / .5000 | .8500 ± .0707 | .5000 ± .0000 |")
    assert ours.endswith("| 1.0 | 2 | 1.0 | 1.0 |")
    assert "| 2.0 | 2 |" in kmeans
    assert "|  | 2 |" in leiden
    numbers = [
        {"set": "a", "seed": 0, "method": f"{method}_number", "n_clusters": n, "n_labels": 3, "ari": 0.5}
        for method, n in (("scbignn", 3), ("leiden", 7))
    ]
    assert "| a | 3 | 3 | 7 | .5000 | .5000 |" in clustering.tables(numbers)


@pytest.fixture
def beeline(tmp_path):
    """A small set in the form of BEELINE's, under the name of one of the benchmark's."""
    from scbignn.datasets import simulated_network

    adata, network = simulated_network(n_cells=40, n_tfs=8, n_genes=40)
    expression, folder = regulation.SETS["mDC, specific"]
    (tmp_path / "expression").mkdir()
    (tmp_path / "networks" / folder).mkdir(parents=True)
    adata.write_h5ad(tmp_path / "expression" / f"{expression}.h5ad")
    edges = network.rename(columns={"source": "Gene1", "target": "Gene2"})
    edges.loc[len(edges)] = ["absent", "gene_1", 1.0]
    edges.to_csv(tmp_path / "networks" / folder / "network.csv.gz", index=False)
    return tmp_path, adata, network


def test_networks_are_joined_by_gene_names(beeline):
    folder, adata, network = beeline
    x, known, tfs = regulation.load(folder, *regulation.SETS["mDC, specific"])
    assert x.shape == (40, 40)
    tf, gene = np.nonzero(known)
    found = set(zip(adata.var_names[tfs[tf]], adata.var_names[gene], strict=True))
    assert found == set(zip(network["source"], network["target"], strict=True))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_every_method_is_scored_on_the_same_pairs(beeline, monkeypatch):
    loaded = regulation.load(beeline[0], *regulation.SETS["mDC, specific"])
    monkeypatch.setattr(_gat, "_EPOCHS", 1)
    for name in ("tiny", "another network"):
        monkeypatch.setitem(regulation.SETS, name, ("tiny expression", name))
    asked = []
    monkeypatch.setattr(regdiffusion, "links", lambda x, seed: asked.append(seed) or np.abs(np.corrcoef(x.T)))
    vectors = regulation.transformer_encoders(loaded[0])
    rows = regulation.run("tiny", "edge", 0, *loaded, vectors=vectors, methods=regulation.METHODS)
    rows += regulation.run("tiny", "edge", 0, *loaded, init=1, methods=["simple", "regdiffusion"])
    rows += regulation.run("tiny", "target", 0, *loaded, methods=["regdiffusion"])[1:]
    regulation.run("another network", "edge", 0, *loaded, methods=["regdiffusion"])
    assert asked == [0, 1]  # it reads no edge, so what it found on one split is as good on another, and on other edges
    *_, diffusion = (row for row in rows if row["method"] == regulation.REGDIFFUSION and row["split"] == "edge")
    pearson = next(row for row in rows if row["method"] == "Pearson, absolute")
    assert diffusion["auprc"] == pytest.approx(pearson["auprc"])  # it is asked about the rows of the TFs
    rows = [row for row in rows if row["split"] == "edge"]
    rows += regulation.run("tiny", "edge", 1, *loaded, methods=["simple"])
    first = [row for row in rows if row["seed"] == 0]
    assert {row["n_edges"] for row in first} == {rows[0]["n_edges"]}
    assert {row["n_pairs"] for row in first} == {rows[0]["n_pairs"]}
    assert {
        regulation.OURS,
        regulation.DEGREE,
        regulation.GAT,
        *(regulation.TRANSFORMER.format(pooling) for pooling in ("attention", "mean", "learned")),
        "scbignn without trees",
        "scbignn without expression",
        "scbignn without the degree offset",
        "GNN from nothing, GAT",
        "Pearson, absolute",
        "MLP on expression alone",
    } <= {row["method"] for row in rows}
    assert all(np.isfinite(row["auprc"]) for row in rows)
    text = regulation.tables(json.loads(json.dumps(rows)))
    assert "**tiny; split by edge** (2 splits x 2 initialisations)" in text
    assert "| **scbignn** | 1 |" in text
    assert "| Pearson, absolute | 2 x 2 |" in text
    assert "without trees" not in text
    degree = np.mean(
        [[row["auprc"], row["auroc"]] for row in rows if row["method"] == regulation.DEGREE and row["init"] == 0],
        axis=0,
    )
    elsewhere = {**rows[0], "set": "another", "auprc": 0.25, "auroc": 0.5}
    assert elsewhere["method"] == regulation.DEGREE
    text = regulation.summary_tables([*rows, elsewhere])
    head = "| method | tiny | another | mean AUPRC | mean AUROC | mean AUROC per TF |"
    assert f"**Split by edge**: AUPRC / AUROC\n\n{head}" in text
    auprc, auroc = (f"{figure:.3f}"[1:] for figure in degree)
    means = " | ".join(f"{figure:.3f}"[1:] for figure in (degree + [0.25, 0.5]) / 2)
    row = f"| {regulation.DEGREE} | {auprc} / {auroc} | .250 / .500 | {means} |"
    assert text.splitlines()[-1].startswith(row)
    assert len(text.splitlines()) == 5  # what has not seen all sets has no mean over them
    assert "| **scbignn** |" in regulation.summary_tables(rows)
    assert "member" not in regulation.summary_tables(rows)
    parts = regulation.ablation_tables(rows)
    assert "**Split by edge**\n\n| variant | tiny |" in parts
    full, less = (next(row for row in rows if row["method"] == name) for name in ("scbignn", "scbignn without trees"))
    assert f"| without trees | {less['auprc'] - full['auprc']:+.3f} |" in parts
    assert "encoder='transformer', pooling='mean' |" in parts


def test_attention_on_known_edges_trains_until_nothing_moves(beeline, monkeypatch):
    x, known, tfs = regulation.load(beeline[0], *regulation.SETS["mDC, specific"])
    shown = np.random.default_rng(0).random(known.shape) < 0.8
    monkeypatch.setattr(_gat, "_EPOCHS", 40)
    monkeypatch.setattr(_gat, "_DECAY", 0.5)
    steps, forward = [], _gat.GAT.forward
    monkeypatch.setattr(_gat.GAT, "forward", lambda self, *given: steps.append(1) or forward(self, *given))
    found = _gat.graph_attention(known, shown, x, tfs, seed=0)
    n_steps = len(steps)
    monkeypatch.setattr(_gat, "_STILL", 0.0)
    np.testing.assert_allclose(_gat.graph_attention(known, shown, x, tfs, seed=0), found, atol=1e-5)
    assert n_steps < 30
    assert len(steps) > n_steps + 40


def test_genes_without_expression_know_nothing(beeline):
    x, _, tfs = regulation.load(beeline[0], *regulation.SETS["mDC, specific"])
    encoder = regulation.expression_encoder(4)
    genes = regulation.describe_genes(x, tfs, encoder, rng=np.random.default_rng(0))
    blank = regulation.without_expression(genes)
    assert [part.shape for part in blank[:4]] == [part.shape for part in genes[:4]]
    assert [graph.shape for graph in blank.neighbors] == [graph.shape for graph in genes.neighbors]
    assert not any(part.any() for part in blank[:4])
    assert not any(graph.nnz for graph in blank.neighbors)


def test_genelinks_files_are_read_as_they_are(tmp_path):
    for name, rows in (
        ("train", [(3, 0, 1), (3, 1, 0)]),
        ("validation", [(5, 0, 1)]),
        ("test", [(5, 2, 0), (3, 2, 1)]),
    ):
        pd.DataFrame(rows, columns=["TF", "Target", "Label"]).to_csv(tmp_path / f"{name}_set.csv.gz", index=False)
    known, pairs = regulation.genelink_pairs(tmp_path)
    np.testing.assert_array_equal(known, [[True, False, True], [True, False, False]])
    np.testing.assert_array_equal(pairs["train"], [[True, True, False], [False, False, False]])
    np.testing.assert_array_equal(pairs["test"], [[False, False, True], [False, False, True]])


def test_stability_counts_genes_by_the_lists_that_hold_them():
    rng = np.random.default_rng(0)
    scores = pd.DataFrame(rng.normal(size=(70, 3)))
    scores.iloc[60:, 0] = np.nan
    scores[2] = scores[1]
    (row,) = stability.of("folds", "tiny", {"attention": scores})
    lists = [set(scores[run].nlargest(50).index) for run in range(3)]
    assert row["in_all_panels"] == 60
    assert row["genes"] == len(set.union(*lists))
    assert row["in_all"] == len(set.intersection(*lists))
    assert row["in_more_than_one"] == len(lists[1] | (lists[0] & lists[1]))
    assert f"| tiny, 3 folds | attention | {row['panel']:.2f} | {row['spearman']:.2f} |" in stability.table([row])
    assert "3 folds, `Config.paper()` |" in stability.table([row | {"over": "paper"}])


def test_planted_batches_differ_in_the_share_of_a_gene_that_is_kept():
    counts = sp.csr_matrix(np.full((90, 5), 200), dtype=np.float32)
    adata = AnnData(counts, pd.DataFrame({"cell_type": ["a", "b", "c"] * 30}, index=[f"cell {n}" for n in range(90)]))
    found = unseen_batches.planted(adata, 3, np.random.default_rng(0))
    assert sorted(found.obs["sample"].unique()) == ["part 0", "part 1", "part 2"]
    x = found.X.toarray()
    assert x.max() <= 200
    for part in found.obs["sample"].unique():
        own = x[(found.obs["sample"] == part).to_numpy()]
        assert (own.std(0) < 10).all()  # binomial, with one share for the whole batch
    means = np.stack([x[(found.obs["sample"] == part).to_numpy()].mean(0) for part in found.obs["sample"].unique()])
    assert np.ptp(means, axis=0).max() > 30


def test_means_over_the_batches_left_out():
    row = {"set": "kang", "mode": "inductive", "run": "plain", "calibrated_by": "cells", "rejected": 0.1}
    rows = [{**row, "accuracy": value, "macro_f1": value / 2, "ece": 0.02} for value in (0.8, 0.9)]
    *_, line = unseen_batches.table(rows).splitlines()
    assert line == "| kang | inductive | plain | cells | 2 | 0.8500 / 0.4250 | 0.0200 | 0.100 |"


def test_one_thread_is_one_thread_of_everything():
    with threadpool_limits(2):
        torch.set_num_threads(2)
        _methods.limit_threads(1)
        assert torch.get_num_threads() == 1
        assert {part["num_threads"] for part in threadpool_info()} == {1}
    torch.set_num_threads(1)
