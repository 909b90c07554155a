"""The benchmarks' own code: folds, scores, rivals. Their figures are not tested."""

import json

import _problem
import _scores
import annotation
import audit
import interactions
import numpy as np
import pytest
import rejection
import scipy.sparse as sp
from rivals import NAMES, rival
from sklearn.metrics import balanced_accuracy_score, f1_score


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(0)
    kind = np.arange(150) % 3
    counts = rng.poisson(0.5 + 2.0 * (np.arange(90) % 3 == kind[:, None]))
    test = np.arange(100, 150)
    y = kind.copy()
    y[test] = -1
    return _problem.Problem(sp.csr_matrix(counts, dtype=np.float32), y, 3, 0, test), kind[test]


@pytest.mark.parametrize("name", NAMES)
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


@pytest.mark.parametrize("name", [name for name in NAMES if rival(name).MODE == "inductive"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_inductive_rivals_do_not_look_at_other_test_cells(problem, name):
    given, _ = problem
    other = given.counts.tolil()
    other[given.test[1:]] = 1
    changed = _problem.Problem(other.tocsr(), given.y, 3, 0, given.test)
    np.testing.assert_allclose(rival(name).predict(changed)[0], rival(name).predict(given)[0], atol=1e-6)


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


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    probability = np.tile([0.8, 0.2], (1000, 1))
    truth = np.r_[np.zeros(500, int), np.ones(500, int)]
    np.random.default_rng(0).shuffle(truth)
    assert _scores.calibration_error(truth, probability, n_bins=1) == pytest.approx(0.3)
    assert _scores.calibration_error(np.zeros(1000, int), probability) == pytest.approx(0.2)


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
    text = annotation.table(json.loads(json.dumps(rows)), few=None)
    inductive, transductive = text.split("**Transductive**")
    assert "best" in inductive
    assert "best" not in transductive
    assert transductive.index("scBiGNN: p") < transductive.index("other")
    assert "+0.1000" in transductive


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
